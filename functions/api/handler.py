"""The API function: one request of the HTTP API (payload format 2.0) in, one response out."""

from functools import cache
from typing import Any

from api.app import Api
from scheduler_core.garbage import collect_seldom


@cache
def app() -> Api:
    """The resolver with every route, made once for each Lambda environment."""
    from api.routes import docs, health, jobs, stats, templates

    api = Api()
    for resource in (jobs, templates, stats, health, docs):
        api.include_router(resource.router)
    collect_seldom()
    return api


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve one request."""
    return app().resolve(event, context)


app()  # in the environment's start, not in its first request
