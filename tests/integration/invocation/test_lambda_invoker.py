"""Asynchronous invocation over the wire that Lambda speaks."""

from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from scheduler_core.invocation.lambda_invoker import InvocationError, LambdaInvoker
from scheduler_core.settings import InvocationSettings
from tests.receivers import Receiver, receiving


@pytest.fixture
def lambda_api() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_an_invocation_is_signed_and_asynchronous(lambda_api: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made up")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "also made up")
    invoker = LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda=lambda_api.url, aws_region="eu-west-1"))
    for _ in range(2):
        invoker.invoke_async("executor", {"reason": "announced"})
    request = lambda_api.received[1]
    assert (request.path, request.json()) == (
        "/2015-03-31/functions/executor/invocations",
        {"reason": "announced"},
    )
    assert request.headers["x-amz-invocation-type"] == "Event"
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/lambda/aws4_request" in request.headers["authorization"]
    assert "x-amz-security-token" in request.headers["authorization"]


def test_our_own_functions_may_be_elsewhere_than_the_lambda_targets_of_deliveries(lambda_api: Receiver) -> None:
    settings = InvocationSettings(functions_endpoint=lambda_api.url, aws_endpoint_url_lambda="http://127.0.0.1:9")
    LambdaInvoker(settings).invoke_async("executor")
    assert len(lambda_api.received) == 1


@pytest.mark.parametrize(
    "function",
    [
        "scheduler-executor",
        "scheduler-executor:live",
        "arn:aws:lambda:eu-west-1:123456789012:function:scheduler-executor",
        "arn:aws:lambda:eu-west-1:123456789012:function:scheduler-executor:live",
    ],
)
def test_a_function_may_be_named_by_arn_and_by_alias(lambda_api: Receiver, function: str) -> None:
    """In the path as AWS's own clients put it there: every colon encoded."""
    assert LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda=lambda_api.url)).invoke_async(function) is True
    [request] = lambda_api.received
    assert request.path == f"/2015-03-31/functions/{function.replace(':', '%3A')}/invocations"
    assert unquote(request.path.split("/")[3]) == function


def test_enough_of_them_is_an_answer_and_no_error(lambda_api: Receiver) -> None:
    lambda_api.lambda_answers = [429, 202]
    invoker = LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda=lambda_api.url))
    assert [invoker.invoke_async("executor") for _ in range(2)] == [False, True]
    assert len(lambda_api.received) == 2, "a refusal is not tried again at once"


def test_a_lambda_that_fails_once_is_asked_again(lambda_api: Receiver) -> None:
    lambda_api.lambda_answers = [500, 202]
    assert LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda=lambda_api.url)).invoke_async("executor") is True
    assert len(lambda_api.received) == 2


@pytest.mark.parametrize("status", [403, 404, 413])
def test_any_other_refusal_is_an_error(lambda_api: Receiver, status: int) -> None:
    lambda_api.lambda_answers = [status]
    with pytest.raises(InvocationError, match=f"executor: Lambda answered {status}"):
        LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda=lambda_api.url)).invoke_async("executor")


def test_a_refusal_is_an_error(lambda_api: Receiver) -> None:
    invoker = LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda=f"{lambda_api.url}/status/403?"))
    with pytest.raises(InvocationError, match="executor: Lambda answered"):
        invoker.invoke_async("executor")


def test_an_endpoint_that_is_away_is_an_error() -> None:
    with pytest.raises(InvocationError, match=r"executor: .*connect"):
        LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda="http://127.0.0.1:1")).invoke_async("executor")
