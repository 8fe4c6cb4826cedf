"""A batch of jobs: each judged on its own, the good ones stored together."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from api.accepting import Rules, new_job, new_jobs
from api.faults import BodyTooLargeError, Fault, InvalidRequestError, faults_from
from api.schemas.jobs import JobCreate, all_valid
from api.schemas.targets import AwsTarget, HttpTarget, target_text, valid_target
from scheduler_core.domain.ids import text_of_hex, uuid7_hexes
from scheduler_core.domain.jobs import NewJob, NewJobs
from scheduler_core.storage.idempotency import Answer

AT_ONCE: Final = 125
"""How many jobs one statement stores: PostgreSQL is at it while the next ones are judged."""
_VALIDATE: Final = TypeAdapter(JobCreate).validator.validate_python


class Targets:
    """Where the items of a batch want to go, so that it can be looked up before any is judged.

    Many go to the same few places: what is the same as JSON is validated once.
    """

    def __init__(self, items: Sequence[Any]) -> None:
        said = [item.get("target") if isinstance(item, dict) else None for item in items]
        self.keys = [to_json(target) for target in said]
        """Of each item: where its target is in `valid`, if it is."""
        self.valid: dict[bytes, HttpTarget | AwsTarget] = {}
        for key, target in dict(zip(self.keys, said, strict=True)).items():
            with suppress(ValidationError):
                self.valid[key] = valid_target(target)

    @property
    def urls(self) -> Sequence[str]:
        """Each once."""
        return list(dict.fromkeys(target.url for target in self.valid.values() if isinstance(target, HttpTarget)))

    @property
    def has_arns(self) -> bool:
        """Whether any is no URL."""
        return not all(isinstance(target, HttpTarget) for target in self.valid.values())


class Batch:
    """The items of a batch, judged part by part, so that one part can be stored while the next is judged."""

    def __init__(
        self,
        items: Sequence[Any],
        targets: Targets,
        rules: Rules,
        merchant_id: UUID,
        now: datetime,
        entropy: bytes,
    ) -> None:
        """`targets`: of `items`; `rules`: about all of these; `entropy`: `ENTROPY_BYTES` for each item."""
        self._items = items
        self._keys = targets.keys
        self._allowed = {
            key: target_text(target) for key, target in targets.valid.items() if rules.fault(target) is None
        }
        self._rules = rules
        self._merchant_id = merchant_id
        self._now = now
        self._ids = uuid7_hexes(now, entropy)
        self._refused: dict[int, str] = {}

    def parts(self) -> Iterator[NewJobs]:
        """The good jobs of `AT_ONCE` items after the other; ids ascend in the order of the items. To be asked once."""
        for start in range(0, len(self._items), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            yield self._all_good(part) or NewJobs.of(list(self._good(part)))

    @cached_property
    def answer(self) -> Answer:
        """What became of each, once all parts were had."""
        refused, failed = self._refused, len(self._refused)
        outcomes = [
            refused.get(index) or f'{{"index":{index},"status":201,"id":"{text_of_hex(job_id)}"}}'
            for index, job_id in enumerate(self._ids)
        ]
        body = f'{{"items":[{",".join(outcomes)}],"created":{len(outcomes) - failed},"failed":{failed}}}'
        return Answer(200, None, body)

    def _all_good(self, part: slice) -> NewJobs | None:
        """Judged together, in a fraction of the time that one by one takes; None: not all are good."""
        keys = self._keys[part]
        if not self._allowed.keys() >= set(keys):
            return None
        try:
            bodies = all_valid()(self._items[part])
            return new_jobs(bodies, [self._allowed[key] for key in keys], self._ids[part], self._now)
        except (ValidationError, InvalidRequestError, BodyTooLargeError):
            return None

    def _good(self, part: slice) -> Iterator[NewJob]:
        """Judged one by one."""
        for index, item in enumerate(self._items[part], part.start):
            try:
                body: JobCreate = _VALIDATE(item)
                job = new_job(body, UUID(self._ids[index]), self._merchant_id, self._now)
            except ValidationError as error:
                found = ({**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False))
                self._refuse(index, 422, faults_from(found))
            except InvalidRequestError as error:
                self._refuse(index, 422, error.faults)
            except BodyTooLargeError as error:
                self._refuse(index, 413, (Fault(str(error), pointer="/payload"),))
            else:
                fault = self._rules.fault(body.target)
                if fault is None:
                    yield job
                else:
                    self._refuse(index, 422, (fault,))

    def _refuse(self, index: int, status: int, faults: Sequence[Fault]) -> None:
        outcome: Mapping[str, Any] = {"index": index, "status": status, "errors": [fault.as_json() for fault in faults]}
        self._refused[index] = json.dumps(outcome)
