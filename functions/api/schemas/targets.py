"""Where a delivery goes: an HTTP address, or an AWS resource by its ARN."""

import re
from functools import lru_cache
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from api.schemas.fields import Body, Text
from scheduler_core.domain.hosts import MAX_URL_CHARACTERS, parse_http_url

MAX_HEADERS: Final = 50
MAX_HEADER_BYTES: Final = 16 * 1024
"""Of all names and values together."""
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]{0,8192}")
_REFUSED_HEADERS: Final = frozenset(
    {
        "connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "traceparent", "tracestate",
    }
)  # fmt: skip
_REFUSED_PREFIXES: Final = ("webhook-", "x-scheduler-")


@lru_cache(maxsize=4_096)
def _checked_url(url: str) -> str:
    try:
        parse_http_url(url)
    except ValueError as error:
        raise PydanticCustomError("url", "{reason}", {"reason": str(error)}) from error
    if "@" in urlsplit(url).netloc:
        raise PydanticCustomError("url", "should carry no user name or password: use a header")
    return url


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    if not headers:
        return headers
    if len({name.lower() for name in headers}) < len(headers):
        raise PydanticCustomError("headers", "should name each header once, whatever the case")
    if sum(map(len, headers)) + sum(map(len, headers.values())) > MAX_HEADER_BYTES:
        raise PydanticCustomError("headers", "should hold at most {most} bytes", {"most": MAX_HEADER_BYTES})
    for name, value in headers.items():
        lowered = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise PydanticCustomError("headers", "should hold valid header names (RFC 9110) only")
        if lowered in _REFUSED_HEADERS or lowered.startswith(_REFUSED_PREFIXES):
            raise PydanticCustomError("headers", "should not set {name}: the scheduler does", {"name": lowered})
        if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
            raise PydanticCustomError("headers", "should give {name} a value of visible ASCII", {"name": lowered})
    return headers


Url = Annotated[
    str,
    Field(min_length=1, max_length=MAX_URL_CHARACTERS),
    AfterValidator(_checked_url),
    WithJsonSchema({"type": "string", "format": "uri", "pattern": "^https?://", "maxLength": MAX_URL_CHARACTERS}),
]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
Headers = Annotated[dict[str, str], Field(max_length=MAX_HEADERS), AfterValidator(_checked_headers)]


class HttpTarget(Body):
    """An HTTP request. Its headers must leave out what the scheduler sets itself: `host`, `content-length`, hop-by-hop
    headers, `traceparent`, `webhook-*` and `x-scheduler-*`.
    """

    type: Literal["http"]
    url: Url
    method: Method = "POST"
    headers: Headers = Field(default_factory=dict)


def _arn(service: str, resource: str) -> Any:
    return StringConstraints(
        max_length=2_048, pattern=rf"^arn:aws[a-z-]{{0,20}}:{service}:[a-z0-9-]{{1,40}}:[0-9]{{12}}:{resource}$"
    )


class LambdaTarget(Body):
    """A Lambda function, invoked asynchronously with the payload as its event."""

    type: Literal["lambda"]
    arn: Annotated[str, _arn("lambda", r"function:[A-Za-z0-9_-]{1,140}(:[A-Za-z0-9_$-]{1,128})?")]


class SqsTarget(Body):
    """An SQS queue; a FIFO queue needs a `message_group_id`."""

    type: Literal["sqs"]
    arn: Annotated[str, _arn("sqs", r"[A-Za-z0-9_-]{1,80}(\.fifo)?")]
    message_group_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")] | None = None

    @model_validator(mode="after")
    def _group_fits_queue(self) -> "SqsTarget":
        if self.arn.endswith(".fifo") != (self.message_group_id is not None):
            raise PydanticCustomError("fifo", "should have a message_group_id for a FIFO queue, and for no other")
        return self


class SnsTarget(Body):
    """An SNS topic."""

    type: Literal["sns"]
    arn: Annotated[str, _arn("sns", r"[A-Za-z0-9_-]{1,256}")]


class EventBridgeTarget(Body):
    """An EventBridge event bus; the payload is the event's detail."""

    type: Literal["eventbridge"]
    arn: Annotated[str, _arn("events", r"event-bus/[A-Za-z0-9/._-]{1,256}")]
    detail_type: Annotated[Text, StringConstraints(min_length=1, max_length=128)]
    source: Annotated[Text, StringConstraints(min_length=1, max_length=256)]


class StepFunctionsTarget(Body):
    """A Step Functions state machine, started with the payload as its input."""

    type: Literal["stepfunctions"]
    arn: Annotated[str, _arn("states", r"stateMachine:[A-Za-z0-9_-]{1,80}")]


AwsTarget = LambdaTarget | SqsTarget | SnsTarget | EventBridgeTarget | StepFunctionsTarget
Target = Annotated[HttpTarget | AwsTarget, Field(discriminator="type")]

_ADAPTER: Final[TypeAdapter[HttpTarget | AwsTarget]] = TypeAdapter(Target)


def valid_target(target: Any) -> HttpTarget | AwsTarget:
    """A target as a model. Raises ValidationError."""
    return _ADAPTER.validate_python(target)


def target_text(target: HttpTarget | AwsTarget) -> str:
    """The target as the JSON text that is stored and delivered from."""
    if isinstance(target, HttpTarget) and not target.headers:
        return _plain_text(target.url, target.method)
    return _ADAPTER.dump_json(target, exclude_none=True).decode()


@lru_cache(maxsize=4_096)
def _plain_text(url: str, method: Method) -> str:
    """Many jobs of a batch go to the same few places."""
    return _ADAPTER.dump_json(HttpTarget(type="http", url=url, method=method)).decode()
