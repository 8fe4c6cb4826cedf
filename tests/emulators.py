"""AWS on this machine: moto's server always, LocalStack 4.14 for tests that run under the marker `localstack`.

Every test that takes `emulator` (or `aws`) is one source for both: `make test` runs it on moto, `make test-localstack`
on LocalStack. Nothing is skipped in silence: what each can do is said in CAN, and
tests/integration/aws/test_emulators.py asserts that it is so, in both directions.

- LocalStack runs no Lambda here: it wants Docker, an image from a registry and an init binary for it, and
  dev/local_aws.py lets it have none of them. A function that is created there ends as `Failed`, and invoking it is a
  conflict. Targets and invocations of Lambda are tested on moto.
- LocalStack's edition without an account knows no permissions; moto does, once it is asked to (`Emulator.permissions`).
- moto breaks over an event whose detail is no object (500); LocalStack refuses it as EventBridge does.
- Neither throttles: what a throttled call looks like on the wire is played by a receiver in tests/integration/delivery.
"""

import json
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from dev.local_aws import LocalStackServer

REGION: Final = "eu-central-1"
Name = Literal["moto", "localstack"]
CAN: Final[dict[Name, frozenset[str]]] = {
    "moto": frozenset({"lambda", "sqs", "sns", "eventbridge", "stepfunctions", "secretsmanager", "permissions"}),
    "localstack": frozenset({"sqs", "sns", "eventbridge", "stepfunctions", "secretsmanager", "malformed events"}),
}
"""What the tests rely on, by emulator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A running emulator. Tests make their resources under names of their own: state is shared for a session."""

    name: Name
    url: str
    account: str

    def environment(self) -> dict[str, str]:
        """What a program is told to use it in AWS's stead."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, service: str, *, key_id: str = "test", secret: str = "test") -> Any:
        """A boto3 client."""
        name: Any = service
        return boto3.client(
            name,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
        )

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{REGION}:{self.account}:{resource}"

    def queue(self, *, fifo: bool = False, **attributes: str) -> "Queue":
        """A fresh queue."""
        name = unique("queue") + (".fifo" if fifo else "")
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=name, Attributes={**attributes, **({"FifoQueue": "true"} if fifo else {})})
        return Queue(arn=self.arn("sqs", name), url=url["QueueUrl"], sqs=sqs)

    def role(self, service: str) -> str:
        """The ARN of a role that `service` may take on."""
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam = self.client("iam")
        arn: str = iam.create_role(RoleName=unique("role"), AssumeRolePolicyDocument=policy)["Role"]["Arn"]
        return arn

    @contextmanager
    def permissions(self) -> Iterator[None]:
        """moto only: for the time of the block, keys of IAM users are checked, and what their policies allow."""
        self._tell("reset-auth", b"0")
        try:
            yield
        finally:
            self._tell("reset-auth", b"inf")

    def pretend_lambda(self, *, pretend: bool) -> None:
        """moto only: answer as Lambda would, but run nothing."""
        self._tell("config", json.dumps({"lambda": {"use_docker": not pretend}}).encode())

    def _tell(self, what: str, body: bytes) -> None:
        request = urllib.request.Request(  # noqa: S310 - the emulator's own address
            f"{self.url}/moto-api/{what}", data=body, headers={"content-type": "application/json"}
        )
        urllib.request.urlopen(request).close()  # noqa: S310 - the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """An SQS queue, and what has come into it."""

    arn: str
    url: str
    sqs: Any

    def messages(self, count: int = 1, *, seconds: int = 10) -> list[dict[str, Any]]:
        """The messages that are in it, once there are `count`; they stay hidden for half a minute."""
        found: list[dict[str, Any]] = []
        for _ in range(seconds):
            answered = self.sqs.receive_message(
                QueueUrl=self.url,
                MessageAttributeNames=["All"],
                AttributeNames=["All"],
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
            )
            found += answered.get("Messages", [])
            if len(found) >= count:
                return found
        raise AssertionError(f"{len(found)} of {count} messages after {seconds} s")

    def is_empty(self) -> bool:
        return not self.sqs.receive_message(QueueUrl=self.url).get("Messages")


def unique(name: str) -> str:
    """A name that no other test has."""
    return f"{name}-{uuid4().hex[:12]}"


@contextmanager
def moto() -> Iterator[Emulator]:
    """A thread of ours; its state is the process's."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    emulator = Emulator(name="moto", url=f"http://{host}:{port}", account="123456789012")
    emulator.pretend_lambda(pretend=True)
    try:
        yield emulator
    finally:
        server.stop()


@contextmanager
def localstack() -> Iterator[Emulator]:
    """Its state is gone with it."""
    with tempfile.TemporaryDirectory(prefix="task-scheduler-localstack-") as folder:
        server = LocalStackServer(Path(folder))
        server.start()
        try:
            yield Emulator(name="localstack", url=server.url, account="000000000000")
        finally:
            server.stop()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Emulator]:
    """moto, for what LocalStack cannot do."""
    with moto() as running:
        yield running


@pytest.fixture(scope="session")
def localstack_server() -> Iterator[Emulator]:
    """LocalStack, for what moto cannot do; only under the marker `localstack`."""
    with localstack() as running:
        yield running


@pytest.fixture(params=["moto", pytest.param("localstack", marks=pytest.mark.localstack)])
def emulator(request: pytest.FixtureRequest) -> Emulator:
    """Each emulator in turn."""
    running: Emulator = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.fixture
def aws(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Each emulator in turn, and this process's own calls go to it."""
    return _bind(emulator, monkeypatch)


@pytest.fixture
def aws_on_moto(moto_server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """moto, and this process's own calls go to it."""
    return _bind(moto_server, monkeypatch)


@pytest.fixture
def aws_on_localstack(localstack_server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """LocalStack, and this process's own calls go to it."""
    return _bind(localstack_server, monkeypatch)


def _bind(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL_LAMBDA", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return emulator
