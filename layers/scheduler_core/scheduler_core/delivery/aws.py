"""Hands payloads to AWS services. Imported only when such a target comes up: boto3 costs half a second.

Lambda is invoked asynchronously, SQS and SNS carry the payload as the message with `job_id` and `attempt` as message
attributes, EventBridge as the event's detail, Step Functions as the input of an execution named after job and attempt.
A job without a payload sends `{}`. Endpoints and credentials come from the environment, as boto3 finds them.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from scheduler_core.domain.jobs import ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult, Verdict
from scheduler_core.domain.targets import AwsService, AwsTarget

_THREADS: Final = 16
_TIME_LIMITS: Final = (10, 5, 2, 1)
"""Seconds for a whole call; a client per limit, since boto3 ties timeouts to clients. All these calls are short."""
_CLIENT_NAMES: Final = {
    AwsService.LAMBDA: "lambda",
    AwsService.SQS: "sqs",
    AwsService.SNS: "sns",
    AwsService.EVENTBRIDGE: "events",
    AwsService.STEP_FUNCTIONS: "stepfunctions",
}
_PASSING: Final = frozenset(
    {
        "ExecutionLimitExceeded", "ExpiredToken", "ExpiredTokenException", "InternalException", "InternalFailure",
        "KMSThrottlingException", "KmsThrottled", "OverLimit", "ProvisionedThroughputExceededException",
        "RequestExpired", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "RequestTimeout",
        "ServiceUnavailable", "SlowDown", "Throttled", "ThrottledException", "Throttling", "ThrottlingException",
        "TooManyRequestsException",
    }
)  # fmt: skip
"""Error codes below status 500 after which trying again makes sense."""
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500

Send = Callable[[Any, ClaimedJob, AwsTarget], dict[str, Any]]
Answer = Callable[[DeliveryResult], None]


class EntryRefusedError(Exception):
    """EventBridge answered 200, yet did not take the event."""


class AwsDesk:
    """A small pool of threads that call AWS; every call ends within its job's timeout."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="aws")
        self._session = boto3.session.Session()
        self._clients: dict[tuple[AwsService, str, int], Any] = {}
        self._lock = threading.Lock()

    def send(self, job: ClaimedJob, target: AwsTarget, answer: Answer) -> None:
        """Hand `job`'s payload to `target`; `answer` is called with the result, from a thread of the pool."""
        self._pool.submit(lambda: answer(self._result(job, target)))

    def close(self) -> None:
        """Begin no further call; those under way are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _result(self, job: ClaimedJob, target: AwsTarget) -> DeliveryResult:
        started_at = self._clock()
        status: int | None = None
        error: str | None = None
        try:
            answered = _SENDERS[target.service](self._client(job, target), job, target)
            status = answered["ResponseMetadata"]["HTTPStatusCode"]
            verdict = Verdict.DONE
        except Exception as trouble:  # noqa: BLE001 - whatever it is, the job gets a result
            verdict, status, error = _judge(trouble, target)
        return DeliveryResult(verdict, started_at, self._clock(), status, error)

    def _client(self, job: ClaimedJob, target: AwsTarget) -> Any:
        limit = next((limit for limit in _TIME_LIMITS if limit <= job.timeout_seconds), _TIME_LIMITS[-1])
        key = (target.service, target.parts.region, limit)
        with self._lock:
            if key not in self._clients:
                timeouts = Config(
                    connect_timeout=limit / 2,
                    read_timeout=limit / 2,
                    retries={"total_max_attempts": 1},  # the scheduler retries
                    max_pool_connections=_THREADS,
                )
                name: Any = _CLIENT_NAMES[target.service]
                self._clients[key] = self._session.client(name, region_name=target.parts.region, config=timeouts)
            return self._clients[key]


def _invoke(client: Any, job: ClaimedJob, target: AwsTarget) -> dict[str, Any]:
    answered: dict[str, Any] = client.invoke(
        FunctionName=target.arn, InvocationType="Event", Payload=_payload(job).encode()
    )
    return answered


def _send_message(client: Any, job: ClaimedJob, target: AwsTarget) -> dict[str, Any]:
    queue = f"{client.meta.endpoint_url}/{target.parts.account}/{target.parts.resource}"
    answered: dict[str, Any] = client.send_message(
        QueueUrl=queue, MessageBody=_payload(job), MessageAttributes=_attributes(job), **_fifo(job, target)
    )
    return answered


def _publish(client: Any, job: ClaimedJob, target: AwsTarget) -> dict[str, Any]:
    answered: dict[str, Any] = client.publish(
        TopicArn=target.arn, Message=_payload(job), MessageAttributes=_attributes(job), **_fifo(job, target)
    )
    return answered


def _put_event(client: Any, job: ClaimedJob, target: AwsTarget) -> dict[str, Any]:
    entry = {
        "EventBusName": target.arn,
        "Source": target.source or "task-scheduler",
        "DetailType": target.detail_type or "job",
        "Detail": _payload(job),
        "Resources": [str(job.id)],
    }
    answered: dict[str, Any] = client.put_events(Entries=[entry])
    if answered["FailedEntryCount"]:
        raise EntryRefusedError(answered["Entries"][0].get("ErrorCode", "InternalFailure"))
    return answered


def _start_execution(client: Any, job: ClaimedJob, target: AwsTarget) -> dict[str, Any]:
    answered: dict[str, Any] = client.start_execution(
        stateMachineArn=target.arn, name=f"{job.id}-{job.attempt}", input=_payload(job)
    )
    return answered


_SENDERS: Final[dict[AwsService, Send]] = {
    AwsService.LAMBDA: _invoke,
    AwsService.SQS: _send_message,
    AwsService.SNS: _publish,
    AwsService.EVENTBRIDGE: _put_event,
    AwsService.STEP_FUNCTIONS: _start_execution,
}


def _payload(job: ClaimedJob) -> str:
    return "{}" if job.payload is None else job.payload


def _attributes(job: ClaimedJob) -> dict[str, dict[str, str]]:
    return {
        "job_id": {"DataType": "String", "StringValue": str(job.id)},
        "attempt": {"DataType": "Number", "StringValue": str(job.attempt)},
    }


def _fifo(job: ClaimedJob, target: AwsTarget) -> dict[str, str]:
    """One job is one message, whatever its attempt: a lost answer cannot double it within five minutes."""
    if not target.arn.endswith(".fifo"):
        return {}
    return {"MessageGroupId": target.message_group_id or str(job.id), "MessageDeduplicationId": str(job.id)}


def _judge(trouble: Exception, target: AwsTarget) -> tuple[Verdict, int | None, str | None]:
    """Verdict, HTTP status and text of a failed call. AWS's own texts are left out: some quote the payload."""
    service = target.service.value
    if isinstance(trouble, ClientError):
        code = trouble.response.get("Error", {}).get("Code", "Unknown")
        status = trouble.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code == "ExecutionAlreadyExists":  # this very attempt was taken before
            return Verdict.DONE, status, None
        passing = code in _PASSING or (status or 0) == _TOO_MANY or (status or 0) >= _SERVER_ERROR
        return Verdict.RETRYABLE if passing else Verdict.PERMANENT, status, f"{service} refused it: {code}"
    if isinstance(trouble, EntryRefusedError):
        verdict = Verdict.RETRYABLE if str(trouble) in _PASSING else Verdict.PERMANENT
        return verdict, None, f"{service} refused it: {trouble}"
    if isinstance(trouble, ParamValidationError):
        return Verdict.PERMANENT, None, f"the job does not fit {service}"
    if isinstance(trouble, BotoCoreError):
        return Verdict.RETRYABLE, None, f"could not reach {service} ({type(trouble).__name__})"
    return Verdict.RETRYABLE, None, f"the scheduler could not deliver to {service} ({type(trouble).__name__})"
