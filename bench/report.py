"""Writes `docs/benchmarks.md` and its charts from a run's results. Pure but for writing the files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench import charts
from bench.contenders import Measurement
from bench.peers import installing
from bench.peers.peer import Manifest
from bench.results import Results, median_of, spread_of
from bench.tables import table

_WORDS: Final = Path(__file__).with_name("report.md")
_TITLES: Final = {"ours": "**this scheduler**"}
_RATES: Final = ("drain", "deliver")
_ALIKE: Final = 0.05
"""Nearer than this to one, a ratio tells nothing on a machine that drifts."""


def write(results: Results, folder: Path) -> list[Path]:
    """`benchmarks.md` and `benchmarks/*.svg` below `folder`; answers what was written."""
    pictures = {name: drawn for name, drawn in _charts(results).items() if drawn}
    (folder / "benchmarks").mkdir(parents=True, exist_ok=True)
    written = []
    for name, drawn in pictures.items():
        written.append(folder / "benchmarks" / f"{name}.svg")
        written[-1].write_text(drawn, encoding="utf-8")
    page = folder / "benchmarks.md"
    page.write_text(text(results, sorted(pictures)), encoding="utf-8")
    return [page, *written]


def text(results: Results, pictures: Sequence[str] = ()) -> str:
    """The page. Its words are in `report.md` beside this module; the names in braces are filled in here."""
    filled = {
        "runs": _runs(results),
        "machine": _facts(results.machine),
        "servers": ", ".join(f"{name} {version}" for name, version in results.versions.get("servers", {}).items()),
        "summary": _summary(results),
        "drain": _throughput(results, "drain"),
        "deliver": _throughput(results, "deliver"),
        "precision": _precision(results),
        "enqueue": _enqueue(results),
        "limits": _limits(results),
        "scale": _scale(results),
        "fairness": _fairness(results),
        "neighbours": _neighbours(results),
        "idle": _idle(results),
        "memory": _memory(results),
        "better": _better(results),
        "peers": _peers(results),
        "failures": _failures(results),
        **{f"chart_{name}": "" for name in ("drain", "deliver", "precision")},
        **{f"chart_{name}": f"![{name}](benchmarks/{name}.svg)" for name in pictures},
    }
    words = _WORDS.read_text(encoding="utf-8")
    for name, value in filled.items():
        words = words.replace(f"{{{name}}}", value)
    return words


# Parts ---------------------------------------------------------------------------------------------------------------


def title_of(contender: str) -> str:
    """A contender as the tables name it."""
    if contender in installing.names():
        return Manifest.of(contender).title
    return _TITLES.get(contender, contender)


def _runs(results: Results) -> str:
    rows = []
    for run in results.runs:
        made = dict.fromkeys(each.workload for each in results.measurements if each.run == run.began_at)
        rows.append([run.began_at, f"`{run.command}`", run.revision, f"{run.took_seconds / 60:.0f}", ", ".join(made)])
    return table(("begun", "command", "commit", "minutes", "what is of it below"), rows)


def _participants(results: Results, workload: str) -> list[str]:
    return [name for name in results.contenders(workload) if not name.startswith("limit")]


def _throughput(results: Results, workload: str) -> str:
    rows = []
    for name in _ranked(results, workload):
        measured = results.of(workload, name)
        cells = [title_of(name), *(_with_spread(results.of(workload, name, n), "per_second") for n in (1, 2))]
        versus = None if name == "ours" else _best_ratio(results, workload, name)
        cells += ["" if versus is None else f"{versus:.2f}", _numbers(each.jobs for each in measured)]
        rows.append([*cells, str(len({each.round for each in measured}))])
    return table(
        ("", "one executor, jobs/s", "two executors, jobs/s", "ours / theirs", "jobs in a run", "rounds"), rows
    )


def _numbers(values: Iterable[int]) -> str:
    return " or ".join(f"{value:,}" for value in sorted(set(values)))


def _with_spread(measured: Sequence[Measurement], figure: str) -> str:
    """The median, and the smallest and largest where there is more than one."""
    middle, spread = median_of(measured, figure), spread_of(measured, figure)
    if middle is None or spread is None:
        return ""
    return f"{middle:,.0f} ({spread[0]:,.0f}-{spread[1]:,.0f})" if len(measured) > 1 else f"{middle:,.0f}"


def _ranked(results: Results, workload: str) -> list[str]:
    return sorted(_participants(results, workload), key=lambda name: -(_best(results, workload, name) or 0.0))


def _best(results: Results, workload: str, name: str) -> float | None:
    found = [rate for n in (1, 2) if (rate := results.figure(workload, name, "per_second", n)) is not None]
    return max(found, default=None)


def _best_ratio(results: Results, workload: str, name: str) -> float | None:
    """Our best over their best, whichever number of executors each likes more."""
    ours, theirs = _best(results, workload, "ours"), _best(results, workload, name)
    return ours / theirs if ours and theirs else None


def _precision(results: Results) -> str:
    parts = []
    for workload in dict.fromkeys(each.workload for each in results.measurements):
        if not workload.startswith("precision"):
            continue
        rows = []
        names = sorted(_participants(results, workload), key=lambda n: results.figure(workload, n, "p50_ms") or 0.0)
        for name in names:
            figures = [results.figure(workload, name, f"{which}_ms") for which in ("p50", "p99", "p999", "max")]
            missing = results.figure(workload, name, "missing") or 0
            rows.append([title_of(name), *(_ms(value) for value in figures), f"{missing:,.0f}" if missing else ""])
        jobs = results.of(workload)[0].jobs
        parts.append(
            f"{jobs:,} jobs, {workload.removeprefix('precision ')}:\n\n"
            + table(("", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "never came"), rows)
        )
    return "\n".join(parts)


def _enqueue(results: Results) -> str:
    names = sorted(
        _participants(results, "enqueue"), key=lambda n: -(results.figure("enqueue", n, "bulk_per_second") or 0.0)
    )
    rows = [
        [
            title_of(name),
            _with_spread(results.of("enqueue", name), "one_per_second"),
            _with_spread(results.of("enqueue", name), "bulk_per_second"),
        ]
        for name in names
    ]
    gateway = results.figure("enqueue", "ours", "gateway_per_second")
    if gateway is not None:
        rows.append(["this scheduler, through the local gateway, over HTTP with a key", _rate(gateway), ""])
    return table(("", "one by one, jobs/s", "in bulk, jobs/s"), rows)


def _limits(results: Results) -> str:
    rows = []
    for workload in ("drain", "deliver", "enqueue"):
        for name in results.contenders(workload):
            if name.startswith("limit"):
                rate = _with_spread(results.of(workload, name), "per_second")
                rows.append([f"`{name.removeprefix('limit: ')}`", rate, _ours_against(results, workload, name)])
    return table(("limit", "per second", "we reach"), rows)


def _ours_against(results: Results, workload: str, limit: str) -> str:
    if limit == "limit: insert":
        times = results.ratio(workload, ("ours", "one_p50_ms"), ("ours", "bare_p50_ms"))
        return "" if times is None else f"one POST takes {times:.2f} times as long, call by call in turns (p50)"
    figure, word = ("bulk_per_second", "in bulk") if limit == "limit: copy" else ("per_second", "")
    found = [
        f"{ratio:.2f} {word or ('with one executor' if n == 1 else 'with two')}".strip()
        for n in (1, 2)
        if (ratio := results.ratio(workload, ("ours", figure), (limit, "per_second"), n)) is not None
    ]
    return ", ".join(found)


def _scale(results: Results) -> str:
    rows = [
        [
            each.contender.removesuffix(" pending"),
            *(
                _plain(each.figures.get(name), digits)
                for name, digits in (("due_scan_ms", 1), ("claim_ms", 1), ("drain_per_second", 0))
            ),
            _plain(each.figures.get("drain_wal_bytes_per_job"), 0),
            _plain(each.figures.get("drain_row_versions_per_job"), 2),
            _size(each.figures.get("table_bytes")),
            _size(each.figures.get("index_bytes")),
        ]
        for each in results.of("scale")
    ]
    headings = ("pending", "due scan of 10,000, ms", "claim of 500, ms", "drain, jobs/s", "WAL bytes per job",
                "row versions per job", "tables", "indexes")  # fmt: skip
    return table(headings, rows)


def _fairness(results: Results) -> str:
    rows = [
        ["the large merchant alone, jobs/s", _rate(results.figure("fairness", "ours", "alone_per_second"))],
        ["beside the twenty, jobs/s", _rate(results.figure("fairness", "ours", "beside_per_second"))],
        ["the twenty's lateness p50, ms", _ms(results.figure("fairness", "ours", "p50_ms"))],
        ["the twenty's lateness p99, ms", _ms(results.figure("fairness", "ours", "p99_ms"))],
    ]
    return table(("", ""), rows)


def _neighbours(results: Results) -> str:
    """A row for each load; another one for the jobs that are the load, where they are judged too."""
    rows = []
    for name in results.contenders("neighbours"):
        measured = results.of("neighbours", name)
        jobs = f"{name}: {measured[0].jobs:,}" if measured[0].jobs else name
        for prefix, whose in (("", jobs), ("own_", f"the lateness of these {measured[0].jobs:,} themselves")):
            figures = [results.figure("neighbours", name, f"{prefix}{which}_ms") for which in ("p50", "p99", "max")]
            if figures[0] is not None:
                rows.append([whose, *(_ms(value) for value in figures), str(len(measured))])
    page = table(("beside", "p50 ms", "p99 ms", "max ms", "rounds"), rows)
    made = median_of(results.of("neighbours"), "runs_per_second")
    return f"{page}\n\nRecurrence made {_rate(made)} of the templates' runs a second." if made else page


def _idle(results: Results) -> str:
    measured = results.of("idle")
    names = list(measured[0].figures) if measured else []
    rows = [
        [name.removesuffix("_per_minute").replace("_", " "), _plain(results.figure("idle", "ours", name), 0)]
        for name in names
    ]
    return table(("for each minute", ""), rows)


def _memory(results: Results) -> str:
    executors = _figures((m for w in _RATES for m in results.of(w, "ours")), "executor_peak_bytes")
    apis = _figures(results.of("enqueue", "ours"), "api_peak_bytes")
    rows = [["executor, at full load", _size(max(executors))]] if executors else []
    rows += [["API handler, after batches of 1,000", _size(max(apis))]] if apis else []
    return table(("process", "most resident"), rows)


def _figures(measured: Iterable[Measurement], name: str) -> list[float]:
    return [each.figures[name] for each in measured if name in each.figures]


def _summary(results: Results) -> str:
    """Our best over the best peer's, and over the best of each kind: who is ahead is for the figures to say."""
    rows = []
    for workload in _RATES:
        peers = [name for name in _ranked(results, workload) if name != "ours"]
        kinds = (
            ("best peer", peers),
            ("best peer on PostgreSQL that keeps its jobs", [n for n in peers if Manifest.of(n).keeps_jobs]),
            ("best peer in Python", [n for n in peers if Manifest.of(n).language == "python"]),
        )
        for word, chosen in kinds:
            if chosen and (ratio := _best_ratio(results, workload, chosen[0])) is not None:
                rows.append([workload, word, title_of(chosen[0]), f"{ratio:.2f}", _in_words(ratio)])
    return table(("workload", "beside the", "which is", "ours / theirs", ""), rows)


def _in_words(ratio: float) -> str:
    if abs(ratio - 1) < _ALIKE:
        return "alike"
    return "we are faster" if ratio > 1 else "it is faster"


def _better(results: Results) -> str:
    """Every figure at which a peer is ahead of us, the widest gap first in each workload."""
    rows = []
    for workload in _RATES:
        for executors, word in ((1, "one executor"), (2, "two executors")):
            rows += _ahead(results, workload, "per_second", f"{workload}, {word}, jobs/s", executors)
    for workload in dict.fromkeys(each.workload for each in results.measurements):
        if workload.startswith("precision"):
            for figure in ("p50_ms", "p99_ms"):
                words = f"{workload}, {figure.removesuffix('_ms')}, ms"
                rows += _ahead(results, workload, figure, words, 1, less_is_better=True)
    rows += _ahead(results, "enqueue", "one_per_second", "enqueue one by one, jobs/s", 1)
    rows += _ahead(results, "enqueue", "bulk_per_second", "enqueue in bulk, jobs/s", 1)
    if not rows:
        return "In no figure that was measured.\n"
    return table(("figure", "who", "theirs", "ours", "better by"), rows)


def _ahead(
    results: Results, workload: str, figure: str, words: str, executors: int, *, less_is_better: bool = False
) -> list[list[str]]:
    ours = results.figure(workload, "ours", figure, executors)
    found = []
    for name in _participants(results, workload):
        theirs = results.figure(workload, name, figure, executors)
        if name == "ours" or not ours or not theirs:
            continue
        times = ours / theirs if less_is_better else theirs / ours
        if times > 1:
            digits = 1 if less_is_better else 0
            cells = [words, title_of(name), _plain(theirs, digits), _plain(ours, digits), f"{times:.2f} times"]
            found.append((times, cells))
    return [cells for _, cells in sorted(found, key=lambda each: -each[0])]


def _peers(results: Results) -> str:
    rows = []
    for name in installing.names():
        if name in results.versions:
            manifest = Manifest.of(name)
            versions = ", ".join(f"{package} {version}" for package, version in results.versions[name].items())
            rows.append([manifest.title, manifest.store, versions, manifest.settings, manifest.durability])
    return table(("", "store", "versions", "settings", "durability by default"), rows)


def _failures(results: Results) -> str:
    if not results.failures:
        return ""
    lines = "\n".join(f"- {failure.splitlines()[0]}" for failure in results.failures)
    return f"Runs that failed, and whose contender took no further part:\n\n{lines}\n"


def _charts(results: Results) -> dict[str, str]:
    return {
        **{workload: _throughput_chart(results, workload) for workload in _RATES},
        "precision": _precision_chart(results),
    }


def _throughput_chart(results: Results, workload: str) -> str:
    bars = [
        charts.Bar(_plain_title(name), best, "ours" if name == "ours" else "peer", f"{best:,.0f}")
        for name in _ranked(results, workload)
        if (best := _best(results, workload, name)) is not None
    ]
    for name in results.contenders(workload):
        rate = results.figure(workload, name, "per_second")
        if name.startswith("limit") and rate:
            bars.append(charts.Bar(name, rate, "limit", f"{rate:,.0f}"))
    subtitle = "jobs per second, median, the better of one and two executors; grey: limits of the machine"
    return charts.bar_chart(workload, subtitle, bars) if bars else ""


def _precision_chart(results: Results) -> str:
    workloads = [each.workload for each in results.measurements if each.workload.startswith("precision")]
    if not workloads:
        return ""
    workload = workloads[0]
    late = {name: results.figure(workload, name, "p99_ms") for name in _participants(results, workload)}
    bars = [
        charts.Bar(_plain_title(name), value, "ours" if name == "ours" else "peer", f"{value:,.1f} ms")
        for name, value in sorted(late.items(), key=lambda item: item[1] or 0.0)
        if value is not None
    ]
    return charts.bar_chart("lateness, p99", f"{workload}; logarithmic; less is better", bars, logarithmic=True)


def _plain_title(name: str) -> str:
    return title_of(name).strip("*")


def _facts(pairs: Mapping[str, str]) -> str:
    return table(("", ""), [[name, value] for name, value in pairs.items()])


def _rate(value: float | None) -> str:
    return _plain(value, 0)


def _ms(value: float | None) -> str:
    return _plain(value, 1)


def _plain(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _size(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value / 2**20:,.0f} MiB" if value < 2**30 else f"{value / 2**30:,.2f} GiB"
