"""Templates: previewed, made, run, on their schedule and outside it."""

from typing import Any
from uuid import uuid4

from tests.contract.system import Caller, Echo, pointers, within


def _nightly(echo: Echo, **more: Any) -> dict[str, Any]:
    when = {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}
    return {"name": f"contract {uuid4()}", **when, "target": echo.at("/report"), **more}


def test_a_preview_stores_nothing_and_knows_the_clocks(caller: Caller, echo: Echo) -> None:
    when = {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}
    answer = caller.post("/templates/preview?count=2&after=2027-03-27T12:00:00Z", when)
    assert answer.status_code == 200, answer.text
    assert [each["local_time"] for each in answer.json()["items"]] == [
        "2027-03-28T03:00:00+02:00",
        "2027-03-29T02:00:00+02:00",
    ]


def test_a_template_is_made_previewed_changed_and_removed(caller: Caller, echo: Echo) -> None:
    body = _nightly(echo)
    path = f"/templates/{caller.made('/templates', body)['id']}"
    preview = caller.get(f"{path}/preview?count=3").json()["items"]
    assert [each["local_time"][11:19] for each in preview] == ["02:00:00"] * 3
    assert caller.post("/templates", body).status_code == 409
    assert caller.patch(path, {"active": False}).json()["active"] is False
    assert caller.delete(path).status_code == 204
    assert caller.get(path).status_code == 404


def test_what_makes_no_sense_is_pointed_at(caller: Caller, echo: Echo) -> None:
    assert pointers(caller.post("/templates", _nightly(echo, cron="nonsense"))) == {"/cron"}
    assert pointers(caller.post("/templates", _nightly(echo, timezone="Mars/Olympus"))) == {"/timezone"}


def test_the_template_of_another_merchant_is_not_there(caller: Caller, stranger: Caller, echo: Echo) -> None:
    path = f"/templates/{caller.made('/templates', _nightly(echo))['id']}"
    for answer in (
        stranger.get(path),
        stranger.get(f"{path}/preview"),
        stranger.patch(path, {"active": False}),
        stranger.post(f"{path}/run"),
        stranger.delete(path),
    ):
        assert answer.status_code == 404
    assert caller.get(path).json()["active"] is True


def test_a_run_outside_the_schedule_is_delivered(caller: Caller, echo: Echo) -> None:
    template = caller.made("/templates", _nightly(echo, payload={"report": "daily"}))
    run = caller.post(f"/templates/{template['id']}/run")
    assert run.status_code == 202
    assert run.json()["template_id"] == template["id"]
    caller.ended(run.json()["id"], "completed")
    assert echo.of(run.json()["id"])[0]["path"] == "/report"


def test_the_schedule_makes_runs_that_are_delivered_until_it_is_paused(caller: Caller, echo: Echo) -> None:
    body = {"name": f"contract {uuid4()}", "interval_seconds": 1, "target": echo.at("/often")}
    template = caller.made("/templates", body)
    path = f"/jobs?template_id={template['id']}"

    def twice() -> bool:
        return len(caller.get(f"{path}&status=completed").json()["items"]) >= 2

    assert within(caller.patience_seconds, twice)
    assert caller.patch(f"/templates/{template['id']}", {"active": False}).status_code == 200
    assert caller.get(f"{path}&status=pending").json()["items"] == []
    nominal = [each["nominal_at"] for each in caller.get(f"{path}&status=completed").json()["items"]]
    assert len(set(nominal)) == len(nominal)
