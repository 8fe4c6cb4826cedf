"""What makes the short run fail: ratios, never times."""

from bench.bounds import BOUNDS, Bound, broken
from bench.contenders import Measurement
from bench.results import Results

_RATE = Bound(workload="drain", figure="per_second", limit="update", of_limit="per_second", least=0.5, promise="rate")
_TIME = Bound(
    workload="drain", figure="p50_ms", limit="insert", of_limit="p50_ms", least=0.5, inverse=True, promise="time"
)
_BESIDE = Bound(
    workload="drain", figure="p50_ms", limit=None, of_limit="bare_p50_ms", least=0.5, inverse=True, promise="time"
)


def a_run(ours: dict[str, float], **limits: dict[str, float]) -> Results:
    """One round of drain."""
    made = Results(began_at="", command="")
    made.measurements.append(Measurement(workload="drain", contender="ours", figures=ours))
    for name, figures in limits.items():
        made.measurements.append(Measurement(workload="drain", contender=f"limit: {name}", figures=figures))
    return made


def test_a_rate_below_its_share_of_the_limit_is_broken() -> None:
    assert broken(a_run({"per_second": 49}, update={"per_second": 100}), [_RATE]) == ["rate: 0.49, less than 0.5"]
    assert broken(a_run({"per_second": 51}, update={"per_second": 100}), [_RATE]) == []


def test_a_time_above_its_multiple_of_the_limit_is_broken() -> None:
    assert broken(a_run({"p50_ms": 2.1}, insert={"p50_ms": 1.0}), [_TIME])
    assert not broken(a_run({"p50_ms": 1.9}, insert={"p50_ms": 1.0}), [_TIME])


def test_a_limit_may_be_measured_beside_ours() -> None:
    assert broken(a_run({"p50_ms": 2.1, "bare_p50_ms": 1.0}), [_BESIDE])
    assert not broken(a_run({"p50_ms": 1.9, "bare_p50_ms": 1.0}), [_BESIDE])


def test_a_slow_machine_passes() -> None:
    assert broken(a_run({"per_second": 6}, update={"per_second": 10}), [_RATE]) == []


def test_what_was_not_measured_is_broken_too() -> None:
    nothing = broken(Results(began_at="", command=""))
    assert len(nothing) == len(BOUNDS) >= 4
    assert all(each.endswith("not measured") for each in nothing)
    assert broken(a_run({"per_second": 60}), [_RATE]) == ["rate: not measured"]
