"""What the emulators can do is what tests/emulators.py says, so that no test is missing without being named."""

import io
import json
import zipfile
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from scheduler_core.domain.targets import AwsService
from tests.emulators import CAN, Emulator, unique


def _lambda(emulator: Emulator) -> bool:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("work.py", "def handler(event, context): return event")
    functions, name = emulator.client("lambda"), unique("work")
    functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=emulator.role("lambda.amazonaws.com"),
        Handler="work.handler",
        Code={"ZipFile": code.getvalue()},
    )
    waiter = functions.get_waiter("function_active_v2")
    waiter.wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return bool(functions.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")["StatusCode"] == 202)


def _sqs(emulator: Emulator) -> bool:
    queue = emulator.queue()
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="{}")
    return len(queue.messages()) == 1


def _sns(emulator: Emulator) -> bool:
    queue, sns = emulator.queue(), emulator.client("sns")
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    sns.publish(TopicArn=topic, Message="{}")
    return len(queue.messages()) == 1


def _eventbridge(emulator: Emulator) -> bool:
    answered = emulator.client("events").put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}"}])
    return bool(answered["FailedEntryCount"] == 0)


def _stepfunctions(emulator: Emulator) -> bool:
    states = emulator.client("stepfunctions")
    machine = states.create_state_machine(
        name=unique("machine"),
        definition='{"StartAt": "a", "States": {"a": {"Type": "Pass", "End": true}}}',
        roleArn=emulator.role("states.amazonaws.com"),
    )
    return bool(states.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"])


def _secretsmanager(emulator: Emulator) -> bool:
    secrets, name = emulator.client("secretsmanager"), unique("secret")
    secrets.create_secret(Name=name, SecretString="kept")
    return bool(secrets.get_secret_value(SecretId=name)["SecretString"] == "kept")


def _permissions(emulator: Emulator) -> bool:
    """Whether someone who may do nothing is refused."""
    iam, user = emulator.client("iam"), unique("nobody")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    sns = emulator.client("sns", key_id=key["AccessKeyId"], secret=key["SecretAccessKey"])
    try:
        if emulator.name == "moto":
            with emulator.permissions():
                sns.create_topic(Name=unique("refused"))
        else:
            sns.create_topic(Name=unique("refused"))
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "AccessDenied")
    return False


def _malformed_events(emulator: Emulator) -> bool:
    """Whether an event is refused whose detail is no object."""
    events = emulator.client("events")
    events.put_rule(Name=unique("all"), EventPattern='{"source": ["s"]}')
    answered = events.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": json.dumps("text")}])
    return bool(answered["Entries"][0].get("ErrorCode") == "MalformedDetail")


PROBES: dict[str, Callable[[Emulator], bool]] = {
    "lambda": _lambda,
    "sqs": _sqs,
    "sns": _sns,
    "eventbridge": _eventbridge,
    "stepfunctions": _stepfunctions,
    "secretsmanager": _secretsmanager,
    "permissions": _permissions,
    "malformed events": _malformed_events,
}


@pytest.mark.parametrize("what", PROBES)
def test_an_emulator_can_do_what_is_said_of_it_and_nothing_more(emulator: Emulator, what: str) -> None:
    try:
        able = PROBES[what](emulator)
    except Exception:
        if what in CAN[emulator.name]:
            raise
        able = False
    assert able is (what in CAN[emulator.name])


def test_every_kind_of_target_is_covered_by_the_emulator_that_always_runs() -> None:
    assert {service.value for service in AwsService} <= CAN["moto"]


def test_everything_that_is_said_of_an_emulator_is_probed() -> None:
    assert frozenset().union(*CAN.values()) == set(PROBES)
