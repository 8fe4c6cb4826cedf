"""What counts as late, early, doubled and missing."""

from datetime import UTC, datetime

from bench.lateness import judge, percentile
from bench.receiver import Delivery

DUE = datetime(2026, 11, 23, 9, 0, 0, 123_000, tzinfo=UTC)
DUE_NS = int(DUE.timestamp()) * 1_000_000_000 + 123_000_000


def test_lateness_is_arrival_minus_due_time() -> None:
    verdict = judge({"a": DUE}, [Delivery("a", 1, DUE_NS + 4_500_000)])
    assert (verdict.p50_ms, verdict.max_ms, verdict.early) == (4.5, 4.5, 0)


def test_a_delivery_before_its_time_is_early() -> None:
    assert judge({"a": DUE}, [Delivery("a", 1, DUE_NS - 1_000)]).early == 1


def test_only_the_first_delivery_counts_and_the_others_are_duplicates() -> None:
    verdict = judge({"a": DUE}, [Delivery("a", 2, DUE_NS + 9_000_000), Delivery("a", 1, DUE_NS + 1_000_000)])
    assert (verdict.max_ms, verdict.duplicates) == (1.0, 1)


def test_a_job_that_never_came_is_missing() -> None:
    assert judge({"a": DUE, "b": DUE}, [Delivery("a", 1, DUE_NS)]).missing == 1


def test_deliveries_of_other_jobs_are_left_out() -> None:
    verdict = judge({"a": DUE}, [Delivery("a", 1, DUE_NS), Delivery("other", 1, DUE_NS)])
    assert (verdict.jobs, verdict.duplicates) == (1, 0)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 1_001)]
    assert [percentile(values, share) for share in (0.5, 0.9, 0.99, 0.999, 1.0)] == [500, 900, 990, 999, 1_000]
    assert percentile([], 0.5) == 0.0
    assert percentile([7.0], 0.999) == 7.0
