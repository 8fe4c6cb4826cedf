"""`scheduler jobs` against the contract."""

import json
from pathlib import Path
from typing import Any

from tests.unit.cli.stub import StubApi

Item = dict[str, Any]


def test_create_sends_only_what_was_given(api: StubApi, job: Item) -> None:
    api.on("POST", "/jobs", (201, job))
    answer = api.run("jobs", "create", "--url", "https://example.com/hook", "--in", "1m30s", "--json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["id"] == job["id"]
    assert api.asked[0].body == {
        "target": {"type": "http", "url": "https://example.com/hook", "method": "POST", "headers": {}},
        "delay_seconds": 90.0,
    }


def test_create_sends_every_field_of_the_contract(api: StubApi, job: Item, tmp_path: Path) -> None:
    api.on("POST", "/jobs", (201, job))
    payload = tmp_path / "payload.json"
    payload.write_text('{"order": 7}', encoding="utf-8")
    options = {
        "--url": "https://example.com/hook", "--method": "put", "--header": "X-Tenant=7", "--payload": f"@{payload}",
        "--at": "2030-01-01T00:00:00Z", "--priority": "5", "--reference": "order-7", "--max-retries": "0",
        "--retry-initial": "2", "--retry-max": "60", "--retry-multiplier": "3", "--timeout": "1m",
        "--expires": "2030-01-02T00:00:00Z", "--metadata": "team=billing", "--kind": "polling", "--interval": "10s",
        "--max-attempts": "9", "--idempotency-key": "once",
    }  # fmt: skip
    answer = api.run("jobs", "create", *(part for option in options.items() for part in option))
    assert answer.exit_code == 0, answer.stderr
    assert api.asked[0].headers["idempotency-key"] == "once"
    assert api.asked[0].body == {
        "target": {"type": "http", "url": "https://example.com/hook", "method": "PUT", "headers": {"X-Tenant": "7"}},
        "payload": {"order": 7},
        "scheduled_at": "2030-01-01T00:00:00.000Z",
        "priority": 5,
        "reference_id": "order-7",
        "max_retries": 0,
        "retry": {"initial_seconds": 2.0, "max_seconds": 60.0, "multiplier": 3.0},
        "timeout_seconds": 60,
        "expires_at": "2030-01-02T00:00:00.000Z",
        "metadata": {"team": "billing"},
        "schedule_type": "polling",
        "interval_seconds": 10,
        "max_attempts": 9,
    }


def test_a_payload_comes_from_standard_input(api: StubApi, job: Item) -> None:
    api.on("POST", "/jobs", (201, job))
    api.run("jobs", "create", "--url", "https://example.com", "--payload", "-", input='"hello"')
    assert api.asked[0].body["payload"] == "hello"


def test_a_payload_of_null_is_a_payload(api: StubApi, job: Item) -> None:
    api.on("POST", "/jobs", (201, job))
    api.run("jobs", "create", "--url", "https://example.com", "--payload", "null")
    assert "payload" in api.asked[0].body


def test_a_payload_that_is_not_json_is_invalid_input(api: StubApi) -> None:
    assert api.run("jobs", "create", "--url", "https://example.com", "--payload", "{order: 7}").exit_code == 6


def test_a_target_is_given_once(api: StubApi) -> None:
    assert api.run("jobs", "create").exit_code == 2
    assert api.run("jobs", "create", "--url", "https://example.com", "--target", "{}").exit_code == 2


def test_a_listing_follows_its_pages_up_to_the_limit(api: StubApi, job: Item) -> None:
    api.on(
        "GET",
        "/jobs",
        (200, {"items": [job] * 200, "next_cursor": "c1"}),
        (200, {"items": [job] * 50, "next_cursor": "c2"}),
    )
    answer = api.run("jobs", "list", "--limit", "250", "--json")
    listed = json.loads(answer.stdout)
    assert (len(listed["items"]), listed["next_cursor"]) == (250, "c2")
    assert [asked.query["limit"] for asked in api.asked] == [["200"], ["50"]]
    assert api.asked[1].query["cursor"] == ["c1"]


def test_a_listing_fits_80_columns_and_shows_no_credentials(api: StubApi, job: Item) -> None:
    api.on("GET", "/jobs", (200, {"items": [job], "next_cursor": None}))
    answer = api.run("jobs", "list")
    assert job["id"] in answer.stdout
    assert "secret" not in answer.stdout
    assert max(len(line) for line in answer.stdout.splitlines()) <= 80


def test_show_has_every_attempt(api: StubApi, job: Item, attempt: Item) -> None:
    api.on("GET", f"/jobs/{job['id']}", (200, job))
    api.on("GET", f"/jobs/{job['id']}/executions", (200, {"items": [attempt], "next_cursor": None}))
    assert json.loads(api.run("jobs", "show", job["id"], "--json").stdout)["executions"] == [attempt]
    assert "4ms" in api.run("jobs", "show", job["id"]).stdout


def test_an_unknown_job_is_not_found(api: StubApi, job: Item) -> None:
    assert api.run("jobs", "show", job["id"]).exit_code == 3


def test_cancel_run_and_retry_ask_for_just_that(api: StubApi, job: Item) -> None:
    api.on("DELETE", f"/jobs/{job['id']}", (200, job))
    api.on("POST", f"/jobs/{job['id']}/run", (202, job))
    api.on("POST", f"/jobs/{job['id']}/retry", (202, job))
    assert [api.run("jobs", verb, job["id"]).exit_code for verb in ("cancel", "run", "retry")] == [0, 0, 0]
    assert [asked.method for asked in api.asked] == ["DELETE", "POST", "POST"]


def test_an_id_cannot_reach_another_route(api: StubApi) -> None:
    api.run("jobs", "cancel", "../templates/1?x=")
    assert api.asked[0].path == "/jobs/..%2Ftemplates%2F1%3Fx%3D"


def _watched(api: StubApi, job: Item, attempt: Item, *last: Item) -> str:
    api.on("GET", f"/jobs/{job['id']}", *((200, each) for each in (job, *last)))
    api.on("GET", f"/jobs/{job['id']}/executions", (200, {"items": [attempt], "next_cursor": None}))
    return str(job["id"])


def test_watching_ends_well_when_the_job_completes(api: StubApi, job: Item, attempt: Item) -> None:
    ended = {**job, "status": "completed", "next_run_at": None, "completed_at": "2026-11-23T09:00:00.060Z"}
    answer = api.run("jobs", "watch", _watched(api, job, attempt, ended), "--json")
    assert answer.exit_code == 0
    assert [json.loads(line)["status"] for line in answer.stdout.splitlines()] == ["pending", "completed"]


def test_watching_a_job_that_fails_ends_with_its_error(api: StubApi, job: Item, attempt: Item) -> None:
    ended = {**job, "status": "failed", "next_run_at": None, "last_error": "the target answered 500"}
    answer = api.run("jobs", "watch", _watched(api, job, attempt, ended))
    assert answer.exit_code == 1
    assert "the target answered 500" in answer.stderr


def test_watching_gives_up_after_its_timeout(api: StubApi, job: Item, attempt: Item) -> None:
    answer = api.run("jobs", "watch", _watched(api, job, attempt), "--timeout", "100ms")
    assert answer.exit_code == 7


def test_watching_goes_on_through_a_short_outage(api: StubApi, job: Item, attempt: Item) -> None:
    ended = {**job, "status": "completed", "next_run_at": None}
    job_id = _watched(api, job, attempt)
    api.on("GET", f"/jobs/{job_id}", (503, {"title": "A store is away"}), (200, ended))
    assert api.run("jobs", "watch", job_id).exit_code == 0


def test_create_and_watch_is_one_command(api: StubApi, job: Item, attempt: Item) -> None:
    api.on("POST", "/jobs", (201, job))
    _watched(api, {**job, "status": "completed", "next_run_at": None}, attempt)
    assert api.run("jobs", "create", "--url", "https://example.com", "--watch", "--json").exit_code == 0
