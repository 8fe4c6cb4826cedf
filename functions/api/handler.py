"""The API function: one request of the HTTP API (payload format 2.0) in, one response out."""

import gc
from functools import cache
from typing import Any

from api.app import Api

GARBAGE_THRESHOLD = 20_000
"""How many more containers made than gone bring the collector; Python's default is 700."""


@cache
def app() -> Api:
    """The resolver with every route, made once for each Lambda environment."""
    from api.routes import docs, health, jobs, stats, templates

    api = Api()
    for resource in (jobs, templates, stats, health, docs):
        api.include_router(resource.router)
    # What is made by now stays for good, and a batch of jobs is no garbage before it is stored: a collector that comes
    # less often and leaves the former alone saves a batch a quarter of its time.
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    return api


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Serve one request."""
    return app().resolve(event, context)


app()  # in the environment's start, not in its first request
