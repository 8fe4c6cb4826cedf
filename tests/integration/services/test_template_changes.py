"""What producers do to templates, against a real PostgreSQL, inside their merchant's walls."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from scheduler_core.domain.errors import ConflictError, InvalidScheduleError, NotFoundError, StaleTransitionError
from scheduler_core.domain.ids import run_id
from scheduler_core.domain.jobs import Hint
from scheduler_core.domain.recurrence import Schedule
from scheduler_core.domain.templates import CatchUp, Template, Withdrawal, next_run_at
from scheduler_core.services import template_changes
from scheduler_core.services.materialising import materialise
from scheduler_core.storage import jobs, templates
from tests.builders import NOW, new_id, rows, seconds, store_merchant
from tests.recurring import SETTINGS, a_template, across_merchants, of_merchant, runs_of, store_template, template_row

Edit = Callable[[Template], Template]


@pytest.fixture
def merchant(database_url: str) -> UUID:
    return store_merchant(database_url)


def change(database_url: str, template: Template, edit: Edit, now: datetime) -> list[Hint]:
    with of_merchant(database_url, template.merchant_id) as connection:
        return template_changes.change(connection, template.merchant_id, template.id, edit, now, SETTINGS)


def pause(database_url: str, template: Template, now: datetime) -> None:
    change(database_url, template, lambda it: replace(it, active=False), now)


def resume(database_url: str, template: Template, now: datetime) -> None:
    change(database_url, template, lambda it: replace(it, active=True), now)


def rescheduled(**timing: Any) -> Edit:
    return lambda it: replace(it, schedule=replace(it.schedule, **timing))


def states(database_url: str, template: Template) -> list[tuple[int, str]]:
    """Each run as (minutes after NOW, status)."""
    return [
        ((run["nominal_at"] - NOW) // timedelta(minutes=1), run["status"]) for run in runs_of(database_url, template)
    ]


START = b"UPDATE jobs SET status = 'running', attempt = 1, next_run_at = NULL, lease_id = 1"
COMPLETE = b"UPDATE jobs SET status = 'completed', attempt = 1, next_run_at = NULL, completed_at = scheduled_at"


def update(database_url: str, template: Template, minute: int, statement: bytes) -> None:
    named = b" WHERE template_id = %s AND nominal_at = %s"
    with psycopg.connect(database_url) as connection:
        connection.execute(statement + named, (template.id, NOW + timedelta(minutes=minute)))


def complete(database_url: str, template: Template, minute: int) -> None:
    update(database_url, template, minute, COMPLETE)


# Creating ----------------------------------------------------------------------------------------------------------


def test_a_new_template_runs_at_once_and_not_with_the_next_tick(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, "* * * * * *")
    hints = store_template(database_url, template)
    assert [hint.due_at for hint in hints[:2]] == [NOW + seconds(1), NOW + seconds(2)]
    assert len(hints) == 150
    assert template_row(database_url, template)["next_nominal_at"] == NOW + seconds(151)


def test_a_run_carries_what_its_template_says(database_url: str, merchant: UUID) -> None:
    template = a_template(
        merchant, payload='{"a":  1}', metadata='{"team":"x"}', priority=7, max_retries=9, timeout_seconds=11
    )
    store_template(database_url, template)
    first = runs_of(database_url, template)[0]
    assert first["id"] == run_id(template.id, NOW + seconds(60))
    told = {name: first[name] for name in ("schedule_type", "status", "priority", "max_retries", "timeout_seconds")}
    assert told == {
        "schedule_type": "recurring", "status": "pending", "priority": 7, "max_retries": 9, "timeout_seconds": 11
    }  # fmt: skip
    assert first["nominal_at"] == first["scheduled_at"] == first["next_run_at"] == NOW + seconds(60)
    text = rows(database_url, "SELECT payload::text, target::text, metadata::text FROM jobs WHERE id = %s", first["id"])
    assert text == [{"payload": '{"a":  1}', "target": template.target, "metadata": '{"team":"x"}'}]


def test_jitter_moves_the_due_time_and_not_the_nominal_time(database_url: str, merchant: UUID) -> None:
    """I6."""
    template = a_template(merchant, "* * * * * *", jitter_seconds=20)
    store_template(database_url, template)
    found = runs_of(database_url, template)
    assert [run["nominal_at"] for run in found] == [NOW + seconds(n) for n in range(1, 151)]
    delays = [(run["scheduled_at"] - run["nominal_at"]).total_seconds() for run in found]
    assert 0 <= min(delays) < 5
    assert 15 < max(delays) <= 20


def test_a_name_is_taken_once_for_each_merchant(database_url: str, merchant: UUID) -> None:
    store_template(database_url, a_template(merchant, name="nightly"))
    store_template(database_url, a_template(store_merchant(database_url), name="nightly"))
    with pytest.raises(ConflictError, match="nightly"):
        store_template(database_url, a_template(merchant, name="nightly"))


def test_a_schedule_that_never_comes_is_not_stored(database_url: str, merchant: UUID) -> None:
    with pytest.raises(InvalidScheduleError):
        store_template(database_url, a_template(merchant, "0 0 30 2 *"))
    assert rows(database_url, "SELECT id FROM templates") == []


def test_a_template_made_paused_makes_no_runs(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, active=False)
    store_template(database_url, template)
    assert runs_of(database_url, template) == []


def test_max_runs_ends_a_template(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, "* * * * * *", max_runs=3)
    store_template(database_url, template)
    assert len(runs_of(database_url, template)) == 3
    row = template_row(database_url, template)
    assert (row["runs"], row["next_nominal_at"], row["active"]) == (3, None, True)


# Pausing and resuming ----------------------------------------------------------------------------------------------


def test_pausing_cancels_what_waits_and_leaves_what_has_started(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    update(database_url, template, 1, START)
    pause(database_url, template, NOW + seconds(70))
    assert states(database_url, template) == [(1, "running"), (2, "cancelled")]
    assert runs_of(database_url, template)[1]["last_error"] == "its template was paused"
    row = template_row(database_url, template)
    assert (row["active"], row["runs"], row["next_nominal_at"]) == (False, 1, None)


def test_a_pause_does_not_catch_up(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, catch_up=CatchUp.ALL)
    store_template(database_url, template)
    pause(database_url, template, NOW + seconds(1))
    resume(database_url, template, NOW + timedelta(minutes=10))
    assert [minute for minute, status in states(database_url, template) if status == "pending"] == [11, 12]


def test_resuming_brings_withdrawn_runs_back_and_none_that_ran(database_url: str, merchant: UUID) -> None:
    """I5: one run per nominal time, whatever the pauses."""
    template = a_template(merchant)
    store_template(database_url, template)
    complete(database_url, template, 1)  # run early, by hand
    pause(database_url, template, NOW + seconds(5))
    assert states(database_url, template) == [(1, "completed"), (2, "cancelled")]
    resume(database_url, template, NOW + seconds(10))
    assert states(database_url, template) == [(1, "completed"), (2, "pending")]
    assert runs_of(database_url, template)[1]["last_error"] is None
    assert template_row(database_url, template)["runs"] == 2


def test_resuming_leaves_a_run_cancelled_that_its_producer_cancelled(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    with of_merchant(database_url, merchant) as connection:
        jobs.cancel(connection, merchant, run_id(template.id, NOW + seconds(60)), NOW)
    pause(database_url, template, NOW + seconds(5))
    resume(database_url, template, NOW + seconds(10))
    assert states(database_url, template) == [(1, "cancelled"), (2, "pending")]


def test_pausing_and_resuming_in_quick_succession_doubles_nothing(database_url: str, merchant: UUID) -> None:
    """I5."""
    template = a_template(merchant, "* * * * * *")
    store_template(database_url, template)
    for step in range(1, 20):
        pause(database_url, template, NOW + seconds(step))
        resume(database_url, template, NOW + seconds(step + 0.5))
    nominal = Counter(run["nominal_at"] for run in runs_of(database_url, template))
    assert set(nominal.values()) == {1}
    pending = [run["nominal_at"] for run in runs_of(database_url, template) if run["status"] == "pending"]
    assert pending == [NOW + seconds(n) for n in range(20, 170)]
    assert template_row(database_url, template)["runs"] == len(pending)


def test_withdrawn_runs_do_not_count_as_runs(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, max_runs=2)
    store_template(database_url, template)
    pause(database_url, template, NOW + seconds(5))
    resume(database_url, template, NOW + timedelta(hours=1))
    assert [minute for minute, status in states(database_url, template) if status == "pending"] == [61, 62]
    assert template_row(database_url, template)["next_nominal_at"] is None


def test_the_scheduler_pauses_with_a_reason_and_resuming_clears_it(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    with across_merchants(database_url) as connection:
        assert templates.pause(connection, merchant, template.id, "its target answered 410 Gone", NOW + seconds(1))
        assert not templates.pause(connection, merchant, template.id, "again", NOW + seconds(2))
    row = template_row(database_url, template)
    assert (row["active"], row["paused_reason"], row["runs"]) == (False, "its target answered 410 Gone", 0)
    assert {status for _, status in states(database_url, template)} == {"cancelled"}
    resume(database_url, template, NOW + seconds(3))
    assert template_row(database_url, template)["paused_reason"] is None
    assert {status for _, status in states(database_url, template)} == {"pending"}


def test_pausing_leaves_a_run_alone_that_is_being_claimed(database_url: str, merchant: UUID) -> None:
    """I2: whoever holds the row decides; the pause neither waits for the claim nor undoes it."""
    template = a_template(merchant)
    store_template(database_url, template)
    with psycopg.connect(database_url) as claimer:
        claimer.execute("SELECT FROM jobs WHERE nominal_at = %s FOR UPDATE", (NOW + seconds(60),))
        pause(database_url, template, NOW + seconds(50))
    assert states(database_url, template) == [(1, "pending"), (2, "cancelled")]


# Changing ----------------------------------------------------------------------------------------------------------


def test_a_new_schedule_replaces_the_runs_to_come(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    change(database_url, template, rescheduled(cron="*/2 * * * *"), NOW + seconds(1))
    assert states(database_url, template) == [(1, "cancelled"), (2, "pending")]
    row = template_row(database_url, template)
    assert (row["runs"], row["next_nominal_at"]) == (1, NOW + timedelta(minutes=4))


def test_a_new_schedule_leaves_what_is_overdue(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    change(database_url, template, rescheduled(cron="30 12 * * *"), NOW + seconds(70))
    assert states(database_url, template) == [(1, "pending"), (2, "cancelled")]


def test_a_template_changes_between_cron_and_interval(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    change(database_url, template, rescheduled(cron=None, interval_seconds=45), NOW + seconds(1))
    pending = [run for run in runs_of(database_url, template) if run["status"] == "pending"]
    assert [(run["nominal_at"] - NOW).total_seconds() for run in pending] == [45, 90, 135]
    change(database_url, template, rescheduled(cron="* * * * *", interval_seconds=None), NOW + seconds(50))
    pending = [run for run in runs_of(database_url, template) if run["status"] == "pending"]
    assert [(run["nominal_at"] - NOW).total_seconds() for run in pending] == [45, 60, 120, 180]


def test_a_new_target_reaches_runs_that_have_not_started(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    complete(database_url, template, 1)
    hints = change(database_url, template, lambda it: replace(it, payload='{"new":1}', priority=5), NOW + seconds(1))
    payloads = [run["payload"] for run in runs_of(database_url, template)]
    assert payloads == [None, {"new": 1}]
    assert [(hint.due_at, hint.priority) for hint in hints] == [(NOW + seconds(120), 5)]


def test_raising_max_runs_makes_a_finished_template_go_on(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, max_runs=1)
    store_template(database_url, template)
    complete(database_url, template, 1)
    change(database_url, template, lambda it: replace(it, max_runs=3), NOW + seconds(90))
    assert states(database_url, template) == [(1, "completed"), (2, "pending"), (3, "pending")]


def test_lowering_max_runs_withdraws_what_is_too_many(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, "* * * * * *")
    store_template(database_url, template)
    change(database_url, template, lambda it: replace(it, max_runs=5), NOW)
    assert Counter(run["status"] for run in runs_of(database_url, template)) == {"pending": 5, "cancelled": 145}
    with of_merchant(database_url, merchant) as connection:
        stored = templates.get(connection, merchant, template.id, NOW)
    assert next_run_at(stored, NOW + seconds(4)) == NOW + seconds(5)
    assert next_run_at(stored, NOW + seconds(5)) is None


def test_a_bad_change_changes_nothing(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    store_template(database_url, a_template(merchant, name="taken"))
    before = (template_row(database_url, template), runs_of(database_url, template))
    with pytest.raises(InvalidScheduleError):
        change(database_url, template, rescheduled(cron="0 0 30 2 *"), NOW + seconds(1))
    with pytest.raises(ConflictError, match="taken"):
        change(database_url, template, lambda it: replace(it, name="taken", active=False), NOW + seconds(1))
    assert (template_row(database_url, template), runs_of(database_url, template)) == before


def test_a_template_whose_end_has_passed_cannot_be_resumed(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, active=False, end_at=NOW + seconds(60))
    store_template(database_url, template)
    with pytest.raises(InvalidScheduleError, match="end_at"):
        resume(database_url, template, NOW + seconds(61))
    change(database_url, template, lambda it: replace(it, description="still editable"), NOW + seconds(61))


# Deleting, running now, tenancy ------------------------------------------------------------------------------------


def test_deleting_cancels_what_waits_and_keeps_the_history(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    complete(database_url, template, 1)
    with of_merchant(database_url, merchant) as connection:
        templates.run_now(connection, merchant, template.id, new_id(), NOW)
        template_changes.delete(connection, merchant, template.id, NOW)
    assert rows(database_url, "SELECT id FROM templates") == []
    assert Counter(run["status"] for run in runs_of(database_url, template)) == {"completed": 1, "cancelled": 2}


def test_a_template_runs_now_outside_its_schedule_even_if_paused(database_url: str, merchant: UUID) -> None:
    template = a_template(merchant, active=False, payload="[1]", priority=4)
    store_template(database_url, template)
    job_id = new_id()
    with of_merchant(database_url, merchant) as connection:
        hint = templates.run_now(connection, merchant, template.id, job_id, NOW)
    assert hint == Hint(merchant, job_id, NOW, 4)
    (run,) = runs_of(database_url, template)
    assert (run["schedule_type"], run["nominal_at"], run["payload"]) == ("recurring", None, [1])
    assert template_row(database_url, template)["runs"] == 0


def test_another_merchants_template_is_not_there(database_url: str, merchant: UUID) -> None:
    """I7: neither by asking for it nor by naming its owner."""
    template = a_template(merchant)
    store_template(database_url, template)
    before = (template_row(database_url, template), runs_of(database_url, template))
    stranger = store_merchant(database_url)
    for named in (stranger, merchant):
        with of_merchant(database_url, stranger) as connection:
            with pytest.raises(NotFoundError):
                templates.get(connection, named, template.id, NOW)
            with pytest.raises(NotFoundError):
                templates.run_now(connection, named, template.id, new_id(), NOW)
            with pytest.raises(NotFoundError):
                template_changes.delete(connection, named, template.id, NOW)
            with pytest.raises(NotFoundError):
                template_changes.change(connection, named, template.id, lambda it: it, NOW, SETTINGS)
            assert not templates.pause(connection, named, template.id, "mischief", NOW)
            assert templates.withdraw(connection, named, template.id, Withdrawal.PAUSED, NOW) == 0
            page = templates.list_page(connection, named, active=None, name=None, before=None, limit=10, now=NOW)
            assert page.templates == []
    assert (template_row(database_url, template), runs_of(database_url, template)) == before


def test_materialising_twice_from_one_state_is_refused(database_url: str, merchant: UUID) -> None:
    """I5: the cursor is guarded even without the lock, and the ids would collide anyway."""
    template = a_template(merchant, start_at=NOW + seconds(300))
    store_template(database_url, template)
    later = NOW + seconds(290)
    with across_merchants(database_url) as connection:
        (timetable,) = templates.lock_due_across_merchants(connection, until=later + seconds(150), most=10)
        assert len(materialise(connection, timetable, later, SETTINGS)) == 3
    with across_merchants(database_url) as connection, pytest.raises(StaleTransitionError):
        assert materialise(connection, timetable, later, SETTINGS) == []
    assert len(runs_of(database_url, template)) == 3


def test_the_whole_template_comes_back_as_it_was_stored(database_url: str, merchant: UUID) -> None:
    template = a_template(
        merchant,
        name="n\u00e4me",
        description="d",
        timezone="Europe/Berlin",
        start_at=NOW,
        end_at=datetime(2030, 1, 1, tzinfo=UTC),
        max_runs=9,
        jitter_seconds=1,
        catch_up=CatchUp.NONE,
        catch_up_window_seconds=5,
        payload='{"b":1, "a":2}',
    )
    store_template(database_url, template)
    with of_merchant(database_url, merchant) as connection:
        stored = templates.get(connection, merchant, template.id, NOW + seconds(61))
    assert stored.last_run_at == NOW + seconds(60)
    bookkeeping = ("runs", "last_nominal_at", "next_nominal_at", "run_bytes", "last_run_at")
    assert replace(stored, **{name: getattr(template, name) for name in bookkeeping}) == template
    assert isinstance(stored.schedule, Schedule)


def test_pages_are_newest_first_and_bounded(database_url: str, merchant: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """I8."""
    made = [a_template(merchant, active=number % 2 == 0, name=f"t{number}") for number in range(7)]
    for template in sorted(made, key=lambda it: it.id):
        store_template(database_url, template)
    newest = sorted((template.id for template in made), reverse=True)

    def listed(**wanted: Any) -> list[list[UUID]]:
        pages, before = [], None
        with of_merchant(database_url, merchant) as connection:
            while True:
                asked = {"active": None, "name": None, "limit": 3, **wanted}
                page = templates.list_page(connection, merchant, before=before, now=NOW, **asked)
                pages.append([template.id for template in page.templates])
                if (before := page.before) is None:
                    return pages

    assert listed() == [newest[:3], newest[3:6], newest[6:]]
    active = {template.id for template in made if template.active}
    assert listed(active=True) == [[it for it in newest if it in active][:3], [it for it in newest if it in active][3:]]
    assert listed(name="t3") == [[made[3].id]]
    assert listed(name="t9") == [[]]
    monkeypatch.setattr(templates, "SCAN_ROWS", 2)
    assert [it for page in listed(active=True) for it in page] == [it for it in newest if it in active]
    monkeypatch.setattr(templates, "PAGE_BYTES", 1)
    assert listed() == [[it] for it in newest]
