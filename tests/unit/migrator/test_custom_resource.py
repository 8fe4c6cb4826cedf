"""What CloudFormation is told."""

import json
from typing import Any

import psycopg
import pytest

from migrator.custom_resource import MOST_BYTES, Done, Failed, Outcome, answer_to, outcome_of
from scheduler_core.domain.errors import DatabaseUnavailableError, MigrationError, SecretUnavailableError

STACK = "arn:aws:cloudformation:eu-central-1:123456789012:stack/scheduler/11111111-2222-3333-4444-555555555555"


def event(kind: str = "Create", **more: Any) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ServiceToken": "arn:aws:lambda:eu-central-1:123456789012:function:scheduler-migrator",
        "ResponseURL": "https://example.invalid/",
        "StackId": STACK,
        "RequestId": "66666666-7777-8888-9999-000000000000",
        "LogicalResourceId": "Migration",
        "ResourceType": "Custom::Migration",
        "ResourceProperties": {"LayerVersion": "arn:...:1"},
        **more,
    }


def told(asked: dict[str, Any], outcome: Outcome, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(answer_to(asked, outcome, **more))
    return answer


def failing(error: Exception) -> Any:
    def migrate() -> list[str]:
        raise error

    return migrate


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_create_and_update_migrate(kind: str) -> None:
    assert outcome_of(event(kind), lambda: ["001.sql", "002.sql"]) == Done(("001.sql", "002.sql"))


def test_delete_touches_nothing_and_succeeds() -> None:
    assert outcome_of(event("Delete"), failing(AssertionError())) == Done()


def test_an_unknown_request_is_refused() -> None:
    assert isinstance(outcome_of(event("Import"), failing(AssertionError())), Failed)


def test_an_answer_repeats_what_cloudformation_wants_repeated() -> None:
    assert told(event(), Done(("001.sql",))) == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "database-schema",
        "StackId": STACK,
        "RequestId": "66666666-7777-8888-9999-000000000000",
        "LogicalResourceId": "Migration",
        "Data": {"Applied": 1},
    }


@pytest.mark.parametrize("outcome", [Done(), Failed("no")])
def test_the_resource_keeps_its_id_whatever_happens(outcome: Outcome) -> None:
    """Another id would make CloudFormation delete the resource of before."""
    first = told(event(), outcome)["PhysicalResourceId"]
    assert told(event("Update", PhysicalResourceId=first), outcome)["PhysicalResourceId"] == first
    assert told(event("Delete", PhysicalResourceId="of another"), outcome)["PhysicalResourceId"] == "of another"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MigrationError("003.sql: division by zero\nCONTEXT: SELECT 'hidden'"), "003.sql: division by zero"),
        (SecretUnavailableError("arn:x: it lacks password"), "A secret cannot be read"),
        (ValueError("hidden"), "an unforeseen ValueError"),
    ],
)
def test_a_failure_is_told_in_one_line(error: Exception, reason: str) -> None:
    outcome = outcome_of(event(), failing(error))
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith(reason)
    assert "hidden" not in outcome.reason
    assert "\n" not in outcome.reason


def test_a_database_that_is_away_is_told_with_its_cause() -> None:
    error = DatabaseUnavailableError("OperationalError")
    error.__cause__ = psycopg.OperationalError("connection refused\nIs the server running?")
    assert outcome_of(event(), failing(error)) == Failed("The database does not answer. connection refused")


def test_a_reason_says_where_to_read_more() -> None:
    answer = told(event(), Failed("no"), log_stream="2026/11/25/[$LATEST]abc")
    assert answer["Reason"] == "no (log stream 2026/11/25/[$LATEST]abc)"


@pytest.mark.parametrize("reason", ["x" * 100_000, "ü\u2028\U0001f4a5" * 50_000])
def test_an_answer_is_never_longer_than_cloudformation_takes(reason: str) -> None:
    asked = event("Update", PhysicalResourceId="i" * 1_000, LogicalResourceId="l" * 255)
    body = answer_to(asked, Failed(reason), log_stream="s" * 512)
    assert len(body) <= MOST_BYTES
    assert json.loads(body)["Status"] == "FAILED"
