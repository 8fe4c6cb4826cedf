"""`/health`: whether the stores answer. PostgreSQL is needed, Redis is missed."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from aws_lambda_powertools.event_handler import Response

from api import problems, wiring
from api.app import Resource
from api.contract import answers
from api.rendering import ok
from scheduler_core.domain.errors import StoreUnavailableError
from scheduler_core.storage import health

router = Resource()
PATIENCE_SECONDS = 1.8
"""How long both stores together may take; a store that takes longer is down."""


@router.get(
    "/health",
    summary="Whether the stores answer",
    description="`degraded` where Redis is away: jobs are accepted all the same. 503 where PostgreSQL is away.",
    tags=["operations"],
    responses=answers(200, "Health", "ok, or degraded", 503),
)
def get_health() -> Response[str]:
    wiring.ready_set_probe()  # importing the client takes its time too, which says nothing about the store
    stores = _look_at({"database": _ask_database, "redis": _ask_redis})
    if stores["database"] == "down":
        return problems.store_down(stores)
    status = "ok" if stores["redis"] == "ok" else "degraded"
    return ok(json.dumps({"status": status, "stores": stores}))


def _look_at(stores: dict[str, Callable[[], None]]) -> dict[str, str]:
    """Ask all stores at once; those that fail, or are not done in time, are down."""
    threads = ThreadPoolExecutor(max_workers=len(stores), thread_name_prefix="health")
    looks = {name: threads.submit(_word, ask) for name, ask in stores.items()}
    threads.shutdown(wait=False)
    done, _ = wait(looks.values(), timeout=PATIENCE_SECONDS)
    return {name: look.result() if look in done else "down" for name, look in looks.items()}


def _word(ask: Callable[[], None]) -> str:
    try:
        ask()
    except StoreUnavailableError:
        return "down"
    return "ok"


def _ask_database() -> None:
    with wiring.probe().transaction() as connection:
        health.ping(connection)


def _ask_redis() -> None:
    wiring.ready_set_probe().ping()
