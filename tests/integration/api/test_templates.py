"""The routes of templates, as a producer uses them."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from api.schemas.template_views import Preview, Template, TemplatePage
from scheduler_core.clock import utc_now
from tests.builders import rows
from tests.producer import TARGET, Producer, Reply

NIGHTLY = {"name": "nightly", "target": TARGET, "cron": "0 3 * * *", "timezone": "Europe/Berlin"}
OFTEN = {"name": "often", "target": TARGET, "interval_seconds": 30}


def made(producer: Producer, **fields: Any) -> Any:
    """A new template's JSON."""
    reply = producer.post("/templates", OFTEN | fields)
    assert reply.status == 201, reply
    return reply.json


def pointers(reply: Reply) -> set[str]:
    assert (reply.status, reply.media_type) == (422, "application/problem+json"), reply
    return {fault["pointer"] for fault in reply.json["errors"]}


def nominal_times(reply: Reply) -> list[datetime]:
    assert reply.status == 200, reply
    return [item.nominal_at for item in Preview.model_validate_json(reply.text).items]


def waiting(producer: Producer, template: Any) -> list[Any]:
    """The template's pending jobs, first due first."""
    items = producer.get(f"/jobs?template_id={template['id']}&status=pending&limit=200").json["items"]
    return sorted(items, key=lambda job: str(job["scheduled_at"]))


# Making and reading ------------------------------------------------------------------------------------------------


def test_a_template_is_made_with_its_defaults_and_read_again(producer: Producer) -> None:
    reply = producer.post("/templates", NIGHTLY)
    assert reply.status == 201
    assert reply.headers["location"] == f"/templates/{reply.json['id']}"
    Template.model_validate_json(reply.text)
    told = {name: reply.json[name] for name in ("active", "catch_up", "catch_up_window_seconds", "jitter_seconds")}
    assert told == {"active": True, "catch_up": "once", "catch_up_window_seconds": 86_400, "jitter_seconds": 0}
    assert reply.json["timezone"] == "Europe/Berlin"
    assert reply.json["interval_seconds"] is None
    assert (reply.json["runs"], reply.json["last_run_at"], reply.json["max_retries"]) == (0, None, 3)
    next_run_at = datetime.fromisoformat(reply.json["next_run_at"])
    assert next_run_at > utc_now()
    assert next_run_at.hour in {1, 2}
    assert producer.get(f"/templates/{reply.json['id']}").json == reply.json


def test_its_first_runs_exist_at_once(producer: Producer) -> None:
    template = made(producer, payload={"a": [1, None]}, priority=3, metadata={"team": "x"})
    jobs = waiting(producer, template)
    assert len(jobs) == 5
    first = jobs[0]
    assert first["nominal_at"] == first["scheduled_at"] == first["next_run_at"] == template["next_run_at"]
    told = {name: first[name] for name in ("template_id", "schedule_type", "payload", "priority", "metadata")}
    assert told == {
        "template_id": template["id"],
        "schedule_type": "recurring",
        "payload": {"a": [1, None]},
        "priority": 3,
        "metadata": {"team": "x"},
    }


def test_a_second_of_the_name_is_a_conflict(producer: Producer, stranger: Producer) -> None:
    made(producer)
    assert producer.post("/templates", OFTEN).status == 409
    assert stranger.post("/templates", OFTEN).status == 201
    other = made(producer, name="other")
    assert producer.patch(f"/templates/{other['id']}", {"name": "often"}).status == 409
    assert producer.patch(f"/templates/{other['id']}", {"name": "other"}).status == 200


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"cron": "* * * * *"}, ""),
    ({"interval_seconds": None}, ""),
    ({"cron": "nonsense", "interval_seconds": None}, "/cron"),
    ({"cron": "@reboot", "interval_seconds": None}, "/cron"),
    ({"cron": "0 0 30 2 *", "interval_seconds": None}, "/cron"),
    ({"cron": "61 * * * *", "interval_seconds": None}, "/cron"),
    ({"cron": "H * * * *", "interval_seconds": None}, "/cron"),
    ({"cron": "", "interval_seconds": None}, "/cron"),
    ({"cron": "0," * 200, "interval_seconds": None}, "/cron"),
    ({"cron": 5}, "/cron"),
    ({"interval_seconds": 0}, "/interval_seconds"),
    ({"interval_seconds": 31_536_001}, "/interval_seconds"),
    ({"interval_seconds": 1.5}, "/interval_seconds"),
    ({"interval_seconds": "60"}, "/interval_seconds"),
    ({"interval_seconds": True}, "/interval_seconds"),
    ({"timezone": "Mars/Olympus"}, "/timezone"),
    ({"timezone": "../../etc/passwd"}, "/timezone"),
    ({"timezone": "localtime"}, "/timezone"),
    ({"timezone": None}, "/timezone"),
    ({"end_at": "2020-01-01T00:00:00Z"}, "/end_at"),
    ({"start_at": "2031-01-01T00:00:00Z", "end_at": "2030-01-01T00:00:00Z"}, "/end_at"),
    ({"start_at": "2031-01-01"}, "/start_at"),
    ({"max_runs": 0}, "/max_runs"),
    ({"max_runs": 1_000_000_001}, "/max_runs"),
    ({"jitter_seconds": -1}, "/jitter_seconds"),
    ({"jitter_seconds": 86_401}, "/jitter_seconds"),
    ({"catch_up": "twice"}, "/catch_up"),
    ({"catch_up_window_seconds": 604_801}, "/catch_up_window_seconds"),
    ({"name": ""}, "/name"),
    ({"name": "n" * 129}, "/name"),
    ({"name": "n\u0000"}, "/name"),
    ({"description": "d" * 1_025}, "/description"),
    ({"active": "yes"}, "/active"),
    ({"retry": {"initial_seconds": 10, "max_seconds": 5}}, "/retry/max_seconds"),
    ({"target": {"type": "http", "url": "http://10.0.0.1/"}}, "/target/url"),
    ({"scheduled_at": "2030-01-01T00:00:00Z"}, "/scheduled_at"),
]


def test_what_makes_no_sense_is_a_422_that_points_at_it(
    api: str, producer: Producer, subtests: pytest.Subtests
) -> None:
    for fields, expected in REFUSED:
        with subtests.test(fields=fields):
            assert pointers(producer.post("/templates", OFTEN | fields)) == {expected}
    assert rows(api, "SELECT id FROM templates UNION ALL SELECT id FROM jobs") == []


TAKEN: list[dict[str, Any]] = [
    {"interval_seconds": 31_536_000, "jitter_seconds": 86_400, "max_runs": 1_000_000_000},
    {"name": "n" * 128, "description": "d" * 1_024, "catch_up": "all", "catch_up_window_seconds": 604_800},
    {"interval_seconds": None, "cron": "0 0 29 2 *", "catch_up": "none", "catch_up_window_seconds": 0},
    {"interval_seconds": None, "cron": "*/5 * * * * *", "active": False},
    {"description": None, "start_at": None, "end_at": None, "max_runs": None, "payload": None},
]


def test_what_lies_within_the_bounds_is_taken(producer: Producer, subtests: pytest.Subtests) -> None:
    for number, fields in enumerate(TAKEN):
        with subtests.test(fields=fields):
            answered = made(producer, **{"name": f"t{number}", **fields})
            assert {name: answered[name] for name in fields} == fields


def test_templates_are_listed_and_filtered(producer: Producer, stranger: Producer) -> None:
    """I7."""
    ids = [made(producer, name=f"t{number}", active=number > 0)["id"] for number in range(5)]
    page = producer.get("/templates?limit=2")
    TemplatePage.model_validate_json(page.text)
    seen = [item["id"] for item in page.json["items"]]
    made(producer, name="made between two pages")
    while cursor := page.json["next_cursor"]:
        page = producer.get(f"/templates?limit=2&cursor={cursor}")
        seen += [item["id"] for item in page.json["items"]]
    assert seen == ids[::-1]
    assert [item["id"] for item in producer.get("/templates?active=false").json["items"]] == [ids[0]]
    assert [item["id"] for item in producer.get("/templates?name=t3").json["items"]] == [ids[3]]
    assert producer.get("/templates?name=T3").json == {"items": [], "next_cursor": None}
    assert producer.get("/templates?active=perhaps").status == 422
    assert stranger.get("/templates").json["items"] == []


# Changing ----------------------------------------------------------------------------------------------------------


def test_only_what_is_named_changes(producer: Producer) -> None:
    template = made(producer, description="old", payload=[1], max_runs=9)
    reply = producer.patch(f"/templates/{template['id']}", {"description": "new"})
    changed = {"description", "updated_at"}
    assert {name for name in template if reply.json[name] != template[name]} == changed
    cleared = producer.patch(
        f"/templates/{template['id']}", {"description": None, "payload": None, "max_runs": None}
    ).json
    assert [cleared[name] for name in ("description", "payload", "max_runs")] == [None, None, None]
    assert {job["payload"] for job in waiting(producer, template)} == {None}


def test_a_cron_takes_the_place_of_an_interval_and_back(producer: Producer) -> None:
    template = made(producer)
    path = f"/templates/{template['id']}"
    reply = producer.patch(path, {"cron": "0 3 1 1 *"})
    assert (reply.json["cron"], reply.json["interval_seconds"]) == ("0 3 1 1 *", None)
    assert waiting(producer, template) == []
    reply = producer.patch(path, {"interval_seconds": 60, "cron": None})
    assert (reply.json["cron"], reply.json["interval_seconds"]) == (None, 60)
    assert len(waiting(producer, template)) == 2
    assert pointers(producer.patch(path, {"cron": "* * * * *", "interval_seconds": 5})) == {""}
    assert pointers(producer.patch(path, {"interval_seconds": None})) == {""}
    assert pointers(producer.patch(path, {"cron": "0 0 31 4 *"})) == {"/cron"}
    assert pointers(producer.patch(path, {"timezone": None})) == {"/timezone"}
    assert pointers(producer.patch(path, {})) == {""}
    assert producer.get(path).json == reply.json


def test_a_new_target_and_payload_reach_runs_that_wait(producer: Producer) -> None:
    template = made(producer)
    target = TARGET | {"url": "http://127.0.0.1:9/other", "method": "PUT", "headers": {"x-a": "b"}}
    producer.patch(f"/templates/{template['id']}", {"target": target, "payload": {"n": 1}, "max_retries": 0})
    told = [(job["target"], job["payload"], job["max_retries"]) for job in waiting(producer, template)]
    assert told == [(target, {"n": 1}, 0)] * 5


def test_delivery_settings_are_changed_as_they_are_made(producer: Producer) -> None:
    template = made(producer)
    path = f"/templates/{template['id']}"
    change = {"retry": {"initial_seconds": 2, "max_seconds": 20, "multiplier": 3}, "metadata": {"team": "y"}}
    reply = producer.patch(path, change)
    assert {name: reply.json[name] for name in change} == change
    assert all({name: job[name] for name in change} == change for job in waiting(producer, template))
    assert pointers(producer.patch(path, {"retry": {"initial_seconds": 2, "max_seconds": 1}})) == {"/retry/max_seconds"}


def test_pausing_cancels_and_resuming_goes_on(producer: Producer) -> None:
    template = made(producer)
    path = f"/templates/{template['id']}"
    paused = producer.patch(path, {"active": False}).json
    assert (paused["active"], paused["next_run_at"], paused["runs"], paused["paused_reason"]) == (False, None, 0, None)
    assert waiting(producer, template) == []
    resumed = producer.patch(path, {"active": True}).json
    assert resumed["active"]
    jobs = waiting(producer, template)
    assert jobs[0]["nominal_at"] == resumed["next_run_at"]
    assert datetime.fromisoformat(resumed["next_run_at"]) > utc_now() - timedelta(seconds=1)
    assert len({job["nominal_at"] for job in jobs}) == len(jobs) == resumed["runs"]


def test_the_schedulers_reason_for_a_pause_is_shown_until_it_is_resumed(api: str, producer: Producer) -> None:
    template = made(producer)
    with psycopg.connect(api) as connection:
        connection.execute("UPDATE templates SET active = false, paused_reason = 'gone', next_nominal_at = NULL")
    path = f"/templates/{template['id']}"
    assert producer.get(path).json["paused_reason"] == "gone"
    assert producer.patch(path, {"description": "d"}).json["paused_reason"] == "gone"
    assert producer.patch(path, {"active": True}).json["paused_reason"] is None


def test_a_removed_template_leaves_its_jobs(producer: Producer) -> None:
    template = made(producer)
    path = f"/templates/{template['id']}"
    reply = producer.delete(path)
    assert (reply.status, reply.text) == (204, "")
    assert producer.get(path).status == producer.delete(path).status == 404
    jobs = producer.get(f"/jobs?template_id={template['id']}").json["items"]
    assert {(job["status"], job["last_error"]) for job in jobs} == {("cancelled", "its template was deleted")}
    made(producer)  # the name is free again


def test_a_template_runs_now_paused_or_not(producer: Producer) -> None:
    template = made(producer, active=False, payload={"now": True})
    reply = producer.post(f"/templates/{template['id']}/run")
    assert reply.status == 202
    assert reply.headers["location"] == f"/jobs/{reply.json['id']}"
    told = {name: reply.json[name] for name in ("template_id", "schedule_type", "nominal_at", "status", "payload")}
    assert told == {
        "template_id": template["id"],
        "schedule_type": "recurring",
        "nominal_at": None,
        "status": "pending",
        "payload": {"now": True},
    }
    assert producer.get(f"/jobs/{reply.json['id']}").json == reply.json
    again = producer.post(f"/templates/{template['id']}/run")
    assert again.json["id"] != reply.json["id"]
    assert producer.get(f"/templates/{template['id']}").json["runs"] == 0


def test_who_changed_a_template_is_written_down(api: str, producer: Producer) -> None:
    path = f"/templates/{made(producer)['id']}"
    producer.patch(path, {"priority": 1})
    producer.patch(path, {"cron": "nonsense"})
    producer.post(f"{path}/run")
    producer.delete(path)
    noted = rows(api, "SELECT actor, action, resource FROM audit_log ORDER BY created_at")
    assert [row["action"] for row in noted] == [
        "template.created", "template.edited", "template.run", "template.deleted"
    ]  # fmt: skip
    assert {(row["actor"], row["resource"]) for row in noted} == {(producer.key_id, path)}


def test_a_template_whose_zone_is_gone_can_still_be_read_and_mended(api: str, producer: Producer) -> None:
    path = f"/templates/{made(producer)['id']}"
    with psycopg.connect(api) as connection:
        connection.execute(
            "UPDATE templates SET timezone = 'Atlantis/Capital', cron = '* * * * *', interval_seconds = NULL"
        )
    assert producer.get(path).json["next_run_at"] is None
    assert producer.get("/templates").json["items"][0]["timezone"] == "Atlantis/Capital"
    assert pointers(producer.get(f"{path}/preview")) == {"/timezone"}
    assert producer.patch(path, {"timezone": "UTC"}).json["next_run_at"] is not None


# Preview -----------------------------------------------------------------------------------------------------------


def test_a_preview_stores_nothing_and_shows_local_times(api: str, producer: Producer) -> None:
    """I6: over the change of the clocks."""
    after = "2027-03-27T00:00:00Z"
    reply = producer.post(
        f"/templates/preview?count=3&after={after}", {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    )
    assert reply.json["items"] == [
        {"nominal_at": "2027-03-27T01:30:00.000000Z", "local_time": "2027-03-27T02:30:00+01:00"},
        {"nominal_at": "2027-03-28T01:00:00.000000Z", "local_time": "2027-03-28T03:00:00+02:00"},
        {"nominal_at": "2027-03-29T00:30:00.000000Z", "local_time": "2027-03-29T02:30:00+02:00"},
    ]
    assert rows(api, "SELECT id FROM templates UNION ALL SELECT id FROM jobs") == []


def test_a_preview_takes_a_whole_template_or_only_its_schedule(producer: Producer) -> None:
    assert len(nominal_times(producer.post("/templates/preview", OFTEN))) == 10
    times = nominal_times(producer.post("/templates/preview?count=100", {"cron": "* * * * * *"}))
    assert {later - sooner for sooner, later in pairwise(times)} == {timedelta(seconds=1)}
    assert len(times) == 100
    assert len(nominal_times(producer.post("/templates/preview", OFTEN | {"max_runs": 4}))) == 4


def test_a_preview_is_bounded(producer: Producer, subtests: pytest.Subtests) -> None:
    """I8."""
    template = made(producer)
    for query in ("count=0", "count=101", "count=x", "after=tomorrow", "after=2027-01-01", "limit=5"):
        with subtests.test(query=query):
            assert producer.post(f"/templates/preview?{query}", OFTEN).status == 422
            assert producer.get(f"/templates/{template['id']}/preview?{query}").status == 422


def test_a_preview_refuses_what_making_it_would_refuse(producer: Producer) -> None:
    assert pointers(producer.post("/templates/preview", {"cron": "0 0 30 2 *"})) == {"/cron"}
    assert pointers(producer.post("/templates/preview", {"cron": "* * * * *", "timezone": "Nowhere"})) == {"/timezone"}
    assert pointers(producer.post("/templates/preview", {"interval_seconds": 5, "jitter": 5})) == {"/jitter"}
    assert pointers(producer.post("/templates/preview", {"name": "n", "target": TARGET})) == {""}


def test_a_stored_templates_preview_is_what_it_does(producer: Producer) -> None:
    template = made(producer)
    path = f"/templates/{template['id']}"
    times = nominal_times(producer.get(f"{path}/preview?count=5"))
    assert [datetime.fromisoformat(job["nominal_at"]) for job in waiting(producer, template)] == times
    assert datetime.fromisoformat(template["next_run_at"]) == times[0]
    from_then_on = times[2].isoformat().replace("+00:00", "Z")
    assert nominal_times(producer.get(f"{path}/preview?count=2&after={from_then_on}")) == [
        times[3], times[4]
    ]  # fmt: skip
    producer.patch(path, {"active": False})
    assert nominal_times(producer.get(f"{path}/preview?count=5")) == times


def test_a_preview_ends_with_the_last_run(producer: Producer) -> None:
    template = made(producer, max_runs=8)
    path = f"/templates/{template['id']}/preview"
    times = nominal_times(producer.get(path))
    assert len(times) == 8
    after = times[5].isoformat().replace("+00:00", "Z")
    assert nominal_times(producer.get(f"{path}?after={after}")) == times[6:]
    assert nominal_times(producer.get(f"{path}?after=2100-01-01T00:00:00Z")) == []
    ending = made(producer, name="ending", end_at=after)
    assert len(nominal_times(producer.get(f"/templates/{ending['id']}/preview"))) <= 6
