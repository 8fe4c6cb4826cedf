"""AWS targets on the emulators: what arrives, and what becomes of a refusal. See tests/emulators.py."""

import io
import json
import zipfile
from typing import Any

import pytest

from scheduler_core.delivery.courier import Courier
from scheduler_core.delivery.parcels import Parcel
from scheduler_core.domain.outcomes import DeliveryResult, Verdict
from tests.emulators import Emulator, Queue, unique

from .conftest import Inbox, job_for

EVERYTHING = ("*",)


@pytest.fixture
def queue(aws: Emulator) -> Queue:
    return aws.queue()


def deliver(
    courier: Courier, inbox: Inbox, target: dict[str, Any], *, allowed: tuple[str, ...] = EVERYTHING, **fields: Any
) -> tuple[Any, DeliveryResult]:
    job = job_for(target, **{"timeout_seconds": 20, **fields})
    before = len(inbox.deliveries)
    courier.submit([Parcel(job, (), allowed)])
    return job, inbox.wait_for(before + 1, 30)[before]


def again(courier: Courier, inbox: Inbox, job: Any) -> DeliveryResult:
    before = len(inbox.deliveries)
    courier.submit([Parcel(job, (), EVERYTHING)])
    return inbox.wait_for(before + 1, 30)[before]


# What arrives -------------------------------------------------------------------------------------------------------


def test_sqs_takes_the_payload_with_job_and_attempt(courier: Courier, inbox: Inbox, queue: Queue) -> None:
    job, result = deliver(courier, inbox, {"type": "sqs", "arn": queue.arn}, attempt=2)
    assert (result.verdict, result.http_status, result.error) == (Verdict.DONE, 200, None)
    assert job.due_at < result.started_at <= result.finished_at
    (message,) = queue.messages()
    assert message["Body"] == '{"n": 1}'
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {"job_id": str(job.id), "attempt": "2"}


def test_a_fifo_queue_gets_the_group_of_the_target_and_the_job_as_deduplication_id(
    courier: Courier, inbox: Inbox, aws: Emulator
) -> None:
    queue = aws.queue(fifo=True)
    target = {"type": "sqs", "arn": queue.arn, "message_group_id": "shop"}
    job, result = deliver(courier, inbox, target, payload=None)
    assert result.verdict is Verdict.DONE
    assert again(courier, inbox, job._replace(attempt=2)).verdict is Verdict.DONE
    (message,) = queue.messages()
    assert queue.is_empty()
    assert message["Body"] == "{}"
    assert message["Attributes"]["MessageGroupId"] == "shop"
    assert message["Attributes"]["MessageDeduplicationId"] == str(job.id)


def test_sns_publishes_the_payload_with_job_and_attempt(
    courier: Courier, inbox: Inbox, aws: Emulator, queue: Queue
) -> None:
    sns = aws.client("sns")
    topic = sns.create_topic(Name=unique("news"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    job, result = deliver(courier, inbox, {"type": "sns", "arn": topic}, attempt=2)
    assert (result.verdict, result.error) == (Verdict.DONE, None)
    (message,) = queue.messages()
    body = json.loads(message["Body"])
    assert body["Message"] == '{"n": 1}'
    assert body["MessageAttributes"]["job_id"]["Value"] == str(job.id)
    assert body["MessageAttributes"]["attempt"]["Value"] == "2"


def test_eventbridge_gets_the_payload_as_the_detail(
    courier: Courier, inbox: Inbox, aws: Emulator, queue: Queue
) -> None:
    bus, target = bus_to(aws, queue)
    job, result = deliver(courier, inbox, target)
    assert (result.verdict, result.error) == (Verdict.DONE, None)
    (message,) = queue.messages()
    event = json.loads(message["Body"])
    assert (event["detail"], event["detail-type"], event["source"]) == ({"n": 1}, "order.due", "shop")
    assert event["resources"] == [str(job.id)]
    assert bus == target["arn"]


def bus_to(aws: Emulator, queue: Queue) -> tuple[str, dict[str, Any]]:
    """The ARN of a bus that forwards everything to `queue`, and a target for it."""
    events, name = aws.client("events"), unique("bus")
    bus: str = events.create_event_bus(Name=name)["EventBusArn"]
    events.put_rule(Name="all", EventBusName=name, EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule="all", EventBusName=name, Targets=[{"Id": "1", "Arn": queue.arn}])
    return bus, {"type": "eventbridge", "arn": bus, "source": "shop", "detail_type": "order.due"}


def state_machine(aws: Emulator) -> str:
    """The ARN of a state machine that does nothing."""
    arn: str = aws.client("stepfunctions").create_state_machine(
        name=unique("order"),
        definition='{"StartAt": "a", "States": {"a": {"Type": "Pass", "End": true}}}',
        roleArn=aws.role("states.amazonaws.com"),
    )["stateMachineArn"]
    return arn


def test_step_functions_starts_an_execution_named_after_job_and_attempt(
    courier: Courier, inbox: Inbox, aws: Emulator
) -> None:
    machine, states = state_machine(aws), aws.client("stepfunctions")
    job, result = deliver(courier, inbox, {"type": "stepfunctions", "arn": machine}, attempt=3)
    assert (result.verdict, result.error) == (Verdict.DONE, None)
    (execution,) = states.list_executions(stateMachineArn=machine)["executions"]
    assert execution["name"] == f"{job.id}-3"
    taken = states.describe_execution(executionArn=execution["executionArn"])["input"]
    assert json.loads(taken) == {"n": 1}


def test_an_attempt_that_step_functions_took_before_is_done_and_starts_nothing_more(
    courier: Courier, inbox: Inbox, aws: Emulator
) -> None:
    machine = state_machine(aws)
    job, first = deliver(courier, inbox, {"type": "stepfunctions", "arn": machine})
    assert [first.verdict, again(courier, inbox, job).verdict] == [Verdict.DONE] * 2
    assert len(aws.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]) == 1


def test_lambda_is_invoked(courier: Courier, inbox: Inbox, aws_on_moto: Emulator) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("work.py", "def handler(event, context): return event")
    arn = aws_on_moto.client("lambda").create_function(
        FunctionName=unique("work"),
        Runtime="python3.12",
        Role=aws_on_moto.role("lambda.amazonaws.com"),
        Handler="work.handler",
        Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]
    _, result = deliver(courier, inbox, {"type": "lambda", "arn": arn})
    assert (result.verdict, result.http_status, result.error) == (Verdict.DONE, 202, None)


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "service", "resource", "code"),
    [
        ("sqs", "sqs", "nowhere", "NonExistentQueue"),
        ("sns", "sns", "nowhere", "NotFound"),
        ("stepfunctions", "states", "stateMachine:nowhere", "StateMachineDoesNotExist"),
    ],
)
def test_a_resource_that_does_not_exist_is_a_permanent_failure(
    courier: Courier, inbox: Inbox, aws: Emulator, kind: str, service: str, resource: str, code: str
) -> None:
    target = {"type": kind, "arn": aws.arn(service, resource)}
    _, result = deliver(courier, inbox, target, payload='{"secret": 1}')
    assert_permanent(result, kind, code)


def assert_permanent(result: DeliveryResult, kind: str, code: str) -> None:
    assert result.verdict is Verdict.PERMANENT
    assert (result.error or "").startswith(f"{kind} refused it: ")
    assert code in (result.error or "")
    assert "secret" not in (result.error or "")


def test_a_function_that_does_not_exist_is_a_permanent_failure(
    courier: Courier, inbox: Inbox, aws_on_moto: Emulator
) -> None:
    aws_on_moto.pretend_lambda(pretend=False)  # pretending, it does not look
    target = {"type": "lambda", "arn": aws_on_moto.arn("lambda", "function:nowhere")}
    _, result = deliver(courier, inbox, target)
    aws_on_moto.pretend_lambda(pretend=True)
    assert_permanent(result, "lambda", "ResourceNotFoundException")


def test_a_queue_that_was_deleted_between_two_attempts_ends_the_job(
    courier: Courier, inbox: Inbox, aws: Emulator, queue: Queue
) -> None:
    job, first = deliver(courier, inbox, {"type": "sqs", "arn": queue.arn})
    aws.client("sqs").delete_queue(QueueUrl=queue.url)
    assert first.verdict is Verdict.DONE
    assert_permanent(again(courier, inbox, job), "sqs", "NonExistentQueue")


def test_a_payload_that_is_too_large_for_the_queue_is_a_permanent_failure(
    courier: Courier, inbox: Inbox, aws: Emulator
) -> None:
    queue = aws.queue(MaximumMessageSize="1024")
    payload = json.dumps({"secret": "x" * 2_000})
    _, result = deliver(courier, inbox, {"type": "sqs", "arn": queue.arn}, payload=payload)
    assert_permanent(result, "sqs", "InvalidParameterValue")
    assert queue.is_empty()


@pytest.mark.localstack
def test_a_payload_that_is_no_object_does_not_fit_an_event(
    courier: Courier, inbox: Inbox, aws_on_localstack: Emulator
) -> None:
    queue = aws_on_localstack.queue()
    _, target = bus_to(aws_on_localstack, queue)
    _, result = deliver(courier, inbox, target, payload='"secret"')
    assert_permanent(result, "eventbridge", "MalformedDetail")
    assert queue.is_empty()


def test_an_arn_outside_the_merchants_patterns_is_refused(
    courier: Courier, inbox: Inbox, aws: Emulator, queue: Queue
) -> None:
    for allowed in ((), (aws.arn("sqs", "other-*"),)):
        _, result = deliver(courier, inbox, {"type": "sqs", "arn": queue.arn}, allowed=allowed)
        assert (result.verdict, result.error) == (Verdict.PERMANENT, f"{queue.arn} is not an allowed target")
    assert queue.is_empty()


@pytest.mark.parametrize("statement", [None, {"Effect": "Allow", "Action": "sns:Publish"}])
def test_permission_decides_and_its_lack_is_a_permanent_failure(
    courier: Courier,
    inbox: Inbox,
    aws_on_moto: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    statement: dict[str, str] | None,
) -> None:
    topic = aws_on_moto.client("sns").create_topic(Name=unique("news"))["TopicArn"]
    iam, user = aws_on_moto.client("iam"), unique("executor")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    if statement is not None:  # moto looks at actions, not at resources
        policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": "*"}]}
        iam.put_user_policy(UserName=user, PolicyName="send", PolicyDocument=json.dumps(policy))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    with aws_on_moto.permissions():
        _, result = deliver(courier, inbox, {"type": "sns", "arn": topic})
    if statement is None:
        assert_permanent(result, "sns", "AccessDenied")
        assert result.http_status == 403
    else:
        assert (result.verdict, result.error) == (Verdict.DONE, None)
