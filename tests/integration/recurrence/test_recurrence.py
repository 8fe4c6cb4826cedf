"""Recurrence against a real PostgreSQL: each nominal time once, whoever races, fails, or comes late."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest

from recurrence import recurrence as module
from recurrence.recurrence import Recurrence, Report
from scheduler_core.domain.jobs import Hint
from scheduler_core.domain.templates import CatchUp, Template
from scheduler_core.settings import RecurrenceSettings
from scheduler_core.storage.database import Database, Role
from tests.builders import NOW, rows, seconds, store_merchant
from tests.contexts import a_context
from tests.recurring import a_template, runs_of, store_template, template_row

SMALL = RecurrenceSettings(template_page=2, runs_per_template=20)


class Announcements:
    """Stands in for the announcer: remembers what it was told."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []

    def announce(self, now: datetime, hints: Sequence[Hint]) -> None:
        self.hints += hints


@pytest.fixture
def merchant(database_url: str) -> UUID:
    return store_merchant(database_url)


@pytest.fixture
def announced() -> Announcements:
    return Announcements()


@pytest.fixture
def tick(database_url: str, announced: Announcements) -> Iterator[Callable[..., Report]]:
    """One invocation at a moment."""
    with closing(Database(database_url, Role.WORKER)) as database:

        def run(now: datetime, settings: RecurrenceSettings = SMALL, remaining: float = 60.0) -> Report:
            return Recurrence(database, announced, settings).run(lambda: now, lambda: remaining)

        yield run


def nominal_minutes(database_url: str, template: Template) -> list[int]:
    return [(run["nominal_at"] - NOW) // timedelta(minutes=1) for run in runs_of(database_url, template)]


def test_idle_is_one_look(database_url: str, merchant: UUID, tick: Callable[..., Report]) -> None:
    """I8."""
    store_template(database_url, a_template(merchant, "0 18 * * *"))
    assert tick(NOW).as_dict() == {"pages": 0, "templates": 0, "runs": 0, "paused": 0, "complete": True}


def test_a_tick_makes_the_runs_of_the_look_ahead_and_announces_them(
    database_url: str, merchant: UUID, tick: Callable[..., Report], announced: Announcements
) -> None:
    template = a_template(merchant, "* * * * * *", priority=3)
    store_template(database_url, template)
    report = tick(NOW + seconds(60))
    assert report.runs == 60
    assert sorted(hint.due_at for hint in announced.hints) == [NOW + seconds(n) for n in range(151, 211)]
    assert {(hint.merchant_id, hint.priority) for hint in announced.hints} == {(merchant, 3)}
    assert tick(NOW + seconds(60)).runs == 0


def test_two_recurrence_runs_that_race_make_one_job_each_second(database_url: str, merchant: UUID) -> None:
    """I5: over two simulated minutes, with several templates, clocks that differ and pages of two templates."""
    made = [a_template(merchant, "* * * * * *", name=f"t{number}") for number in range(5)]
    for template in made:
        store_template(database_url, template)
    settings = RecurrenceSettings(template_page=2, runs_per_template=7, look_ahead_seconds=61)
    failures: list[Exception] = []
    together = threading.Barrier(3)

    def racer(skew: float) -> None:
        try:
            with closing(Database(database_url, Role.WORKER)) as database:
                runner = Recurrence(database, Announcements(), settings)
                for step in range(0, 121, 10):
                    together.wait(timeout=30)
                    moments = itertools.repeat(NOW + seconds(100 + step + skew))
                    runner.run(moments.__next__, lambda: 60.0)
        except Exception as error:  # noqa: BLE001 - the test's own thread tells of it
            failures.append(error)
            together.abort()

    racers = [threading.Thread(target=racer, args=(skew,)) for skew in (0.0, 0.4, 0.8)]
    for thread in racers:
        thread.start()
    for thread in racers:
        thread.join()
    assert failures == []
    for template in made:
        found = [run["nominal_at"] for run in runs_of(database_url, template)]
        assert found[0] == NOW + seconds(1)
        assert found[-1] >= NOW + seconds(280)
        assert {later - sooner for sooner, later in pairwise(found)} == {seconds(1)}
        assert template_row(database_url, template)["runs"] == len(found)


@pytest.mark.parametrize(
    ("policy", "minutes"),
    [
        (CatchUp.ONCE, [1, 2, 60, 61, 62]),
        (CatchUp.NONE, [1, 2, 61, 62]),
        (CatchUp.ALL, list(range(1, 63))),
    ],
)
def test_after_a_downtime_the_policy_decides(
    database_url: str, merchant: UUID, tick: Callable[..., Report], policy: CatchUp, minutes: list[int]
) -> None:
    """I6: what was missed runs late, under its own nominal time."""
    template = a_template(merchant, catch_up=policy)
    store_template(database_url, template)
    report = tick(NOW + seconds(3_601))
    assert report.complete
    assert nominal_minutes(database_url, template) == minutes
    late = [run for run in runs_of(database_url, template) if run["nominal_at"] <= NOW + seconds(3_600)][2:]
    assert all(run["next_run_at"] == NOW + seconds(3_601) for run in late)
    assert tick(NOW + seconds(3_602)).runs == 0


def test_what_was_missed_before_the_window_stays_missed(
    database_url: str, merchant: UUID, tick: Callable[..., Report]
) -> None:
    template = a_template(merchant, catch_up=CatchUp.ALL, catch_up_window_seconds=600)
    store_template(database_url, template)
    tick(NOW + seconds(3_601))
    assert nominal_minutes(database_url, template) == [1, 2, *range(51, 63)]


def test_a_long_catch_up_lets_the_others_have_their_turn(
    database_url: str, merchant: UUID, tick: Callable[..., Report], announced: Announcements
) -> None:
    """I8: each gets a bounded number of runs before anyone gets more."""
    greedy = [a_template(merchant, "* * * * * *", catch_up=CatchUp.ALL, name=f"g{number}") for number in range(2)]
    modest = a_template(merchant, name="modest")
    for template in (*greedy, modest):
        store_template(database_url, template)
    tick(NOW + seconds(1_200))
    order = [hint.job_id for hint in announced.hints]
    own = {run["id"] for run in runs_of(database_url, modest)}
    assert min(order.index(job) for job in order if job in own) < 2 * SMALL.runs_per_template + 5
    assert [len(runs_of(database_url, template)) for template in greedy] == [1_350, 1_350]


def test_an_inactive_merchants_templates_rest(database_url: str, merchant: UUID, tick: Callable[..., Report]) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE merchants SET active = false")
    assert tick(NOW + seconds(300)).pages == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE merchants SET active = true")
    tick(NOW + seconds(600))
    assert nominal_minutes(database_url, template) == [1, 2, 9, 10, 11, 12]


def test_a_template_held_by_another_run_is_passed_over(
    database_url: str, merchant: UUID, tick: Callable[..., Report]
) -> None:
    template = a_template(merchant)
    store_template(database_url, template)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM templates FOR UPDATE")
        assert tick(NOW + seconds(60)).as_dict() == {
            "pages": 0, "templates": 0, "runs": 0, "paused": 0, "complete": True
        }  # fmt: skip
    assert tick(NOW + seconds(60)).runs == 1


def test_a_template_whose_zone_is_gone_is_paused_and_the_others_go_on(
    database_url: str, merchant: UUID, tick: Callable[..., Report]
) -> None:
    broken, sound = a_template(merchant, name="broken"), a_template(merchant, name="sound")
    for template in (broken, sound):
        store_template(database_url, template)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE templates SET timezone = 'Atlantis/Capital' WHERE id = %s", (broken.id,))
    report = tick(NOW + seconds(60))
    assert (report.runs, report.paused) == (1, 1)
    row = template_row(database_url, broken)
    assert not row["active"]
    assert "Atlantis/Capital" in row["paused_reason"]
    assert {run["status"] for run in runs_of(database_url, broken)} == {"cancelled"}
    assert nominal_minutes(database_url, sound) == [1, 2, 3]


def test_a_template_whose_runs_cannot_be_stored_is_paused_and_the_others_go_on(
    database_url: str, merchant: UUID, tick: Callable[..., Report]
) -> None:
    broken, sound = a_template(merchant, name="broken"), a_template(merchant, name="sound")
    for template in (broken, sound):
        store_template(database_url, template)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE templates SET runs = 2147483647 WHERE id = %s", (broken.id,))
    report = tick(NOW + seconds(60))
    assert (report.runs, report.paused) == (1, 1)
    assert not template_row(database_url, broken)["active"]
    assert nominal_minutes(database_url, sound) == [1, 2, 3]


def test_the_end_of_the_invocations_time_leaves_whole_templates_for_the_next(
    database_url: str, merchant: UUID, tick: Callable[..., Report]
) -> None:
    for number in range(3):
        store_template(database_url, a_template(merchant, name=f"t{number}"))
    report = tick(NOW + seconds(60), remaining=5.0)
    assert (report.pages, report.complete) == (0, False)
    assert tick(NOW + seconds(60)).runs == 3


def test_one_statement_carries_a_bounded_number_of_runs(
    database_url: str, merchant: UUID, tick: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8."""
    monkeypatch.setattr(module, "RUNS_AT_ONCE", 25)
    made = [a_template(merchant, "* * * * * *", name=f"t{number}") for number in range(3)]
    for template in made:
        store_template(database_url, template)
    report = tick(NOW + seconds(60))
    assert (report.runs, report.complete) == (180, True)
    assert report.pages >= 9


def test_the_handler_ties_it_together(
    database_url: str, redis_url: str, merchant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recurrence import handler

    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    handler._recurrence.cache_clear()
    assert handler.lambda_handler({}, a_context()) == {
        "pages": 0, "templates": 0, "runs": 0, "paused": 0, "complete": True
    }  # fmt: skip
    handler._recurrence()._database.close()
    handler._recurrence.cache_clear()


# The due look ------------------------------------------------------------------------------------------------------

_FILL = """
INSERT INTO templates (id, merchant_id, name, cron, target, metadata, retry_initial_seconds, retry_max_seconds,
    retry_multiplier, next_nominal_at, created_at, updated_at)
SELECT md5(n::text)::uuid, %s, 't' || n, '0 0 * * *', '{}', '{}', 1, 60, 2, %s + n * interval '1 minute', %s, %s
FROM generate_series(1, 20000) AS n
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def test_the_look_for_due_templates_reads_its_index(database_url: str, merchant: UUID) -> None:
    """I8: what a tick costs depends on what is due, not on how many templates there are."""
    from scheduler_core.storage.queries import Queries

    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_FILL.encode(), (merchant, NOW, NOW, NOW))
        connection.execute("VACUUM ANALYZE templates")
        for until, most in ((NOW, 0), (NOW + timedelta(minutes=10), 10)):
            row = connection.execute(
                b"EXPLAIN (ANALYZE, FORMAT JSON) " + Queries("templates")["lock_due_across_merchants"],
                {"until": until, "left_out": [], "most": 200},
            ).fetchone()
            assert row is not None
            scans = [node for node in nodes(row[0][0]["Plan"]) if node.get("Relation Name") == "templates"]
            assert [node["Index Name"] for node in scans] == ["templates_due"]
            assert sum(node["Actual Rows"] for node in scans) == most


def test_pausing_looks_at_waiting_runs_only(database_url: str, merchant: UUID) -> None:
    """I8: the history of a template costs its pausing nothing."""
    from scheduler_core.storage.queries import Queries

    template = a_template(merchant, "* * * * * *")
    store_template(database_url, template)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            b"INSERT INTO jobs (id, merchant_id, template_id, nominal_at, schedule_type, status, priority, max_retries,"
            b" timeout_seconds, retry_initial_seconds, retry_max_seconds, retry_multiplier, scheduled_at, completed_at,"
            b" created_at, updated_at, target, metadata)"
            b" SELECT overlay(gen_random_uuid()::text PLACING %s FROM 1)::uuid, %s, %s, %s, 'recurring', 'completed',"
            b" 0, 3, 30, 1, 60, 2, %s, %s, %s, %s, '{}', '{}' FROM generate_series(1, 20000)",
            (str(template.id)[:13], merchant, template.id, NOW, NOW, NOW, NOW, NOW),  # all made in one millisecond
        )
        connection.execute("VACUUM ANALYZE jobs")
        told = {"merchant_id": merchant, "id": template.id, "after": NOW, "with_extra": False, "most": 5_000}
        row = connection.execute(
            b"EXPLAIN (ANALYZE, FORMAT JSON) " + Queries("templates")["withdraw_runs"],
            {**told, "reason": "its template was paused", "now": NOW},
        ).fetchone()
        assert row is not None
        read = [node for node in nodes(row[0][0]["Plan"]) if "Relation Name" in node and "Scan" in node["Node Type"]]
        waiting = 150
        assert max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read) <= waiting


def test_every_statement_is_about_one_merchant_or_says_that_it_is_not() -> None:
    """I7. Runs and steps are of templates that the same transaction has locked."""
    from scheduler_core.storage.queries import Queries

    queries = Queries("templates")
    assert queries.names() == sorted(queries.names())
    open_to_all = {name for name in queries.names() if b"%(merchant_id)s" not in queries[name]}
    assert open_to_all == {"lock_due_across_merchants", "add_runs", "advance"}


def test_jobs_of_one_template_are_counted_right(database_url: str, merchant: UUID, tick: Callable[..., Report]) -> None:
    template = a_template(merchant, max_runs=4)
    store_template(database_url, template)
    for minute in range(1, 10):
        tick(NOW + timedelta(minutes=minute))
    assert nominal_minutes(database_url, template) == [1, 2, 3, 4]
    assert Counter(run["status"] for run in runs_of(database_url, template)) == {"pending": 4}
    assert rows(database_url, "SELECT runs FROM templates") == [{"runs": 4}]
