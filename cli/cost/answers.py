"""The bill as `scheduler cost` prints it: a document for machines, tables for people."""

from decimal import Decimal
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.cost import model, reading
from cli.cost.model import Demand, Line

_COMPARED: Final = (0, 10_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
_CENT: Final = Decimal("0.01")


def one(region: str, jobs: int, **options: Any) -> dict[str, Any]:
    """The bill for one number of jobs. Raises ValueError where there are no prices."""
    prices, assumptions = reading.prices(region), reading.assumptions()
    demand = _demand(jobs, **options)
    lines = model.bill(demand, assumptions, prices)
    whole = model.total(lines)
    return {
        **_about(region, demand),
        "jobs_per_month": jobs,
        "lines": [{"group": line.group, "component": line.component, **_costs(line.dollars, demand)} for line in lines],
        "total": _costs(whole, demand),
        "lambda": _costs(model.total(_of("Lambda", lines)), demand),
        "peers": [
            {"name": peer.name, **_costs(peer.dollars, demand), "remark": peer.remark}
            for peer in model.peers(demand, assumptions, prices)
        ],
        "executor_awake": float(round(model.awake(demand, assumptions), 4)),
        "unverified": _unverified(prices, demand),
    }


def comparison(region: str, **options: Any) -> dict[str, Any]:
    """Whole bills for many numbers of jobs. Raises ValueError where there are no prices."""
    prices, assumptions = reading.prices(region), reading.assumptions()
    rows = []
    for jobs in _COMPARED:
        demand = _demand(jobs, **options)
        others = {peer.name: _number(peer.dollars) for peer in model.peers(demand, assumptions, prices)}
        ours = {"ours": _number(model.total(model.bill(demand, assumptions, prices)))}
        rows.append({"jobs_per_month": jobs, "usd_per_month": ours | others})
    about = _demand(0, **options)
    return {**_about(region, about), "rows": rows, "unverified": _unverified(prices, about)}


def _demand(jobs: int, *, stores: model.Stores, jobs_per_request: int, free_tier: bool) -> Demand:
    return Demand(jobs=Decimal(jobs), jobs_per_request=Decimal(jobs_per_request), stores=stores, free_tier=free_tier)


def _about(region: str, demand: Demand) -> dict[str, Any]:
    return {
        "region": region,
        "prices_checked": reading.checked_on().isoformat(),
        "sources": list(reading.sources()),
        "stores": demand.stores,
        "jobs_per_request": int(demand.jobs_per_request),
        "free_tier": demand.free_tier,
    }


def _unverified(prices: model.Prices, demand: Demand) -> list[str]:
    """The prices in this bill that nobody could look up."""
    return [name for name in prices.unverified if demand.free_tier or "_free_" not in name]


def _costs(dollars: Decimal, demand: Demand) -> dict[str, float | None]:
    million = model.per_million(dollars, demand.jobs)
    return {
        "usd_per_month": _number(dollars),
        "usd_per_million_jobs": None if million is None else _number(million),
    }


def _number(dollars: Decimal) -> float:
    return float(round(dollars, 4))


def _of(group: str, lines: tuple[Line, ...]) -> list[Line]:
    return [line for line in lines if line.group == group]


# For people ---------------------------------------------------------------------------------------------------------


def one_view(answer: dict[str, Any]) -> RenderableType:
    """The bill, and the other services below it."""
    bill = _table("", "COMPONENT", "$ A MONTH", "$ PER MILLION JOBS")
    last = ""
    for line in answer["lines"]:
        bill.add_row("" if line["group"] == last else line["group"], line["component"], *_cells(line))
        last = line["group"]
    bill.add_section()
    bill.add_row("of it Lambda", "", *_cells(answer["lambda"]), style="dim")
    bill.add_row("TOTAL", "", *_cells(answer["total"]), style="bold")
    others = _table("ELSEWHERE", "", "$ A MONTH", "$ PER MILLION JOBS")
    for peer in answer["peers"]:
        others.add_row(peer["name"], peer["remark"], *_cells(peer))
    head = f"{answer['jobs_per_month']:,} jobs a month; an executor is awake {answer['executor_awake']:.1%} of it"
    return Group(Text(head), bill, Text(), others, *_remarks(answer))


def comparison_view(answer: dict[str, Any]) -> RenderableType:
    """A row for each number of jobs."""
    names = list(answer["rows"][0]["usd_per_month"])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("JOBS A MONTH", *names):
        table.add_column(heading.upper(), justify="right")
    for row in answer["rows"]:
        table.add_row(f"{row['jobs_per_month']:,}", *(_dollars(row["usd_per_month"][name]) for name in names))
    return Group(Text("$ a month"), table, *_remarks(answer))


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index > 1 else "left", no_wrap=index != 1)
    return table


def _cells(costs: dict[str, Any]) -> tuple[str, str]:
    million = costs["usd_per_million_jobs"]
    return _dollars(costs["usd_per_month"]), "-" if million is None else _dollars(million)


def _dollars(amount: float) -> str:
    exact = Decimal(str(amount))
    return "<0.01" if 0 < exact < _CENT / 2 else f"{exact:,.2f}"


def _remarks(answer: dict[str, Any]) -> list[Text]:
    made = "makes its stores" if answer["stores"] == "create" else "is given its stores, which are not in the bill"
    free = "free tiers taken off" if answer["free_tier"] else "no free tiers"
    batch = answer["jobs_per_request"]
    asked = "a request for each job" if batch == 1 else f"{batch} jobs to a request"
    lines = [f"{answer['region']}; {made}; {asked}; {free}. List prices, looked at on {answer['prices_checked']}."]
    if answer["unverified"]:
        lines.append(f"Not verified: {', '.join(answer['unverified'])}.")
    return [Text(), *(Text(line, style="dim") for line in lines)]
