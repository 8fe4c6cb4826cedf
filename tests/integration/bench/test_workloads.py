"""Every workload of the benchmark, as small as it gets: the figures mean nothing here, that they are there does."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bench import idle, yardsticks
from bench.fairness import SMALL, Fairness
from bench.limits import LIMITS
from bench.neighbours import LOADS, Loads, Neighbours
from bench.ours import Ours
from bench.scale import Scale
from bench.site import Site, site
from tests.builders import seconds

# Each starts every function's processes anew: on a busy machine that alone takes long.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of the benchmark's own."""
    with site(tmp_path_factory.mktemp("bench")) as made:
        yield made


@pytest.fixture(autouse=True)
def _executors_leave_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDLE_SECONDS", "0.1")


def test_a_drain_ends_every_job_and_says_what_it_wrote(place: Site) -> None:
    figures = Ours(place).drain(300, 2)
    assert figures["per_second"] > 0
    assert 2 <= figures["row_versions_per_job"] < 2.5, "the claim, the end with the attempt, a little for each batch"
    assert figures["wal_bytes_per_job"] > 0


def test_a_delivery_reaches_the_receiver_once_for_each_job(place: Site) -> None:
    figures = Ours(place).deliver(300, 1)
    assert figures["per_second"] > 0
    assert len(place.receiver.arrivals()) == 300
    assert figures["executor_peak_bytes"] > 10 * 2**20


def test_lateness_is_judged_by_the_receivers_clock(place: Site) -> None:
    figures = Ours(place).precision(40, 40.0)
    assert figures["missing"] == 0
    assert figures["early"] == 0
    assert 0 <= figures["p50_ms"] <= figures["max_ms"]


def test_jobs_are_taken_in_by_handler_batch_and_gateway(place: Site) -> None:
    figures = Ours(place).enqueue(800)
    assert figures["bulk_per_second"] > figures["one_per_second"] > 0
    assert figures["gateway_per_second"] > 0
    assert figures["api_peak_bytes"] > 10 * 2**20


def test_what_waits_stays_while_what_is_due_is_drained(place: Site) -> None:
    figures = Scale(place, due=1_000).measure(5_000, 200)
    assert figures["due_scan_ms"] > 0
    assert figures["claim_ms"] > 0
    assert figures["drain_per_second"] > 0
    with psycopg.connect(place.postgres.url) as connection:
        rows = connection.execute("SELECT status::text, count(*) FROM jobs GROUP BY 1").fetchall()
    counts: dict[str, int] = {row[0]: row[1] for row in rows}
    assert counts["pending"] == 5_000
    assert set(counts) == {"pending", "completed"}


def test_the_small_merchants_lateness_is_measured_beside_the_large_one(place: Site) -> None:
    figures = Fairness(place).measure(300)
    assert figures["missing"] == 0
    assert figures["p99_ms"] > 0
    assert SMALL == 20


@pytest.mark.parametrize("name", LOADS)
def test_the_quiet_are_measured_beside_a_load(place: Site, name: str) -> None:
    loads = Loads(
        limited_jobs=300,
        instant_jobs=300,
        crowd=100,
        templates=300,
        failing_jobs=300,
        posted_per_second=50,
        posted_ahead=seconds(2),
        posted_for=seconds(2),
    )
    figures = LOADS[name].measure(Neighbours(place, loads))
    assert (figures["missing"], figures["early"]) == (0, 0)
    assert (figures.get("own_missing"), figures.get("own_early")) in {(None, None), (0, 0)}
    assert 0 <= figures["p50_ms"] <= figures["max_ms"]


def test_the_runs_of_templates_at_one_instant_are_made_and_delivered(place: Site) -> None:
    figures = Neighbours(place, Loads(crowd=20, templates=50)).midnight()
    assert figures["runs_per_second"] > 0
    with psycopg.connect(place.postgres.url) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT scheduled_at) FROM jobs WHERE template_id IS NOT NULL"
        )
        assert rows.fetchone() == (50, 1)


def test_a_target_that_fails_is_tried_again(place: Site) -> None:
    Neighbours(place, Loads(failing_jobs=50)).failing()
    with psycopg.connect(place.postgres.url) as connection:
        rows = connection.execute("SELECT DISTINCT http_status, outcome::text FROM executions WHERE attempt = 1")
        assert rows.fetchall() == [(503, "retried")]


def test_the_limit_of_the_loud_is_lifted_afterwards(place: Site) -> None:
    Neighbours(place, Loads(limited_jobs=100)).limited()
    with psycopg.connect(place.postgres.url) as connection:
        limits = connection.execute("SELECT rate_limit_per_second FROM merchants").fetchall()
    assert {limit for (limit,) in limits} == {None}


def test_an_idle_installation_is_metered(place: Site) -> None:
    figures = idle.measure(place, 2)
    assert figures["redis_commands_per_minute"] >= 0
    assert figures["statements_per_minute"] >= 0


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_a_limit_is_a_rate(place: Site, name: str) -> None:
    assert yardsticks.measure(place, name, 600)["per_second"] > 0


@pytest.mark.parametrize(("name", "attempts"), [("recorded_posts", 0), ("claimed_posts", 1)])
def test_a_bare_loop_completes_every_job(place: Site, name: str, attempts: int) -> None:
    yardsticks.measure(place, name, 1_300)
    with psycopg.connect(place.postgres.url) as connection:
        rows = connection.execute("SELECT status::text, attempt, count(*) FROM jobs GROUP BY 1, 2").fetchall()
    assert rows == [("completed", attempts, 1_300)]


def test_the_receiver_counts_what_came_since_the_mark(place: Site) -> None:
    place.receiver.mark()
    assert (place.receiver.count(), place.receiver.arrivals()) == (0, [])
    assert Path(place.folder / "nginx").exists()
