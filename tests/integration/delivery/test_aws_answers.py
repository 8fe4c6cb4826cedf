"""What AWS answers when things go wrong, as verdicts: played on the wire by a receiver, and case by case."""

import json
import subprocess
import sys
import threading
import urllib.parse
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError, ReadTimeoutError

from scheduler_core.delivery import aws
from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Parcel
from scheduler_core.domain.outcomes import DeliveryResult, Verdict
from scheduler_core.domain.targets import AwsTarget, parse_target

from .conftest import Inbox, Receiver, answer, http_job, job_for, send, wait_until

REGION = "eu-central-1"
EVERYTHING = ("*",)
QUEUE = {"type": "sqs", "arn": f"arn:aws:sqs:{REGION}:123456789012:q"}


@pytest.fixture(autouse=True)
def environment(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver stands where AWS would."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", receiver.url()[:-1])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL_LAMBDA", raising=False)


def deliver(courier: Courier, inbox: Inbox, target: dict[str, Any], **fields: Any) -> tuple[Any, DeliveryResult]:
    job = job_for(target, **fields)
    courier.submit([Parcel(job, (), EVERYTHING)])
    return job, inbox.one(20)


def test_lambda_is_asked_to_run_without_being_waited_for(courier: Courier, inbox: Inbox, receiver: Receiver) -> None:
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:work:live"
    _, result = deliver(courier, inbox, {"type": "lambda", "arn": arn})
    assert result.verdict is Verdict.DONE
    (request,) = receiver.requests
    assert request.path == f"/2015-03-31/functions/{urllib.parse.quote(arn, safe='')}/invocations"
    assert (request.headers["x-amz-invocation-type"], request.body) == ("Event", b'{"n": 1}')


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (400, "com.amazonaws.sqs#RequestThrottled", Verdict.RETRYABLE),
        (400, "com.amazon.coral.availability#ThrottlingException", Verdict.RETRYABLE),
        (400, "com.amazonaws.sqs#KmsThrottled", Verdict.RETRYABLE),
        (429, "com.amazonaws.sqs#Whatever", Verdict.RETRYABLE),
        (403, "com.amazon.coral.service#ExpiredTokenException", Verdict.RETRYABLE),
        (503, "com.amazonaws.sqs#ServiceUnavailable", Verdict.RETRYABLE),
        (500, "com.amazonaws.sqs#InternalError", Verdict.RETRYABLE),
        (403, "com.amazonaws.sqs#AccessDeniedException", Verdict.PERMANENT),
        (400, "com.amazonaws.sqs#KmsAccessDenied", Verdict.PERMANENT),
        (400, "com.amazonaws.sqs#InvalidMessageContents", Verdict.PERMANENT),
    ],
)
def test_each_refusal_on_the_wire_has_its_verdict_and_is_made_once(
    courier: Courier, inbox: Inbox, receiver: Receiver, status: int, code: str, verdict: Verdict
) -> None:
    body = json.dumps({"__type": code, "message": "secret"}).encode()
    receiver.scripts["/"] = answer(status, body, content_type="application/x-amz-json-1.0")
    _, result = deliver(courier, inbox, QUEUE)
    assert (result.verdict, result.http_status) == (verdict, status)
    assert result.error == f"sqs refused it: {code.partition('#')[2]}"
    assert len(receiver.requests) == 1


def test_a_service_out_of_reach_is_retryable(courier: Courier, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    _, result = deliver(courier, inbox, QUEUE, timeout_seconds=1)
    assert (result.verdict, result.http_status) == (Verdict.RETRYABLE, None)
    assert result.error == "could not reach sqs (EndpointConnectionError)"


def test_a_service_that_is_silent_ends_within_the_jobs_timeout(
    courier: Courier, receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def silent(*_: object) -> None:
        release.wait(3)

    receiver.scripts["/"] = silent
    _, result = deliver(courier, inbox, QUEUE, timeout_seconds=2)
    release.set()
    assert (result.verdict, result.error) == (Verdict.RETRYABLE, "could not reach sqs (ReadTimeoutError)")
    assert (result.finished_at - result.started_at).total_seconds() < 2


def test_an_aborted_delivery_to_aws_yields_no_result(
    courier: Courier, receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def silent(*_: object) -> None:
        release.wait(3)

    receiver.scripts["/"] = silent
    job = job_for(QUEUE)
    courier.submit([Parcel(job, (), EVERYTHING)])
    receiver.wait_for(1)
    courier.abort([(job.id, job.attempt)])
    wait_until(lambda: courier.in_flight == 0)
    release.set()
    send(courier, http_job(receiver.url("/ok")))
    inbox.wait_for(1)
    assert [delivered.id for delivered, _ in inbox.deliveries] != [job.id]


def refused(code: str, status: int) -> ClientError:
    answered: Any = {"Error": {"Code": code, "Message": "secret"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answered, "Call")


@pytest.mark.parametrize(
    ("trouble", "verdict"),
    [
        (refused("ThrottlingException", 400), Verdict.RETRYABLE),
        (refused("TooManyRequestsException", 429), Verdict.RETRYABLE),
        (refused("Whatever", 429), Verdict.RETRYABLE),
        (refused("ServiceException", 500), Verdict.RETRYABLE),
        (refused("ExpiredTokenException", 403), Verdict.RETRYABLE),
        (refused("AccessDeniedException", 403), Verdict.PERMANENT),
        (refused("ValidationException", 400), Verdict.PERMANENT),
        (refused("ExecutionAlreadyExists", 400), Verdict.DONE),
        (aws.EntryRefusedError("InternalFailure"), Verdict.RETRYABLE),
        (aws.EntryRefusedError("MalformedDetail"), Verdict.PERMANENT),
        (ParamValidationError(report="secret"), Verdict.PERMANENT),
        (ReadTimeoutError(endpoint_url="secret"), Verdict.RETRYABLE),
        (NoCredentialsError(), Verdict.RETRYABLE),
        (RuntimeError("secret"), Verdict.RETRYABLE),
    ],
    ids=str,
)
def test_each_trouble_has_its_verdict_and_no_secrets(trouble: Exception, verdict: Verdict) -> None:
    target = parse_target(json.dumps(QUEUE))
    assert isinstance(target, AwsTarget)
    judged, _, error = aws._judge(trouble, target)
    assert judged is verdict
    assert "secret" not in (error or "")


def test_eventbridge_may_answer_200_and_still_refuse() -> None:
    class Refusing:
        def put_events(self, **_: Any) -> dict[str, Any]:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "MalformedDetail"}]}

    target = parse_target(
        json.dumps({"type": "eventbridge", "arn": f"arn:aws:events:{REGION}:123456789012:event-bus/default"})
    )
    assert isinstance(target, AwsTarget)
    with pytest.raises(aws.EntryRefusedError, match="MalformedDetail"):
        aws._put_event(Refusing(), job_for({}), target)


def test_boto3_is_imported_only_for_an_aws_target() -> None:
    code = "import sys, scheduler_core.delivery.courier; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
