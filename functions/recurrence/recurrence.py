"""One run of recurrence: page after page of due templates, until none has a run to make inside the look-ahead.

Several runs at once share the work: a page's templates are locked, and whoever comes second takes the next ones. A
template that cannot be evaluated or stored is paused with the reason, and the others go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import psycopg
from psycopg import Connection

from scheduler_core.domain.errors import DatabaseUnavailableError
from scheduler_core.domain.jobs import Hint
from scheduler_core.domain.templates import RunPlan, Timetable
from scheduler_core.observability.log import log_event, logger
from scheduler_core.services.materialising import STATEMENT_BYTES, plan, store
from scheduler_core.settings import RecurrenceSettings
from scheduler_core.storage import templates
from scheduler_core.storage.database import Database

RUNS_AT_ONCE: Final = 5_000
MOST_LOGGED: Final = 20
ENOUGH_SECONDS: Final = 10.0
"""What must be left of the invocation's time to begin another page."""

Plans = list[tuple[Timetable, RunPlan]]


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run of recurrence did."""

    pages: int = 0
    templates: int = 0
    runs: int = 0
    paused: int = 0
    complete: bool = True
    """False: the time was up before everything inside the look-ahead was made; the next tick goes on."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class HintSink(Protocol):
    """What a run asks of the announcer."""

    def announce(self, now: datetime, hints: Sequence[Hint]) -> None: ...


class Recurrence:
    """Wired by the handler; the clock and the remaining time come from outside."""

    def __init__(self, database: Database, announcer: HintSink, settings: RecurrenceSettings) -> None:
        self._database = database
        self._announcer = announcer
        self._settings = settings

    def run(self, clock: Callable[[], datetime], remaining_seconds: Callable[[], float]) -> Report:
        """Make every run inside the look-ahead, as far as the time allows. Raises DatabaseUnavailableError."""
        report, most, served = Report(), self._settings.template_page, set[UUID]()
        while remaining_seconds() > ENOUGH_SECONDS:
            now = clock()
            try:
                page = self._page(now, most, served, report)
            except (DatabaseUnavailableError, psycopg.Error) as error:
                # One template may be the cause, or a page that is too heavy: look at them one by one.
                if most == 1:
                    raise
                logger.warning("a page of templates failed; going on one by one", extra={"cause": repr(error)})
                most = 1
                continue
            if page:
                report.pages += 1
            elif served:
                served.clear()  # everyone has had a turn: those with more to make get another
            else:
                return report
        report.complete = False
        return report

    def _page(self, now: datetime, most: int, served: set[UUID], report: Report) -> bool:
        """Serve up to `most` templates that have not been served in this round; False: there was none."""
        until = now + timedelta(seconds=self._settings.look_ahead_seconds)
        with self._database.transaction() as connection:
            due = templates.lock_due_across_merchants(connection, until=until, most=most, left_out=served)
            plans = self._plans(connection, due, now, report)
            hints = self._store(connection, plans, now, report)
        served.update(timetable.id for timetable, it in plans if it.next_nominal_at and it.next_nominal_at <= until)
        self._announcer.announce(now, hints)
        self._tell(plans, report)
        report.runs += len(hints)
        return bool(due)

    def _plans(self, connection: Connection[Any], due: Sequence[Timetable], now: datetime, report: Report) -> Plans:
        """Plans of as many of the templates as one statement should carry; the rest stays due."""
        plans: Plans = []
        runs = size = 0
        for timetable in due:
            try:
                it = plan(timetable, now, self._settings)
            except Exception as error:  # noqa: BLE001 - whatever a template's data make it do must not stop the others
                self._give_up(connection, timetable, error, now, report)
                continue
            runs += len(it.nominal_times)
            size += len(it.nominal_times) * timetable.run_bytes
            if plans and (runs > RUNS_AT_ONCE or size > STATEMENT_BYTES):
                break
            plans.append((timetable, it))
        return plans

    def _store(self, connection: Connection[Any], plans: Plans, now: datetime, report: Report) -> list[Hint]:
        try:
            with connection.transaction():
                return store(connection, plans, now)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(plans) != 1:
                raise
            self._give_up(connection, plans[0][0], error, now, report)
            return []

    def _give_up(
        self, connection: Connection[Any], timetable: Timetable, error: Exception, now: datetime, report: Report
    ) -> None:
        logger.error("a template cannot be materialised; it is paused", extra=_named(timetable), exc_info=error)
        reason = f"its runs could not be made: {error}"[:500]
        templates.pause(connection, timetable.merchant_id, timetable.id, reason, now)
        report.paused += 1

    def _tell(self, plans: Plans, report: Report) -> None:
        for timetable, it in plans:
            report.templates += 1
            if it.nominal_times and report.templates <= MOST_LOGGED:
                log_event(
                    "template.materialised",
                    "runs of a template were made",
                    **_named(timetable),
                    runs=len(it.nominal_times),
                    first_nominal_at=it.nominal_times[0].isoformat(),
                )


def _named(timetable: Timetable) -> dict[str, str]:
    return {"template_id": str(timetable.id), "merchant_id": str(timetable.merchant_id)}
