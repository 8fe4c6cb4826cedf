"""AWS targets, against moto's server."""

import io
import json
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError, ReadTimeoutError
from moto.server import ThreadedMotoServer

from scheduler_core.delivery import aws
from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Parcel
from scheduler_core.domain.outcomes import DeliveryResult, Verdict
from scheduler_core.domain.targets import AwsTarget, parse_target

from .conftest import Inbox, Receiver, http_job, job_for, send, wait_until

REGION = "eu-central-1"
EVERYTHING = ("*",)


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def environment(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL_LAMBDA", raising=False)


def client(name: Any) -> Any:
    return boto3.client(name, region_name=REGION)


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> tuple[str, str]:
    """URL and ARN of a queue."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=f"q{abs(hash(request.node.name))}")["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def deliver(
    courier: Courier, inbox: Inbox, target: dict[str, Any], *, allowed: tuple[str, ...] = EVERYTHING, **fields: Any
) -> tuple[Any, DeliveryResult]:
    job = job_for(target, **fields)
    before = len(inbox.deliveries)
    courier.submit([Parcel(job, (), allowed)])
    return job, inbox.wait_for(before + 1, 20)[before]


def messages(url: str) -> list[dict[str, Any]]:
    found = client("sqs").receive_message(
        QueueUrl=url, MessageAttributeNames=["All"], AttributeNames=["All"], MaxNumberOfMessages=10
    )
    return list(found.get("Messages", []))


def test_sqs_takes_the_payload_with_job_and_attempt(courier: Courier, inbox: Inbox, queue: tuple[str, str]) -> None:
    url, arn = queue
    job, result = deliver(courier, inbox, {"type": "sqs", "arn": arn}, attempt=2)
    assert (result.verdict, result.http_status, result.error) == (Verdict.DONE, 200, None)
    assert job.due_at < result.started_at <= result.finished_at
    (message,) = messages(url)
    assert message["Body"] == '{"n": 1}'
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {"job_id": str(job.id), "attempt": "2"}


def test_a_fifo_queue_gets_the_group_of_the_target_and_the_job_as_deduplication_id(
    courier: Courier, inbox: Inbox
) -> None:
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    target = {"type": "sqs", "arn": f"arn:aws:sqs:{REGION}:123456789012:orders.fifo", "message_group_id": "shop"}
    job, result = deliver(courier, inbox, target, payload=None)
    assert result.verdict is Verdict.DONE
    courier.submit([Parcel(job._replace(attempt=2), (), EVERYTHING)])
    inbox.wait_for(2)
    (message,) = messages(url)
    assert message["Body"] == "{}"
    assert message["Attributes"]["MessageGroupId"] == "shop"
    assert message["Attributes"]["MessageDeduplicationId"] == str(job.id)


def test_sns_publishes_the_payload_with_job_and_attempt(courier: Courier, inbox: Inbox, queue: tuple[str, str]) -> None:
    url, queue_arn = queue
    sns = client("sns")
    topic = sns.create_topic(Name="news")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    job, result = deliver(courier, inbox, {"type": "sns", "arn": topic})
    assert result.verdict is Verdict.DONE
    (message,) = messages(url)
    body = json.loads(message["Body"])
    assert body["Message"] == '{"n": 1}'
    assert body["MessageAttributes"]["job_id"]["Value"] == str(job.id)


def test_eventbridge_gets_the_payload_as_the_detail(courier: Courier, inbox: Inbox, queue: tuple[str, str]) -> None:
    url, queue_arn = queue
    events = client("events")
    bus = events.create_event_bus(Name="shop")["EventBusArn"]
    events.put_rule(Name="all", EventBusName="shop", EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule="all", EventBusName="shop", Targets=[{"Id": "1", "Arn": queue_arn}])
    job, result = deliver(
        courier, inbox, {"type": "eventbridge", "arn": bus, "source": "shop", "detail_type": "order.due"}
    )
    assert result.verdict is Verdict.DONE
    (message,) = messages(url)
    event = json.loads(message["Body"])
    assert (event["detail"], event["detail-type"], event["source"]) == ({"n": 1}, "order.due", "shop")
    assert event["resources"] == [str(job.id)]


def role(name: str, service: str) -> str:
    policy = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": service}}]}
    )
    arn: str = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    return arn


def test_step_functions_starts_an_execution_named_after_job_and_attempt(courier: Courier, inbox: Inbox) -> None:
    states = client("stepfunctions")
    definition = '{"StartAt": "a", "States": {"a": {"Type": "Pass", "End": true}}}'
    machine = states.create_state_machine(
        name="order", definition=definition, roleArn=role("machine", "states.amazonaws.com")
    )["stateMachineArn"]
    job, result = deliver(courier, inbox, {"type": "stepfunctions", "arn": machine}, attempt=3)
    assert result.verdict is Verdict.DONE
    (execution,) = states.list_executions(stateMachineArn=machine)["executions"]
    assert execution["name"] == f"{job.id}-3"
    described = states.describe_execution(executionArn=execution["executionArn"])
    assert described["input"] == '{"n": 1}'


@pytest.fixture
def lambda_without_docker(moto_url: str) -> Iterator[None]:
    """moto then answers as Lambda would, but runs nothing (nor does it know which functions there are)."""

    def use_docker(*, wanted: bool) -> None:
        config = json.dumps({"lambda": {"use_docker": wanted}}).encode()
        request = urllib.request.Request(  # noqa: S310 - moto's own address
            f"{moto_url}/moto-api/config", data=config, headers={"content-type": "application/json"}
        )
        urllib.request.urlopen(request).close()  # noqa: S310

    use_docker(wanted=False)
    yield
    use_docker(wanted=True)


@pytest.mark.usefixtures("lambda_without_docker")
def test_lambda_is_invoked(courier: Courier, inbox: Inbox) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("work.py", "def handler(event, context): return event")
    arn = client("lambda").create_function(
        FunctionName="work",
        Runtime="python3.12",
        Role=role("worker", "lambda.amazonaws.com"),
        Handler="work.handler",
        Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]
    _, result = deliver(courier, inbox, {"type": "lambda", "arn": arn})
    assert (result.verdict, result.http_status, result.error) == (Verdict.DONE, 202, None)


def test_lambda_is_asked_to_run_without_being_waited_for(
    courier: Courier, inbox: Inbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", receiver.url()[:-1])
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:work:live"
    _, result = deliver(courier, inbox, {"type": "lambda", "arn": arn})
    assert result.verdict is Verdict.DONE
    (request,) = receiver.requests
    assert request.path == f"/2015-03-31/functions/{urllib.parse.quote(arn, safe='')}/invocations"
    assert (request.headers["x-amz-invocation-type"], request.body) == ("Event", b'{"n": 1}')


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ({"type": "sqs", "arn": f"arn:aws:sqs:{REGION}:123456789012:nowhere"}, "NonExistentQueue"),
        ({"type": "sns", "arn": f"arn:aws:sns:{REGION}:123456789012:nowhere"}, "NotFound"),
        (
            {"type": "lambda", "arn": f"arn:aws:lambda:{REGION}:123456789012:function:nowhere"},
            "ResourceNotFoundException",
        ),
        (
            {"type": "stepfunctions", "arn": f"arn:aws:states:{REGION}:123456789012:stateMachine:nowhere"},
            "StateMachineDoesNotExist",
        ),
    ],
)
def test_a_resource_that_does_not_exist_is_a_permanent_failure(
    courier: Courier, inbox: Inbox, target: dict[str, Any], code: str
) -> None:
    _, result = deliver(courier, inbox, target, payload='{"secret": 1}')
    assert result.verdict is Verdict.PERMANENT
    assert (result.error or "").startswith(f"{target['type']} refused it: ")
    assert code in (result.error or "")
    assert "secret" not in (result.error or "")


def test_an_arn_outside_the_merchants_patterns_is_refused(
    courier: Courier, inbox: Inbox, queue: tuple[str, str]
) -> None:
    url, arn = queue
    for allowed in ((), (f"arn:aws:sqs:{REGION}:123456789012:other-*",)):
        _, result = deliver(courier, inbox, {"type": "sqs", "arn": arn}, allowed=allowed)
        assert (result.verdict, result.error) == (Verdict.PERMANENT, f"{arn} is not an allowed target")
    assert messages(url) == []


def test_a_service_out_of_reach_is_retryable(courier: Courier, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    _, result = deliver(
        courier, inbox, {"type": "sqs", "arn": f"arn:aws:sqs:{REGION}:123456789012:q"}, timeout_seconds=1
    )
    assert (result.verdict, result.http_status) == (Verdict.RETRYABLE, None)
    assert result.error == "could not reach sqs (EndpointConnectionError)"


def test_a_service_that_is_silent_ends_within_the_jobs_timeout(
    courier: Courier, receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def silent(*_: object) -> None:
        release.wait(3)

    receiver.scripts["/"] = silent
    monkeypatch.setenv("AWS_ENDPOINT_URL", receiver.url()[:-1])
    _, result = deliver(
        courier, inbox, {"type": "sqs", "arn": f"arn:aws:sqs:{REGION}:123456789012:q"}, timeout_seconds=1
    )
    release.set()
    assert (result.verdict, result.error) == (Verdict.RETRYABLE, "could not reach sqs (ReadTimeoutError)")
    assert (result.finished_at - result.started_at).total_seconds() < 1


def test_an_aborted_delivery_to_aws_yields_no_result(
    courier: Courier, receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def silent(*_: object) -> None:
        release.wait(3)

    receiver.scripts["/"] = silent
    monkeypatch.setenv("AWS_ENDPOINT_URL", receiver.url()[:-1])
    job = job_for({"type": "sqs", "arn": f"arn:aws:sqs:{REGION}:123456789012:q"})
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
    target = parse_target(json.dumps({"type": "sqs", "arn": f"arn:aws:sqs:{REGION}:123456789012:q"}))
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
