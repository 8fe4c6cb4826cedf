"""The whole path to AWS: asked for over HTTP, delivered by the running stack, found in the queue of an emulator."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from bench.stack import StackProcess, own_stack
from dev import processes
from tests.emulators import Emulator, unique

ENDED = ("completed", "failed")


@pytest.fixture(params=["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"])
def stack(aws: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StackProcess]:
    """`python -m dev` with the emulator in its environment, for all of AWS or for SQS alone."""
    environment = aws.environment()
    endpoint = environment.pop("AWS_ENDPOINT_URL")
    os.environ.pop("AWS_ENDPOINT_URL")  # `aws` has set it for this process, and puts it back
    with own_stack(tmp_path, {**environment, request.param: endpoint}) as running:
        yield running


def allow(stack: StackProcess, *patterns: str) -> None:
    """Let the demo merchant name these targets."""
    with psycopg.connect(stack.facts["database_url"]) as connection:
        connection.execute(
            "UPDATE merchants SET allowed_target_arns = %s WHERE id = %s",
            (list(patterns), UUID(stack.facts["merchant_id"])),
        )


def ended(api: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job, once it has ended."""
    found: dict[str, Any] = {}

    def look() -> bool:
        found.update(api.get(f"/jobs/{job['id']}").json())
        return found["status"] in ENDED

    assert processes.wait_until(look, 30), found
    return found


def test_a_job_reaches_the_queue_that_its_merchant_may_name_and_no_other(aws: Emulator, stack: StackProcess) -> None:
    queue = aws.queue()
    job = {"target": {"type": "sqs", "arn": queue.arn}, "payload": {"order": 7}}
    headers = {"x-api-key": stack.facts["api_key"]}
    with httpx.Client(base_url=stack.facts["url"], headers=headers, timeout=20, trust_env=False) as api:
        refused = api.post("/jobs", json=job)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/target/arn")

        allow(stack, aws.arn("sqs", "queue-*"))
        made = api.post("/jobs", json=job)
        assert made.status_code == 201, made.text
        assert ended(api, made.json())["status"] == "completed"
        (message,) = queue.messages()
        assert json.loads(message["Body"]) == {"order": 7}
        assert message["MessageAttributes"]["job_id"]["StringValue"] == made.json()["id"]

        missing = {"target": {"type": "sqs", "arn": aws.arn("sqs", unique("queue"))}, "delay_seconds": 0}
        failed = ended(api, api.post("/jobs", json=missing).json())
        assert (failed["status"], failed["retries"]) == ("failed", 0)
        assert "NonExistentQueue" in failed["last_error"]
        assert queue.is_empty()
