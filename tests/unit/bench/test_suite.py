"""Who runs what, in which order; how the peers are pinned."""

import ast
import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.contenders import LostJobsError, Measurement
from bench.neighbours import ONCE, Load
from bench.nginx import Arrival, parse_arrival
from bench.peers import installing
from bench.peers.peer import Manifest
from bench.results import Results
from bench.suite import QUICK, WITH_PEERS, Scope, Step, Suite


class _Contender:
    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.name = name
        self.versions = {name: "1"}
        self._fails = fails

    def jobs_for(self, workload: str, jobs: int) -> int:
        return jobs if self.name == "ours" else jobs // 10

    def drain(self, jobs: int, executors: int) -> Mapping[str, float]:
        if self._fails:
            raise LostJobsError("lost")
        return {"per_second": jobs * executors}

    deliver = drain

    def precision(self, jobs: int, rate: float) -> Mapping[str, float]:
        return {"p50_ms": 1.0}

    def enqueue(self, jobs: int) -> Mapping[str, float]:
        return {"bulk_per_second": 1.0}


def a_suite(scope: Scope, *peers: _Contender, ours: _Contender | None = None) -> Suite:
    """A suite whose contenders do nothing."""
    made = Suite.__new__(Suite)
    made._site = cast("Any", SimpleNamespace())
    made._scope = scope
    made._ours = cast("Any", ours or _Contender("ours"))
    made._peers = cast("Any", list(peers))
    made._scale = None
    return made


def _never(*_: object) -> None:
    return


def test_contenders_take_turns_within_each_round() -> None:
    scope = Scope(workloads=("drain",), rounds=2, executors=(1,), drain_jobs=100)
    steps = [
        s for s in a_suite(scope, _Contender("bullmq"), _Contender("pg-boss")).steps() if "limit" not in s.contender
    ]
    assert [(s.round, s.contender, s.jobs) for s in steps] == [
        (1, "ours", 100), (1, "bullmq", 10), (1, "pg-boss", 10),
        (2, "ours", 100), (2, "bullmq", 10), (2, "pg-boss", 10),
    ]  # fmt: skip


def test_a_slow_peer_runs_once() -> None:
    scope = Scope(workloads=("drain", "enqueue"), rounds=3, executors=(1,))
    steps = list(a_suite(scope, _Contender("celery"), _Contender("pgqueuer")).steps())
    rounds = {who: [s.round for s in steps if s.contender == who] for who in ("ours", "celery", "pgqueuer")}
    assert rounds == {"ours": [1, 2, 3] * 2, "celery": [1] * 2, "pgqueuer": [1, 2, 3] * 2}


def test_limits_are_measured_in_every_round_right_before_ours() -> None:
    steps = list(a_suite(Scope(workloads=("deliver",), rounds=3, executors=(1, 2)), _Contender("arq")).steps())
    limits = [(s.round, s.executors) for s in steps if s.contender == "limit: claimed_posts"]
    assert limits == [(round_, executors) for round_ in (1, 2, 3) for executors in (1, 2)]
    following = [after for before, after in pairwise(steps) if before.contender == "limit: claimed_posts"]
    assert [(s.contender, s.round, s.executors) for s in following] == [("ours", *each) for each in limits]


def test_a_peers_fast_pace_is_measured_once_ours_in_every_round() -> None:
    scope = Scope(workloads=("precision",), rounds=3)
    fast = [s.contender for s in a_suite(scope, _Contender("arq")).steps() if "500" in s.workload]
    assert fast == ["ours", "arq", "ours", "ours"]


def test_a_peer_that_fails_is_noted_and_takes_no_further_part(monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(began_at="", command="")
    suite = a_suite(Scope(workloads=("drain",), rounds=2, executors=(1,)), _Contender("arq", fails=True))
    monkeypatch.setattr(suite, "steps", lambda: iter(_without_limits(suite)))
    ended: list[Measurement] = []
    suite.run(results, _never, ended.append)
    assert results.failures == ["drain 1: arq: lost"]
    assert [each.contender for each in ended] == ["ours", "ours"]


def test_a_figure_says_when_it_was_made_and_of_which_run(monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(began_at="2026-11-23T12:00:00+00:00", command="")
    results.failures = ["drain 1: ours: an earlier run's"]
    suite = a_suite(Scope(workloads=("drain",), rounds=1, executors=(1,)))
    monkeypatch.setattr(suite, "steps", lambda: iter(_without_limits(suite)))
    suite.run(results, _never, _never)
    assert [each.run for each in results.measurements] == [results.began_at]
    assert results.measurements[0].ended_at > results.began_at
    assert results.failures == []


def test_our_own_failure_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = a_suite(Scope(workloads=("drain",), rounds=1, executors=(1,)), ours=_Contender("ours", fails=True))
    monkeypatch.setattr(suite, "steps", lambda: iter(_without_limits(suite)))
    with pytest.raises(LostJobsError):
        suite.run(Results(began_at="", command=""), _never, _never)


def test_a_load_that_loses_a_job_ends_the_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = a_suite(Scope(workloads=("neighbours",), rounds=1))

    def lose(load: Load) -> Mapping[str, float]:
        raise LostJobsError(str(load))

    monkeypatch.setattr(suite, "_beside", lose)
    with pytest.raises(LostJobsError):
        suite.run(Results(began_at="", command=""), _never, _never)


def test_the_loads_beside_others_run_in_every_round_but_the_one_that_takes_minutes() -> None:
    steps = [*a_suite(Scope(workloads=("neighbours",), rounds=2)).steps()]
    [once] = ONCE
    assert [step.round for step in steps if step.contender == once] == [1]
    assert {step.contender: step.jobs for step in steps if step.round == 2} == {
        "nothing": 0, "a limited merchant's backlog": 65_000, "many due at one instant": 30_000,
        "many merchants at one instant": 3_000, "templates at one instant": 20_000, "a target that fails": 30_000,
    }  # fmt: skip


def _without_limits(suite: Suite) -> list[Step]:
    return [s for s in Suite.steps(suite) if not s.contender.startswith("limit")]


def test_the_quick_scope_has_no_peers() -> None:
    assert not QUICK.peers
    assert set(QUICK.workloads) <= set(WITH_PEERS)


def test_a_line_of_the_receivers_log_is_moment_job_and_attempt() -> None:
    assert parse_arrival("1795435200.123 abc 2") == Arrival(1795435200.123, "abc", 2)
    assert parse_arrival("1795435200.123 - -") == Arrival(1795435200.123, "", 0)


@pytest.mark.parametrize("name", installing.names())
def test_every_peer_is_pinned_and_described(name: str) -> None:
    manifest = Manifest.of(name)
    assert manifest.settings
    assert manifest.durability
    assert set(manifest.about_per_second) == {"drain", "deliver", "enqueue"}
    pins = installing.pins(name).read_text(encoding="utf-8")
    if manifest.language == "node":
        versions = json.loads(pins)["dependencies"].values()
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    else:
        assert len(re.findall(r"^[a-z].*==", pins, re.MULTILINE)) <= pins.count("--hash=sha256:")
        ast.parse((installing.SOURCES / name / "driver.py").read_text(encoding="utf-8"))


def test_no_lock_file_with_addresses_is_kept() -> None:
    assert not [*Path(installing.SOURCES).rglob("package-lock.json")]
    for pins in installing.SOURCES.glob("*/requirements.txt"):
        assert "://" not in pins.read_text(encoding="utf-8")


def test_all_eight_peers_are_there() -> None:
    assert installing.names() == [
        "arq", "bullmq", "celery", "dramatiq", "graphile-worker", "pg-boss", "pgqueuer", "procrastinate",
    ]  # fmt: skip
