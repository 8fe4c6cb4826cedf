"""Jobs: what is refused, what is answered, and whole lives, to a real receiver."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from scheduler_core.clock import utc_now
from tests.contract.system import Caller, Echo, pointers, within

UNKNOWN = "00000000-0000-7000-8000-000000000000"
SOON = {"initial_seconds": 0.1, "max_seconds": 1, "multiplier": 1}


def _in_a_day(echo: Echo, **more: Any) -> dict[str, Any]:
    return {"target": echo.at(), "delay_seconds": 86_400, **more}


# What is refused -----------------------------------------------------------------------------------------------------


def test_each_fault_of_a_body_is_pointed_at(caller: Caller, echo: Echo) -> None:
    wrong = {"target": echo.at(), "priority": 500, "colour": "red", "retry": {"initial_seconds": -1}}
    answer = caller.post("/jobs", wrong)
    assert pointers(answer) == {"/priority", "/colour", "/retry/initial_seconds"}
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointers(caller.post("/jobs", {})) == {"/target"}
    assert pointers(caller.post("/jobs", {"target": {"type": "http", "url": "http://10.0.0.1/"}})) == {"/target/url"}


def test_what_is_no_json_is_a_422(caller: Caller) -> None:
    answer = caller.http.post("/jobs", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_a_payload_beyond_the_limit_is_a_413(caller: Caller, echo: Echo) -> None:
    assert caller.post("/jobs", {"target": echo.at(), "payload": "x" * (256 * 1024)}).status_code == 413


def test_the_job_of_another_merchant_is_not_there(caller: Caller, stranger: Caller, echo: Echo) -> None:
    path = f"/jobs/{caller.made('/jobs', _in_a_day(echo))['id']}"
    for answer in (
        stranger.get(path),
        stranger.get(f"{path}/executions"),
        stranger.patch(path, {"priority": 1}),
        stranger.delete(path),
        stranger.post(f"{path}/run"),
        stranger.post(f"{path}/retry"),
        caller.get(f"/jobs/{UNKNOWN}"),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert caller.get(path).json()["status"] == "pending"


# What is answered ----------------------------------------------------------------------------------------------------


def test_a_repeated_request_gets_the_first_answer(caller: Caller, echo: Echo) -> None:
    key, body = str(uuid4()), _in_a_day(echo, payload={"n": 1})
    first = caller.post("/jobs", body, idempotency_key=key)
    again = caller.post("/jobs", body, idempotency_key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert caller.post("/jobs", body | {"payload": {"n": 2}}, idempotency_key=key).status_code == 422


def test_a_batch_has_an_outcome_for_each(caller: Caller, echo: Echo) -> None:
    jobs = [{"target": echo.at()}, {"target": echo.at(), "colour": "red"}, _in_a_day(echo)]
    answer = caller.post("/jobs/batch", {"jobs": jobs})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["created"], told["failed"]) == (2, 1)
    assert [each["status"] for each in told["items"]] == [201, 422, 201]
    assert told["items"][1]["errors"][0]["pointer"] == "/colour"
    caller.ended(told["items"][0]["id"], "completed")
    assert caller.job(told["items"][2]["id"])["status"] == "pending"


def test_jobs_are_listed_newest_first_and_paged(caller: Caller, echo: Echo) -> None:
    reference = str(uuid4())
    made = [caller.made("/jobs", _in_a_day(echo, reference_id=reference))["id"] for _ in range(3)]
    page = caller.get(f"/jobs?reference_id={reference}&limit=2").json()
    rest = caller.get(f"/jobs?reference_id={reference}&limit=2&cursor={page['next_cursor']}").json()
    assert [each["id"] for each in page["items"] + rest["items"]] == made[::-1]


# Whole lives ---------------------------------------------------------------------------------------------------------


def test_a_job_is_delivered_at_its_time_with_its_signature(caller: Caller, echo: Echo) -> None:
    body = {"target": echo.at(), "payload": {"hello": "world"}, "delay_seconds": 2, "metadata": {"team": "x"}}
    job = caller.made("/jobs", body)
    assert job["status"] == "pending"
    (delivery,) = echo.of(job["id"])
    assert (delivery["method"], delivery["path"], delivery["attempt"]) == ("POST", "/hook", "1")
    assert delivery["signature"] in {
        "unchecked",
        "invalid",
    }  # signed; the echo knows another merchant's secret, or none
    ended = caller.ended(job["id"], "completed")
    assert ended["metadata"] == {"team": "x"}
    assert ended["last_error"] is None
    assert caller.outcomes(job["id"]) == [("completed", 200)]
    (execution,) = caller.get(f"/jobs/{job['id']}/executions").json()["items"]
    assert execution["started_at"] >= job["scheduled_at"]


def test_a_500_is_tried_again_until_it_works(caller: Caller, echo: Echo) -> None:
    job = caller.made("/jobs", {"target": echo.at("/hook?fail_first=2"), "retry": SOON})
    assert caller.ended(job["id"], "completed")["retries"] == 2
    assert caller.outcomes(job["id"]) == [("retried", 503), ("retried", 503), ("completed", 200)]
    assert [each["attempt"] for each in echo.of(job["id"], 3)] == ["1", "2", "3"]


def test_retries_come_to_an_end(caller: Caller, echo: Echo) -> None:
    job = caller.made("/jobs", {"target": echo.at("/hook?status=500"), "max_retries": 1, "retry": SOON})
    caller.ended(job["id"], "failed")
    assert [status for _, status in caller.outcomes(job["id"])] == [500, 500]


def test_a_400_is_final_until_it_is_redriven(caller: Caller, echo: Echo) -> None:
    job = caller.made("/jobs", {"target": echo.at("/hook?status=400")})
    assert caller.ended(job["id"], "failed")["last_error"]
    assert caller.outcomes(job["id"]) == [("failed", 400)]
    assert caller.patch(f"/jobs/{job['id']}", {"priority": 1}).status_code == 409
    assert caller.delete(f"/jobs/{job['id']}").status_code == 409
    assert caller.post(f"/jobs/{job['id']}/retry").status_code == 202
    assert within(caller.patience_seconds, lambda: len(caller.outcomes(job["id"])) == 2)
    caller.ended(job["id"], "failed")


def test_a_waiting_job_is_changed_cancelled_and_redriven(caller: Caller, echo: Echo) -> None:
    path = f"/jobs/{caller.made('/jobs', _in_a_day(echo))['id']}"
    later = (utc_now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    changed = caller.patch(path, {"scheduled_at": later, "priority": 7})
    assert (changed.status_code, changed.json()["priority"], changed.json()["next_run_at"]) == (200, 7, later)
    cancelled = caller.delete(path)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert caller.delete(path).status_code == 409
    assert caller.post(f"{path}/run").status_code == 409
    assert caller.post(f"{path}/retry").status_code == 202
    caller.post(f"{path}/run")
    caller.ended(path.rpartition("/")[2], "completed")


def test_a_delivery_under_way_is_cut_off_by_a_cancellation(caller: Caller, echo: Echo) -> None:
    job = caller.made("/jobs", {"target": echo.at("/hook?delay_ms=60000"), "timeout_seconds": 90})
    echo.of(job["id"])
    assert caller.delete(f"/jobs/{job['id']}").json()["status"] == "cancelled"
    assert within(caller.patience_seconds, lambda: [how for how, _ in caller.outcomes(job["id"])] == ["cancelled"])


def test_a_job_for_later_is_run_now(caller: Caller, echo: Echo) -> None:
    job = caller.made("/jobs", _in_a_day(echo))
    assert caller.post(f"/jobs/{job['id']}/run").status_code == 202
    caller.ended(job["id"], "completed")


def test_a_polling_job_is_asked_again_until_it_is_done(caller: Caller, echo: Echo) -> None:
    asked = {"schedule_type": "polling", "interval_seconds": 1, "max_attempts": 2}
    job = caller.made("/jobs", {"target": echo.at("/hook?status=202"), **asked})
    caller.ended(job["id"], "failed")
    assert [status for _, status in caller.outcomes(job["id"])] == [202, 202]
