"""Reads template.yaml: what API Gateway, Lambda and EventBridge would be told, as frozen values.

Only what the local stack needs is understood; an intrinsic function is resolved where a parameter's default
allows it, and is None otherwise (the stack then supplies the value).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from hosting.cloudformation import parse

_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_LAMBDA_RETRIES = 2
_GATEWAY_AUTHORIZER_TTL = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A Lambda function. `name` is the first part of its handler, `api` for `api.handler.lambda_handler`."""

    name: str
    logical_id: str
    handler: str
    timeout_seconds: int
    memory_mb: int
    environment: Mapping[str, str | None]
    max_retry_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method and a path of the HTTP API; `authorizer` is None where anyone may call."""

    method: str
    path: str
    function: str
    authorizer: str | None

    @property
    def key(self) -> str:
        """The gateway's name for it: `GET /jobs/{id}`."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizer:
    """A Lambda authorizer with payload format 2.0 and simple responses; its answer holds for `ttl_seconds`."""

    name: str
    function: str
    headers: tuple[str, ...]
    ttl_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A function that is invoked asynchronously at a rate."""

    name: str
    function: str
    every: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Everything the local stack takes from template.yaml."""

    functions: tuple[Function, ...]
    routes: tuple[Route, ...]
    authorizers: tuple[Authorizer, ...]
    schedules: tuple[Schedule, ...]

    def function(self, name: str) -> Function:
        """The function of that name. Raises KeyError."""
        for function in self.functions:
            if function.name == name:
                return function
        raise KeyError(name)


class TemplateError(Exception):
    """template.yaml says something that the local stack does not understand."""


def read_template(path: Path) -> Template:
    """Read a SAM template. Raises TemplateError for a schedule or an authorizer of an unknown kind."""
    document = parse(path.read_text(encoding="utf-8"))
    resources: dict[str, dict[str, Any]] = document["Resources"]
    defaults = {name: spec.get("Default") for name, spec in document.get("Parameters", {}).items()}
    shared = document.get("Globals", {}).get("Function", {})
    found = {k: r["Properties"] for k, r in resources.items() if r["Type"] == "AWS::Serverless::Function"}
    names = {logical_id: properties["Handler"].split(".")[0] for logical_id, properties in found.items()}
    apis = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::Serverless::HttpApi"]
    auth = apis[0].get("Auth", {}) if apis else {}
    events = [(names[k], name, event) for k, p in found.items() for name, event in p.get("Events", {}).items()]
    return Template(
        functions=tuple(_function(k, names[k], {**shared, **p}, shared, defaults) for k, p in found.items()),
        routes=tuple(
            _route(function, event["Properties"], auth.get("DefaultAuthorizer"))
            for function, _, event in events
            if event["Type"] == "HttpApi"
        ),
        authorizers=tuple(_authorizer(n, spec, names, defaults) for n, spec in auth.get("Authorizers", {}).items()),
        schedules=tuple(
            Schedule(name=name, function=function, every=_rate(event["Properties"]))
            for function, name, event in events
            if event["Type"] in ("Schedule", "ScheduleV2")
        ),
    )


def _function(
    logical_id: str, name: str, properties: dict[str, Any], shared: dict[str, Any], defaults: dict[str, Any]
) -> Function:
    variables = {
        **shared.get("Environment", {}).get("Variables", {}),
        **properties.get("Environment", {}).get("Variables", {}),
    }
    return Function(
        name=name,
        logical_id=logical_id,
        handler=properties["Handler"],
        timeout_seconds=int(properties.get("Timeout", 3)),
        memory_mb=int(properties.get("MemorySize", 128)),
        environment={key: _resolved(value, defaults) for key, value in variables.items()},
        max_retry_attempts=int(properties.get("EventInvokeConfig", {}).get("MaximumRetryAttempts", _LAMBDA_RETRIES)),
    )


def _resolved(value: object, defaults: dict[str, Any]) -> str | None:
    if isinstance(value, dict):
        default = defaults.get(value.get("Ref", ""))
        return None if default is None else str(default)
    return str(value)


def _route(function: str, properties: dict[str, Any], default_authorizer: str | None) -> Route:
    authorizer = properties.get("Auth", {}).get("Authorizer", default_authorizer)
    return Route(
        method=properties["Method"].upper(),
        path=properties["Path"],
        function=function,
        authorizer=None if authorizer == "NONE" else authorizer,
    )


def _authorizer(name: str, spec: dict[str, Any], names: dict[str, str], defaults: dict[str, Any]) -> Authorizer:
    if str(spec.get("AuthorizerPayloadFormatVersion")) != "2.0" or not spec.get("EnableSimpleResponses"):
        raise TemplateError(f"authorizer {name}: only payload format 2.0 with simple responses is understood")
    identity = spec.get("Identity", {})
    ttl = _resolved(identity.get("ReauthorizeEvery", _GATEWAY_AUTHORIZER_TTL), defaults)
    if ttl is None:
        raise TemplateError(f"authorizer {name}: ReauthorizeEvery is neither a number nor a parameter with a default")
    referred = function_referred_to(spec["FunctionArn"])
    return Authorizer(
        name=name,
        function=names.get(referred, referred),
        headers=tuple(header.lower() for header in identity.get("Headers", [])),
        ttl_seconds=int(ttl),
    )


def function_referred_to(arn: dict[str, Any]) -> str:
    """What a reference to a function says of it: its logical id or its short name.

    The id in `!GetAtt Function.Arn`, `!Ref Function.Alias` and `!Sub "${Function.Arn}:alias"`, the name in
    `!Sub "arn:...:function:${AWS::StackName}-name:alias"`.
    """
    (said,) = arn.values()
    text = str(said[0] if isinstance(said, list) else said)
    if ":function:${AWS::StackName}-" in text:
        return text.rpartition(":function:${AWS::StackName}-")[2].partition(":")[0]
    return text.removeprefix("${").partition(".")[0]


def _rate(properties: dict[str, Any]) -> timedelta:
    expression = properties.get("ScheduleExpression") or properties.get("Schedule")
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", str(expression))
    if match is None:
        raise TemplateError(f"only rate(...) schedules are understood, not {expression}")
    return int(match[1]) * _UNITS[match[2]]
