"""What the bill is made from fits what is deployed."""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from cli.cost import reading

ROOT = Path(__file__).parents[4]
DECLARED = {
    "alarms": "AWS::CloudWatch::Alarm",
    "dashboards": "AWS::CloudWatch::Dashboard",
    "kms_keys": "AWS::KMS::Key",
}


def test_functions_have_the_templates_memory_and_schedules() -> None:
    functions = {function.name: function for function in reading.assumptions().functions}
    assert functions.keys() == {"api", "authorizer", "executor", "populator", "recurrence", "watcher"}
    assert {name for name, each in functions.items() if each.ticks} == {
        "executor",
        "populator",
        "recurrence",
        "watcher",
    }
    assert {each.ticks for each in functions.values() if each.ticks} == {Decimal(43_200)}
    assert (functions["api"].memory_mb, functions["executor"].memory_mb) == (1_024, 1_769)


@pytest.mark.parametrize("figure", DECLARED)
def test_nothing_is_declared_that_is_not_in_the_bill(figure: str) -> None:
    files = [ROOT / "template.yaml", *(ROOT / "stacks").glob("*.yaml")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert len(re.findall(rf"Type: {DECLARED[figure]}$", text, re.MULTILINE)) <= reading.assumptions()[figure]


def test_every_price_is_used_has_a_source_and_a_date() -> None:
    names = set(reading.prices("us-east-1").figures)
    source = (ROOT / "cli" / "cost" / "model.py").read_text(encoding="utf-8")
    built = {f"lambda_gb_second_{each}" for each in ("arm64", "x86_64")}
    built |= {f"{free}{each}" for free in ("free_",) for each in ("metrics", "alarms", "dashboards")}
    built |= {"metric", "alarm", "dashboard"}
    assert {name for name in names - built if f'"{name}"' not in source} == set()
    assert all(each.startswith("https://") for each in reading.sources())
    assert date(2026, 1, 1) < reading.checked_on()


def test_every_assumption_is_used() -> None:
    source = (ROOT / "cli" / "cost" / "model.py").read_text(encoding="utf-8")
    assert {name for name in reading.assumptions().figures if f'"{name}"' not in source} == set()


def test_a_region_without_prices_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no prices for mars-north-1, only for us-east-1"):
        reading.prices("mars-north-1")


def test_schedules_whose_idle_runs_nobody_measured_are_refused(tmp_path: Path) -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    fewer = tmp_path / "template.yaml"
    fewer.write_text(template.replace("recurrence.handler", "another.handler"), encoding="utf-8")
    with pytest.raises(ValueError, match="another"):
        reading.assumptions(fewer)
