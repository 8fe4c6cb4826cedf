"""Medians, ratios and what is kept of a run."""

import dataclasses
from pathlib import Path

import pytest

from bench.contenders import Measurement
from bench.results import Results, Run, median_of, ratio_of, spread_of


def measured(contender: str, rate: float, *, round_: int = 1, executors: int = 1) -> Measurement:
    """A drain."""
    return Measurement(
        workload="drain", contender=contender, round=round_, executors=executors, jobs=10, figures={"per_second": rate}
    )


def results(*measurements: Measurement) -> Results:
    """A run."""
    return Results(began_at="2026-11-23T12:00:00+00:00", command="scheduler bench all", measurements=[*measurements])


def test_the_figure_of_three_rounds_is_the_middle_one() -> None:
    run = results(measured("ours", 10), measured("ours", 90, round_=2), measured("ours", 20, round_=3))
    assert run.figure("drain", "ours", "per_second") == 20
    assert spread_of(run.of("drain"), "per_second") == (10, 90)


def test_nothing_measured_is_none_not_zero() -> None:
    assert results().figure("drain", "ours", "per_second") is None
    assert median_of([measured("ours", 1)], "p50_ms") is None
    assert spread_of([], "per_second") is None
    assert ratio_of([], "per_second", [], "per_second") is None


def test_ratios_are_taken_within_a_round_so_that_drift_cancels_out() -> None:
    run = results(
        measured("ours", 100), measured("celery", 10),
        measured("ours", 50, round_=2), measured("celery", 5, round_=2),
        measured("ours", 70, round_=3), measured("celery", 7, round_=3),
    )  # fmt: skip
    assert run.ratio("drain", ("ours", "per_second"), ("celery", "per_second")) == 10


def test_a_ratio_compares_equal_numbers_of_executors_where_both_have_them() -> None:
    run = results(
        measured("ours", 100), measured("ours", 180, executors=2),
        measured("celery", 10), measured("celery", 20, executors=2), measured("limit: update", 200),
    )  # fmt: skip
    assert run.ratio("drain", ("ours", "per_second"), ("celery", "per_second"), 2) == 9
    assert run.ratio("drain", ("ours", "per_second"), ("limit: update", "per_second"), 2) == 0.9


def test_a_round_in_which_the_other_took_no_part_does_not_count() -> None:
    run = results(measured("ours", 100), measured("ours", 1, round_=2), measured("celery", 10))
    assert run.ratio("drain", ("ours", "per_second"), ("celery", "per_second")) == 10


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    run = results(measured("ours", 10))
    run.failures.append("drain 1: celery: gone")
    run.versions["servers"] = {"Redis": "6.2.14"}
    run.save(tmp_path / "deep" / "run.json")
    assert Results.load(tmp_path / "deep" / "run.json") == run


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text('{"version": 0}')
    with pytest.raises(ValueError, match="version"):
        Results.load(file)


def a_later(before: Results, *measurements: Measurement) -> Results:
    """A run on the same machine, an hour after `before`."""
    made = Results(began_at="2026-11-23T13:00:00+00:00", command="scheduler bench drain")
    assert made.continues(before)
    for each in measurements:
        made.add(dataclasses.replace(each, run=made.began_at))
    return made


def an_earlier() -> Results:
    """Two rounds of ours and one of a peer."""
    made = results()
    for each in (measured("ours", 10), measured("ours", 20, round_=2), measured("celery", 5)):
        made.add(dataclasses.replace(each, run=made.began_at))
    return made


def test_a_later_run_replaces_what_it_measures_and_leaves_the_rest() -> None:
    later = a_later(an_earlier(), measured("ours", 100))
    assert [(each.contender, each.figures["per_second"]) for each in later.measurements] == [
        ("celery", 5), ("ours", 100),
    ]  # fmt: skip
    assert [each.command for each in later.runs] == ["scheduler bench all", "scheduler bench drain"]


def test_rounds_of_different_runs_are_not_put_in_relation() -> None:
    later = a_later(an_earlier(), measured("ours", 100))
    assert later.ratio("drain", ("ours", "per_second"), ("celery", "per_second")) is None


def test_a_run_of_which_nothing_is_left_is_forgotten(tmp_path: Path) -> None:
    later = a_later(an_earlier(), measured("ours", 100), measured("celery", 50))
    later.save(tmp_path / "run.json")
    assert [each.began_at for each in Results.load(tmp_path / "run.json").runs] == [later.began_at]


def test_figures_of_another_machine_or_other_servers_are_not_taken_over() -> None:
    for other in (
        Results(began_at="", command="", machine={"cores": "64"}),
        Results(began_at="", command="", versions={"servers": {"Redis": "8"}}),
    ):
        assert not other.continues(an_earlier())
        assert other.measurements == []


def test_figures_of_another_version_of_a_peer_are_forgotten() -> None:
    before = an_earlier()
    before.versions["celery"] = {"celery": "5"}
    later = a_later(before)
    later.note_versions("celery", {"celery": "5"})
    assert later.contenders("drain") == ["ours", "celery"]
    later.note_versions("celery", {"celery": "6"})
    assert later.contenders("drain") == ["ours"]


def test_a_file_of_several_runs_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    later = a_later(an_earlier(), measured("ours", 100))
    later.save(tmp_path / "run.json")
    assert Results.load(tmp_path / "run.json") == later
    assert later.earlier == [Run(began_at="2026-11-23T12:00:00+00:00", command="scheduler bench all")]
