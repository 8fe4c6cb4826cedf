"""The report: every part of it from a run, however little of it there is."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from bench import report
from bench.charts import Bar, bar_chart
from bench.contenders import Measurement
from bench.results import Results
from bench.tables import table


def a_run() -> Results:
    """We at 100 and 150, Graphile Worker at 120, Celery at 10; Celery is more exact."""
    made = Results(began_at="2026-11-23T12:00:00+00:00", command="scheduler bench all", took_seconds=3_000)
    made.machine = {"processor": "a | b", "cores": "2"}
    made.versions = {"servers": {"PostgreSQL": "18.4"}, "celery": {"celery": "5.7.0"}}
    rates = [("ours", 1, 100.0), ("ours", 2, 150.0), ("graphile-worker", 1, 120.0), ("celery", 1, 10.0)]
    rates += [("limit: update", 1, 400.0)]
    memory = {"executor_peak_bytes": 80 * 2.0**20}
    for name, executors, rate in rates:
        figures = {"per_second": rate, **(memory if name == "ours" else {})}
        made.measurements.append(
            Measurement(workload="drain", contender=name, executors=executors, jobs=100, figures=figures)
        )
    for name, late in (("ours", 1.5), ("celery", 1.2)):
        figures = {"p50_ms": late, "p99_ms": late * 2, "p999_ms": late * 3, "max_ms": late * 3, "missing": 0.0}
        made.measurements.append(Measurement(workload="precision at 50/s", contender=name, jobs=1_000, figures=figures))
    made.failures.append("drain 1: arq: gone\nwith a long log")
    return made


def test_contenders_are_ranked_by_their_better_number_of_executors() -> None:
    page = report.text(a_run())
    drained = page.partition("## drain")[2].partition("## deliver")[0]
    order = [drained.index(name) for name in ("this scheduler", "Graphile Worker", "Celery")]
    assert order == sorted(order)
    assert "| Graphile Worker | 120 |  | 1.25 | 100 | 1 |" in drained


def test_where_a_peer_is_better_is_said() -> None:
    better = report.text(a_run()).partition("## Where a peer is better")[2]
    assert "| drain, one executor, jobs/s | Graphile Worker | 120 | 100 | 1.20 times |" in better
    assert "| precision at 50/s, p50, ms | Celery | 1.2 | 1.5 | 1.25 times |" in better


def test_who_is_ahead_in_short_is_said_by_the_figures() -> None:
    slower, faster = a_run(), a_run()
    faster.measurements = [each for each in faster.measurements if each.executors == 2 or each.contender != "ours"]
    slower.measurements = [each for each in slower.measurements if each.executors == 1]
    assert "| drain | best peer | Graphile Worker | 1.25 | we are faster |" in report.text(faster)
    assert "| drain | best peer | Graphile Worker | 0.83 | it is faster |" in report.text(slower)


def test_every_run_that_figures_are_left_of_is_named() -> None:
    run = a_run()
    run.revision = "0123456789"
    assert "| 2026-11-23T12:00:00+00:00 | `scheduler bench all` | 0123456789 | 50 |" in report.text(run)


def test_limits_are_beside_what_we_reach_of_them() -> None:
    assert "| `update` | 400 | 0.25 with one executor, 0.38 with two |" in report.text(a_run())


def test_beside_whom_others_come_late_is_said_and_how_late_those_are_themselves() -> None:
    run = a_run()
    figures = {"p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0}
    own = {f"own_{name}": value + 3 for name, value in figures.items()}
    own["runs_per_second"] = 6_500.0
    for name, jobs, more in (("nothing", 0, {}), ("many", 1_000, own)):
        run.measurements.append(
            Measurement(workload="neighbours", contender=name, jobs=jobs, figures={**figures, **more})
        )
    rows = report.text(run).partition("## neighbours")[2].partition("## idle")[0]
    assert "| nothing | 1.0 | 2.0 | 3.0 | 1 |" in rows
    assert "| many: 1,000 | 1.0 | 2.0 | 3.0 | 1 |" in rows
    assert "| the lateness of these 1,000 themselves | 4.0 | 5.0 | 6.0 | 1 |" in rows
    assert "Recurrence made 6,500 of the templates' runs a second." in rows
    assert "Recurrence made" not in report.text(a_run())


def test_failures_are_told_in_one_line_each() -> None:
    page = report.text(a_run())
    assert "- drain 1: arq: gone\n" in page
    assert "long log" not in page


def test_a_run_of_nothing_makes_a_page_without_holes() -> None:
    page = report.text(Results(began_at="", command=""))
    assert not re.findall(r"\{[a-z_]+\}", page)


def test_every_name_in_braces_is_filled_in() -> None:
    assert not re.findall(r"\{[a-z_]+\}", report.text(a_run()))


def test_page_and_charts_are_written_and_the_charts_are_xml(tmp_path: Path) -> None:
    written = report.write(a_run(), tmp_path)
    assert sorted(each.name for each in written) == ["benchmarks.md", "drain.svg", "precision.svg"]
    page = (tmp_path / "benchmarks.md").read_text()
    for picture in re.findall(r"!\[\w+\]\(([^)]+)\)", page):
        assert ET.parse(tmp_path / picture).getroot().tag.endswith("svg")  # noqa: S314 - our own


def test_the_longest_bar_fills_the_room_and_the_others_are_in_proportion() -> None:
    drawn = bar_chart("t", "s", [Bar("a", 100, "ours", "100"), Bar("b", 25, "peer", "25"), Bar("c", 0, "limit", "0")])
    widths = [float(each) for each in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]
    assert widths[1] * 4 == widths[0]
    assert widths[2] == 0


def test_a_logarithmic_chart_keeps_small_values_visible() -> None:
    drawn = bar_chart("t", "s", [Bar("a", 1_000, "ours", ""), Bar("b", 1, "peer", "")], logarithmic=True)
    widths = [float(each) for each in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]
    assert 0 < widths[1] < widths[0]


def test_labels_are_escaped() -> None:
    assert "<b>" not in bar_chart("<b>", "a & b", [Bar("<b>", 1, "ours", "<b>")])


def test_bars_in_cells_do_not_break_a_table() -> None:
    assert table(("a",), [["x|y"]]).splitlines()[-1] == "| x\\|y |"
    assert table(("a",), []) == "-\n"
