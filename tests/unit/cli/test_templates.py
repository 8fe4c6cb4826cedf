"""`scheduler templates` against the contract."""

import json
from typing import Any

import pytest

from tests.unit.cli.stub import StubApi

Item = dict[str, Any]
ID = "019a0000-0000-7000-8000-000000000002"


@pytest.fixture
def template(job: Item) -> Item:
    return {
        "id": ID, "name": "nightly", "description": None, "active": True, "paused_reason": None, "cron": "0 2 * * *",
        "interval_seconds": None, "timezone": "Europe/Berlin", "start_at": None, "end_at": None, "max_runs": None,
        "jitter_seconds": 0, "runs": 3, "target": job["target"], "next_run_at": "2026-11-24T01:00:00.000Z",
    }  # fmt: skip


def test_create_sends_the_schedule_and_the_delivery(api: StubApi, template: Item) -> None:
    api.on("POST", "/templates", (201, template))
    answer = api.run(
        "templates", "create", "nightly", "--cron", "0 2 * * *", "--timezone", "Europe/Berlin",
        "--url", "https://example.com", "--max-runs", "5", "--jitter", "30s", "--catch-up", "none",
        "--catch-up-window", "2h", "--paused",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.stderr
    assert api.asked[0].body == {
        "name": "nightly",
        "cron": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "target": {"type": "http", "url": "https://example.com", "method": "POST", "headers": {}},
        "max_runs": 5,
        "jitter_seconds": 30,
        "catch_up": "none",
        "catch_up_window_seconds": 7_200,
        "active": False,
    }


def test_an_interval_is_typed_as_a_duration(api: StubApi, template: Item) -> None:
    api.on("POST", "/templates", (201, template))
    api.run("templates", "create", "often", "--every", "5m", "--url", "https://example.com")
    assert api.asked[0].body["interval_seconds"] == 300


def test_an_interval_of_parts_of_a_second_is_refused(api: StubApi) -> None:
    assert api.run("templates", "create", "x", "--every", "1.5s", "--url", "https://example.com").exit_code == 2


def test_pause_and_resume_change_just_that(api: StubApi, template: Item) -> None:
    api.on("PATCH", f"/templates/{ID}", (200, template))
    assert api.run("templates", "pause", ID).exit_code == 0
    assert api.run("templates", "resume", ID).exit_code == 0
    assert [asked.body for asked in api.asked] == [{"active": False}, {"active": True}]


def test_a_schedule_is_previewed_without_being_stored(api: StubApi) -> None:
    runs = {"items": [{"nominal_at": "2026-11-24T01:00:00Z", "local_time": "2026-11-24T02:00:00+01:00"}]}
    api.on("POST", "/templates/preview", (200, runs))
    answer = api.run(
        "templates", "preview", "--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--count", "1", "--json"
    )
    assert json.loads(answer.stdout) == runs
    assert api.asked[0].query["count"] == ["1"]
    assert api.asked[0].body == {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}


def test_a_template_is_previewed_from_any_moment(api: StubApi) -> None:
    api.on("GET", f"/templates/{ID}/preview", (200, {"items": []}))
    assert api.run("templates", "preview", ID, "--after", "2030-01-01T00:00:00Z").exit_code == 0
    assert api.asked[0].query["after"] == ["2030-01-01T00:00:00.000Z"]


def test_delete_answers_what_it_deleted(api: StubApi) -> None:
    api.on("DELETE", f"/templates/{ID}", (204, None))
    assert json.loads(api.run("templates", "delete", ID, "--json").stdout) == {"deleted": ID}


def test_a_listing_is_narrowed_by_name_and_state(api: StubApi) -> None:
    api.on("GET", "/templates", (200, {"items": [], "next_cursor": None}))
    assert api.run("templates", "list", "--name", "nightly", "--paused").exit_code == 0
    assert (api.asked[0].query["name"], api.asked[0].query["active"]) == (["nightly"], ["false"])


def test_a_listing_fits_80_columns(api: StubApi, template: Item) -> None:
    api.on("GET", "/templates", (200, {"items": [template], "next_cursor": None}))
    answer = api.run("templates", "list")
    assert "nightly" in answer.stdout
    assert max(len(line) for line in answer.stdout.splitlines()) <= 80
