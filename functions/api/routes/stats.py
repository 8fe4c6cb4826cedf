"""`/stats`: how much there is, and how it goes."""

import json
from datetime import timedelta

from aws_lambda_powertools.event_handler import Response

from api import wiring
from api.app import Resource, needs
from api.contract import answers
from api.rendering import moment, ok
from scheduler_core.clock import utc_now
from scheduler_core.storage import jobs

router = Resource()


@router.get(
    "/stats",
    summary="Counts by status, the oldest due job, and the last hour",
    description=(
        "Counts and age are those of the newest 200,000 jobs; `counts_complete` says whether these are all, "
        "`counted_since` when the oldest of them was made."
    ),
    tags=["operations"],
    security=needs("jobs:read"),
    responses=answers(200, "Stats", "the statistics of the key's merchant"),
)
def get_stats() -> Response[str]:
    caller, now = router.caller, utc_now()
    with wiring.database().of_merchant(caller.merchant_id) as connection:
        found = jobs.counts(connection, caller.merchant_id, now)
        completed, failed = jobs.throughput_since(connection, caller.merchant_id, now - timedelta(hours=1))
    age = None if found.oldest_due_at is None else (now - found.oldest_due_at).total_seconds()
    return ok(
        f'{{"counts":{json.dumps(found.by_status)},"counts_complete":{json.dumps(found.complete)},'
        f'"counted_since":{moment(found.since)},"oldest_due_age_seconds":{json.dumps(age)},'
        f'"completed_last_hour":{completed},"failed_last_hour":{failed}}}'
    )
