"""The migrator as CloudFormation invokes it: real events, a real database, and a real place for the answer."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from migrator.custom_resource import AnswerLostError
from migrator.handler import LAST_SECONDS, lambda_handler
from tests.builders import rows
from tests.conftest import MIGRATIONS
from tests.contexts import a_context
from tests.receivers import Received, Receiver, receiving

SIGNED = "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host&X-Amz-Signature=0123abcd"


@pytest.fixture
def answers() -> Iterator[Receiver]:
    """Where CloudFormation waits."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def empty_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database without a schema, as the migrator finds it at the first deploy."""
    name = f"empty_{uuid4().hex}"
    url = database_url.rsplit("/", 1)[0] + f"/{name}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("MIGRATIONS_DIRECTORY", str(MIGRATIONS))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def event(answers: Receiver, kind: str, *, path: str = "/ok/response", **more: Any) -> dict[str, Any]:
    """As CloudFormation sends it."""
    return {
        "RequestType": kind,
        "ServiceToken": "arn:aws:lambda:eu-central-1:123456789012:function:scheduler-migrator",
        "ResponseURL": f"{answers.url}{path}{SIGNED}",
        "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/scheduler/11111111-2222-3333",
        "RequestId": "66666666-7777-8888-9999-000000000000",
        "LogicalResourceId": "Migration",
        "ResourceType": "Custom::Migration",
        "ResourceProperties": {"ServiceToken": "arn:...", "LayerVersion": "arn:...:layer:scheduler-core:2"},
        **more,
    }


def update(answers: Receiver) -> dict[str, Any]:
    old = {"ServiceToken": "arn:...", "LayerVersion": "arn:...:layer:scheduler-core:1"}
    return event(answers, "Update", PhysicalResourceId="database-schema", OldResourceProperties=old)


def only_answer(answers: Receiver) -> dict[str, Any]:
    [request] = answers.received
    assert_presigned(request)
    answer: dict[str, Any] = request.json()
    return answer


def assert_presigned(request: Received) -> None:
    """Nothing but what the address was signed for."""
    assert (request.method, request.path) == ("PUT", f"/ok/response{SIGNED}")
    assert request.headers.get("content-type", "") == ""
    assert set(request.headers) <= {"host", "content-length", "content-type", "user-agent"}
    assert int(request.headers["content-length"]) == len(request.body)


def tables(url: str) -> int:
    return int(rows(url, "SELECT count(*)::int AS n FROM pg_tables WHERE schemaname = 'public'")[0]["n"])


def test_the_first_deploy_makes_the_schema(answers: Receiver, empty_database: str) -> None:
    lambda_handler(event(answers, "Create"), a_context())
    answer = only_answer(answers)
    assert (answer["Status"], answer["Data"]) == ("SUCCESS", {"Applied": len(list(MIGRATIONS.glob("*.sql")))})
    assert tables(empty_database) > 10


def test_an_update_applies_what_is_new_and_keeps_the_resource(answers: Receiver) -> None:
    lambda_handler({}, a_context())
    lambda_handler(update(answers), a_context())
    answer = only_answer(answers)
    assert (answer["Status"], answer["Data"]) == ("SUCCESS", {"Applied": 0})
    assert answer["PhysicalResourceId"] == "database-schema"


def test_a_delete_leaves_the_data_and_needs_no_database(
    answers: Receiver, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lambda_handler({}, a_context())
    before = tables(empty_database)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    lambda_handler(event(answers, "Delete", PhysicalResourceId="database-schema"), a_context())
    assert only_answer(answers)["Status"] == "SUCCESS"
    assert tables(empty_database) == before


def test_a_migration_that_fails_fails_the_deploy_and_leaves_no_trace(
    answers: Receiver, empty_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "001_good.sql").write_text("CREATE TABLE good (n int);")
    (tmp_path / "002_bad.sql").write_text("CREATE TABLE bad (n int); SELECT 1 / 0;")
    monkeypatch.setenv("MIGRATIONS_DIRECTORY", str(tmp_path))
    lambda_handler(event(answers, "Create"), a_context())
    answer = only_answer(answers)
    assert (answer["Status"], answer["Reason"]) == ("FAILED", "002_bad.sql: division by zero")
    assert tables(empty_database) == 2


def test_a_database_that_refuses_the_password_fails_the_deploy_without_telling_it(
    answers: Receiver, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, place = empty_database.split("@")
    monkeypatch.setenv("DATABASE_URL", f"{owner}hidden@{place}")
    lambda_handler(event(answers, "Create"), a_context())
    answer = only_answer(answers)
    assert answer["Status"] == "FAILED"
    assert "password authentication failed" in answer["Reason"]
    assert "hidden" not in json.dumps(answer)


def test_settings_that_are_wrong_fail_the_deploy(answers: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    lambda_handler(event(answers, "Create"), a_context())
    answer = only_answer(answers)
    assert (answer["Status"], answer["Reason"]) == ("FAILED", "an unforeseen ValidationError")


def test_a_migration_that_takes_too_long_is_taken_back_and_told_before_the_invocation_ends(
    answers: Receiver, empty_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "001_slow.sql").write_text("CREATE TABLE slow (n int); SELECT pg_sleep(60);")
    monkeypatch.setenv("MIGRATIONS_DIRECTORY", str(tmp_path))
    context = a_context(LAST_SECONDS + 1)
    lambda_handler(event(answers, "Create"), context)
    assert context.get_remaining_time_in_millis() > 10_000
    assert only_answer(answers)["Reason"] == "001_slow.sql: it takes too long, and was taken back"
    assert tables(empty_database) == 1
    running = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND datname = current_database()"
    assert len(rows(empty_database, running)) == 1, "only this look"


def test_a_migrator_that_waits_for_another_for_too_long_says_so(answers: Receiver, empty_database: str) -> None:
    with psycopg.connect(empty_database) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('scheduler.migrations'))")
        lambda_handler(event(answers, "Create"), a_context(LAST_SECONDS + 1))
    answer = only_answer(answers)
    assert (answer["Status"], answer["Reason"]) == ("FAILED", "not done within 1 s, and taken back")


def test_two_migrators_at_once_apply_everything_once(answers: Receiver, empty_database: str) -> None:
    racers = [threading.Thread(target=lambda: lambda_handler(event(answers, "Create"), a_context())) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    told = [request.json() for request in answers.received]
    assert {answer["Status"] for answer in told} == {"SUCCESS"}
    assert sorted(answer["Data"]["Applied"] for answer in told) == [0, 0, len(list(MIGRATIONS.glob("*.sql")))]


def test_an_answer_that_does_not_arrive_is_tried_twice_and_fails_the_invocation(answers: Receiver) -> None:
    """Lambda then invokes again, which does no harm."""
    with pytest.raises(AnswerLostError, match="it answered 503"):
        lambda_handler(event(answers, "Create", path="/status/503"), a_context())
    assert len(answers.received) == 2


def test_nobody_at_the_other_end_fails_the_invocation(answers: Receiver) -> None:
    asked = event(answers, "Delete") | {"ResponseURL": "http://127.0.0.1:1/"}
    with pytest.raises(AnswerLostError, match="connect"):
        lambda_handler(asked, a_context())
