"""`scheduler cost` as it is typed, and the page that shows what it prints."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from dev.examples import renewed

PAGE = Path(__file__).parents[4] / "docs" / "cost.md"


def answered(*arguments: str) -> Any:
    answer = CliRunner().invoke(app, ["cost", *arguments, "--json"])
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def test_the_bill_as_json_adds_up() -> None:
    told = answered("--jobs-per-month", "1000000")
    assert sum(line["usd_per_month"] for line in told["lines"]) == pytest.approx(
        told["total"]["usd_per_month"], abs=0.01
    )
    assert told["total"]["usd_per_million_jobs"] == pytest.approx(told["total"]["usd_per_month"])
    assert [peer["name"] for peer in told["peers"]] == [
        "EventBridge Scheduler", "EventBridge Scheduler to HTTP", "Cloud Tasks", "QStash",
    ]  # fmt: skip


def test_idle_is_a_bill_for_no_jobs() -> None:
    told = answered("--idle")
    assert told == answered("--jobs-per-month", "0")
    assert told["lambda"]["usd_per_month"] < 1
    assert told["total"]["usd_per_million_jobs"] is None


def test_given_stores_are_not_in_the_bill() -> None:
    groups = {line["group"] for line in answered("--idle", "--stores", "bring")["lines"]}
    assert groups.isdisjoint({"Aurora", "ElastiCache"})


def test_a_price_that_nobody_verified_is_named_where_it_is_used() -> None:
    assert answered("--idle")["unverified"] == []
    assert answered("--idle", "--free-tier")["unverified"] == ["sns_free_emails"]
    assert "Not verified: sns_free_emails" in CliRunner().invoke(app, ["cost", "--idle", "--free-tier"]).stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--idle", "--jobs-per-month", "5"], 2),
        (["--jobs-per-month", "-1"], 2),
        (["--idle", "--stores", "rent"], 2),
        (["--idle", "--region", "mars-north-1"], 6),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], code: int) -> None:
    assert CliRunner().invoke(app, ["cost", *arguments]).exit_code == code


def test_the_page_shows_what_the_command_prints() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("$ scheduler cost") >= 5
    assert renewed(page) == page, "run `make cost-docs`"
