"""A batch of jobs: each judged on its own, the good ones stored together."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from api.accepting import new_ids, new_job, target_faults
from api.faults import BodyTooLargeError, Fault, InvalidRequestError, faults_from
from api.schemas.jobs import JobCreate
from scheduler_core.domain.jobs import NewJob

_VALIDATE: Final = TypeAdapter(JobCreate).validator.validate_python


class Judged(NamedTuple):
    """What becomes of a batch: the jobs to store, and the JSON text of the answer."""

    jobs: list[NewJob]
    body: str


def judge(items: Sequence[Any], merchant_id: UUID, now: datetime, entropy: bytes) -> Judged:
    """Judge every item of a batch; ids ascend in its order."""
    ids = new_ids(now, len(items), entropy)
    jobs: dict[int, NewJob] = {}
    bodies: dict[int, JobCreate] = {}
    outcomes: list[str] = [""] * len(items)
    for index, item in enumerate(items):
        try:
            body = _VALIDATE(item)
            jobs[index] = new_job(body, ids[index], merchant_id, now)
            bodies[index] = body
        except ValidationError as error:
            faults = faults_from({**found, "loc": ("body", *found["loc"])} for found in error.errors(include_url=False))
            outcomes[index] = _refused(index, 422, faults)
        except InvalidRequestError as error:
            outcomes[index] = _refused(index, 422, error.faults)
        except BodyTooLargeError as error:
            outcomes[index] = _refused(index, 413, (Fault(str(error), pointer="/payload"),))
    targets = target_faults(merchant_id, [body.target for body in bodies.values()])
    for index, fault in zip(bodies, targets, strict=True):
        if fault is None:
            outcomes[index] = f'{{"index":{index},"status":201,"id":"{jobs[index].id}"}}'
        else:
            outcomes[index] = _refused(index, 422, (fault,))
            del jobs[index]
    failed = len(items) - len(jobs)
    return Judged(list(jobs.values()), f'{{"items":[{",".join(outcomes)}],"created":{len(jobs)},"failed":{failed}}}')


def _refused(index: int, status: int, faults: Sequence[Fault]) -> str:
    outcome: Mapping[str, Any] = {"index": index, "status": status, "errors": [fault.as_json() for fault in faults]}
    return json.dumps(outcome)
