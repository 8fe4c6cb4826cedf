"""Prices, assumptions and the template, read into the model's values. Raises ValueError where they do not fit."""

import tomllib
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from cli.cost.model import DAYS, Architecture, Assumptions, Function, Prices
from hosting.template import Template, read_template

_FOLDER: Final = Path(__file__).parent
_TEMPLATE: Final = Path(__file__).parents[2] / "template.yaml"
_ABOUT: Final = frozenset({"source", "read", "unverified"})


def known_regions() -> tuple[str, ...]:
    """The regions that there are prices for."""
    return tuple(sorted(_tables("prices.toml")["regions"]))


def checked_on() -> date:
    """When somebody last looked at the prices."""
    found: date = _tables("prices.toml")["checked"]
    return found


def sources() -> tuple[str, ...]:
    """Where prices come from."""
    tables = _tables("prices.toml")
    groups = [*tables["regions"].values(), tables["peers"]]
    return tuple(sorted({group["source"] for region in groups for group in region.values()}))


def prices(region: str) -> Prices:
    """A region's prices, and the peers'."""
    tables = _tables("prices.toml")
    if region not in tables["regions"]:
        raise ValueError(f"there are no prices for {region}, only for {', '.join(known_regions())}")
    groups = [*tables["regions"][region].values(), *tables["peers"].values()]
    figures = {name: Decimal(value) for group in groups for name, value in group.items() if name not in _ABOUT}
    unverified = tuple(name for group in groups for name in group.get("unverified", ()))
    return Prices(region=region, figures=figures, unverified=unverified)


def assumptions(template: Path = _TEMPLATE) -> Assumptions:
    """What is supposed, with the functions of the template."""
    tables = _tables("assumptions.toml")
    idle = {name: Decimal(value) for name, value in tables.pop("idle_milliseconds").items()}
    architecture: Architecture = tables["installation"].pop("architecture")
    figures = {name: Decimal(value) for table in tables.values() for name, value in table.items()}
    return Assumptions(architecture=architecture, functions=_functions(read_template(template), idle), figures=figures)


def _functions(template: Template, idle: dict[str, Decimal]) -> tuple[Function, ...]:
    month = timedelta(days=int(DAYS))
    ticks: dict[str, Decimal] = {}
    for schedule in template.schedules:
        ticks[schedule.function] = ticks.get(schedule.function, Decimal(0)) + Decimal(month // schedule.every)
    if ticks.keys() != idle.keys():
        raise ValueError(f"idle times are known of {sorted(idle)}, but schedules invoke {sorted(ticks)}")
    return tuple(
        Function(
            name=function.name,
            memory_mb=function.memory_mb,
            ticks=ticks.get(function.name, Decimal(0)),
            idle_milliseconds=idle.get(function.name, Decimal(0)),
        )
        for function in template.functions
        if function.name != "migrator"  # it runs on deploys
    )


def _tables(name: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / name).read_text(encoding="utf-8"))
