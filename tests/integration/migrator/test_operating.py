"""Operators' commands through the migrator function: by hand, and from the command line."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from cli import registry
from cli.main import app
from hosting import web
from hosting.environments import documented_settings, environment_of
from hosting.invoke_api import InvokeApi
from hosting.invoker import Invoker
from hosting.template import read_template
from migrator.handler import lambda_handler
from scheduler_core.domain.errors import DatabaseUnavailableError
from tests.builders import rows
from tests.contexts import a_context
from tests.integration.hosting.parts import Heard

ROOT = Path(__file__).parents[3]
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:scheduler-migrator"


@pytest.fixture(autouse=True)
def environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SIGNING_KEY", "a signing key that is made up for tests")
    monkeypatch.setenv("MIGRATIONS_DIRECTORY", str(ROOT / "migrations"))


def invoke(command: str, **arguments: object) -> dict[str, Any]:
    return lambda_handler({"command": command, "arguments": arguments}, a_context())


def test_a_merchant_and_its_first_key_are_made_by_hand() -> None:
    merchant = invoke("merchants.create", name="acme")["result"]
    assert merchant["signing_secret"].startswith("whsec_")
    key = invoke("keys.create", merchant="acme", permissions=["jobs:write"])["result"]
    assert key["key"].startswith("ts_live_")
    assert key["merchant_id"] == merchant["id"]
    assert invoke("keys.revoke", key=key["key"])["result"]["state"] == "revoked"


@pytest.mark.parametrize(
    ("command", "arguments", "kind"),
    [
        ("merchants.drop", {}, "OperationRefusedError"),
        ("merchants.create", {"name": "acme", "wieght": 3}, "OperationRefusedError"),
        ("merchants.create", {"name": ""}, "OperationRefusedError"),
        ("keys.create", {"merchant": "acme", "permissions": ["jobs:fly"]}, "OperationRefusedError"),
        ("keys.create", {"merchant": "acme", "environment": "LIVE!"}, "OperationRefusedError"),
        ("keys.create", {"merchant": "acme", "expires_in_seconds": -1}, "OperationRefusedError"),
        ("keys.create", {"merchant": "acme"}, "NotFoundError"),
        ("keys.revoke", {"key": "000000000000"}, "NotFoundError"),
    ],
)
def test_what_an_operator_can_mend_is_an_answer(command: str, arguments: dict[str, Any], kind: str) -> None:
    assert invoke(command, **arguments)["error"]["kind"] == kind


def test_a_database_that_is_away_fails_the_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(DatabaseUnavailableError):
        invoke("merchants.list")


def test_neither_key_nor_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """I9."""
    with caplog.at_level(logging.DEBUG):
        merchant = invoke("merchants.create", name="acme")["result"]
        key = invoke("keys.create", merchant="acme")["result"]
    written = [str(vars(record)) for record in caplog.records]
    assert sum("operator.command" in each for each in written) == 2
    assert not [each for each in written if merchant["signing_secret"] in each or key["key"].split("_")[3] in each]


class Answering:
    """Lambda's client, with the real handler behind it."""

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert FunctionName == FUNCTION
        try:
            answer = lambda_handler(json.loads(Payload), a_context())
        except Exception as error:  # noqa: BLE001 - as Lambda does
            told = json.dumps({"errorMessage": str(error), "errorType": type(error).__name__})
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(told.encode())}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(boto3, "client", lambda name, **options: Answering())
    monkeypatch.delattr(registry, "ask_database")  # nothing reaches the database from here
    runner = CliRunner(env={"SCHEDULER_MIGRATOR_FUNCTION": FUNCTION, "COLUMNS": "100"})
    return lambda *args: runner.invoke(app, list(args))


def test_the_command_line_does_the_same_through_lambda(run: Callable[..., Result]) -> None:
    def told(*args: str) -> Any:
        answer = run(*args, "--json")
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout)

    made = told("merchants", "create", "acme", "--rate-limit", "10")
    key = told("keys", "create", "acme", "--permission", "jobs:read", "--expires-in", "90d")
    rotated = told("keys", "rotate", key["id"], "--overlap", "1h")
    assert rotated["replaces"]["id"] == key["id"]
    assert [each["id"] for each in told("keys", "list", "acme")["items"]] == [key["id"], rotated["id"]]
    assert told("merchants", "list")["items"][0]["rate_limit_per_second"] == 10
    assert told("merchants", "signing-secret", made["id"])["signing_secret"] == made["signing_secret"]
    assert told("migrate") == {"applied": []}


def test_the_exit_code_says_what_went_wrong_over_there(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("keys", "list", "nobody").exit_code == 3
    run("merchants", "create", "acme")
    assert run("merchants", "create", "acme").exit_code == 4
    assert run("keys", "create", "acme", "--environment", "LIVE!").exit_code == 6
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert run("merchants", "list").exit_code == 7


def test_over_the_wire_that_lambda_speaks(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 here, the function in a process of its own there, whatever answers in between."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with hosted_migrator() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint)
        runner = CliRunner(env={"SCHEDULER_MIGRATOR_FUNCTION": FUNCTION.replace("scheduler-", ""), "COLUMNS": "100"})
        monkeypatch.delattr(registry, "ask_database")

        def run(*args: str) -> Result:
            return runner.invoke(app, [*args, "--json"])

        made = json.loads(run("merchants", "create", "acme").stdout)
        key = json.loads(run("keys", "create", "acme").stdout)
        assert key["merchant_id"] == made["id"]
        assert run("merchants", "create", "acme").exit_code == 4
        assert run("keys", "list", "nobody").exit_code == 3
        gone = runner.invoke(app, ["keys", "list", "acme", "--through-lambda", "nothing", "--json"])
        assert gone.exit_code == 3
        assert "nothing could not be invoked." in gone.stderr
    audited = rows(database_url, "SELECT action, resource FROM audit_log ORDER BY id")
    assert [each["action"] for each in audited] == ["merchant.created", "key.created"]
    stored = rows(database_url, "SELECT to_json(k)::text AS row FROM api_keys k")[0]["row"]
    assert key["key"].split("_")[3][:32] not in stored


@contextmanager
def hosted_migrator() -> Iterator[str]:
    """The migrator of template.yaml behind the local Invoke API, in a loop and a thread of their own."""
    template = read_template(ROOT / "template.yaml")
    function = template.function("migrator")
    settings = documented_settings(ROOT / ".env.example")
    environment = environment_of(function, supplied={}, settings=settings, code_root=ROOT / "functions")
    started: Queue[tuple[str, Callable[[], object]]] = Queue()

    async def serve() -> None:
        invoker, ended = Invoker([function], {"migrator": environment}, Heard()), asyncio.Event()
        server = web.WebServer(InvokeApi(invoker), web.bind())
        await server.start()
        invoker.start()
        loop = asyncio.get_running_loop()
        started.put((server.url, lambda: loop.call_soon_threadsafe(ended.set)))
        await ended.wait()
        await server.stop()
        await invoker.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url, end = started.get(timeout=20)
    try:
        yield url
    finally:
        end()
        thread.join()
