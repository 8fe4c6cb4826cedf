"""A batch of jobs: each judged on its own, the good ones stored together."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from api.accepting import Rules, new_job
from api.faults import BodyTooLargeError, Fault, InvalidRequestError, faults_from
from api.schemas.jobs import JobCreate
from scheduler_core.domain.ids import uuid7s
from scheduler_core.domain.jobs import NewJob
from scheduler_core.storage.idempotency import Answer

AT_ONCE: Final = 125
"""How many jobs one statement stores: PostgreSQL is at it while the next ones are judged."""
_VALIDATE: Final = TypeAdapter(JobCreate).validator.validate_python


class Targets(NamedTuple):
    """What a batch's targets say before anything about them is known to be right."""

    urls: Sequence[str]
    """Each once."""
    has_arns: bool


class Batch:
    """The items of a batch, judged part by part, so that one part can be stored while the next is judged."""

    def __init__(self, items: Sequence[Any], merchant_id: UUID, now: datetime, entropy: bytes, rules: Rules) -> None:
        """`rules`: about all `targets_of(items)`; `entropy`: `ENTROPY_BYTES` for each item."""
        self._items = items
        self._merchant_id = merchant_id
        self._now = now
        self._ids = uuid7s(now, entropy)
        self._rules = rules
        self._refused: dict[int, str] = {}

    def parts(self) -> Iterator[list[NewJob]]:
        """The good jobs of `AT_ONCE` items after the other; ids ascend in the order of the items. To be asked once."""
        for start in range(0, len(self._items), AT_ONCE):
            yield self._judged(start, self._items[start : start + AT_ONCE])

    @cached_property
    def answer(self) -> Answer:
        """What became of each, once all parts were had."""
        refused, failed = self._refused, len(self._refused)
        outcomes = [
            refused.get(index) or f'{{"index":{index},"status":201,"id":"{job_id}"}}'
            for index, job_id in enumerate(self._ids)
        ]
        body = f'{{"items":[{",".join(outcomes)}],"created":{len(outcomes) - failed},"failed":{failed}}}'
        return Answer(200, None, body)

    def _judged(self, start: int, items: Sequence[Any]) -> list[NewJob]:
        try:
            bodies = _all_valid()(items)
        except ValidationError:
            bodies = [self._valid(index, item) for index, item in enumerate(items, start)]
        jobs = []
        for index, body in enumerate(bodies, start):
            if body is None:
                continue
            try:
                job = new_job(body, self._ids[index], self._merchant_id, self._now)
            except InvalidRequestError as error:
                self._refuse(index, 422, error.faults)
            except BodyTooLargeError as error:
                self._refuse(index, 413, (Fault(str(error), pointer="/payload"),))
            else:
                fault = self._rules.fault(body.target)
                if fault is None:
                    jobs.append(job)
                else:
                    self._refuse(index, 422, (fault,))
        return jobs

    def _valid(self, index: int, item: Any) -> JobCreate | None:
        try:
            body: JobCreate = _VALIDATE(item)
        except ValidationError as error:
            found = ({**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False))
            self._refuse(index, 422, faults_from(found))
            return None
        return body

    def _refuse(self, index: int, status: int, faults: Sequence[Fault]) -> None:
        outcome: Mapping[str, Any] = {"index": index, "status": status, "errors": [fault.as_json() for fault in faults]}
        self._refused[index] = json.dumps(outcome)


def targets_of(items: Sequence[Any]) -> Targets:
    """Where the items want to go, so that it can be looked up before any is judged; what makes no sense is left out."""
    targets = [item["target"] for item in items if isinstance(item, dict) and isinstance(item.get("target"), dict)]
    urls = dict.fromkeys(
        target["url"] for target in targets if target.get("type") == "http" and isinstance(target.get("url"), str)
    )
    return Targets(list(urls), has_arns=any("arn" in target for target in targets))


@cache
def _all_valid() -> Any:
    """Validates a list in half the time that its items take one by one; made with the first batch."""
    return TypeAdapter(list[JobCreate]).validator.validate_python
