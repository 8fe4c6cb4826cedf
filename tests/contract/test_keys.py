"""Who is let in: every kind of key that is no good, and one that is."""

import os
from datetime import timedelta
from uuid import UUID

import pytest

from scheduler_core.clock import utc_now
from scheduler_core.security import api_keys as keys
from tests.contract.system import Caller, System

UNKNOWN = "00000000-0000-7000-8000-000000000000"


def test_a_good_key_is_let_in(caller: Caller) -> None:
    answer = caller.get("/stats")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


def test_without_a_key_nobody_is(system: System) -> None:
    with system.caller(None) as nobody:
        assert nobody.get("/jobs").status_code == 401
        assert nobody.post("/jobs", {"target": {"type": "http", "url": "http://127.0.0.1/"}}).status_code == 401
        assert nobody.delete(f"/templates/{UNKNOWN}").status_code == 401


def test_a_key_that_is_no_good_is_refused(system: System, merchant_id: UUID, subtests: pytest.Subtests) -> None:
    good = system.key(merchant_id)
    refused = {
        "mistyped": good[:-1] + ("a" if good[-1] != "a" else "b"),
        "expired": system.key(merchant_id, expires_at=utc_now() - timedelta(seconds=1)),
        "never made": keys.generate("local", os.urandom(keys.ENTROPY_BYTES)).plaintext,
        "of another environment": good.replace("ts_local_", "ts_live_"),
        "nonsense": "x",
    }
    for name, key in refused.items():
        with subtests.test(name), system.caller(key) as bad:
            assert bad.get("/jobs").status_code == 403
            assert bad.post("/jobs", {}).status_code == 403


def test_a_key_does_what_it_is_permitted_and_no_more(system: System, merchant_id: UUID) -> None:
    with system.caller(system.key(merchant_id, permissions=["jobs:read"])) as reader:
        assert reader.get("/jobs").status_code == 200
        assert reader.post("/jobs", {"target": {"type": "http", "url": "http://127.0.0.1/"}}).status_code == 403
        assert reader.delete(f"/jobs/{UNKNOWN}").status_code == 403
        assert reader.get("/templates").status_code == 403
    with system.caller(system.key(merchant_id, permissions=[])) as powerless:
        assert powerless.get("/jobs").status_code == 403


def test_health_and_documents_need_no_key(system: System) -> None:
    with system.caller(None) as nobody:
        assert nobody.get("/health").json()["status"] == "ok"
        described = nobody.get("/openapi.json")
        assert described.status_code == 200
        assert described.json()["openapi"].startswith("3.1")
        page = nobody.get("/docs")
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")


def test_what_does_not_exist_is_not_there(system: System, caller: Caller) -> None:
    """A gateway answers for itself; `sam local` says what REST APIs say: 403, Missing Authentication Token."""
    answers = {"local": (404, 405), "aws": (404, 404), "sam": (403, 403)}
    found = caller.get("/nothing").status_code, caller.http.put("/jobs", json={}).status_code
    assert found == answers[system.gateway]
