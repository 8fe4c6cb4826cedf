"""What each function is asked first in a cold start, and how its answer shows that it did it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from hosting.events import Request, authorizer_event, request_event
from scheduler_core.security.api_keys import PERMISSIONS

_LEAD: Final = timedelta(hours=1)
"""Outside the horizon: the job is stored, and nobody is woken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Producer:
    """Who asks."""

    merchant_id: UUID
    api_key: str = field(repr=False)


type Event = dict[str, Any]


def _create_job(producer: Producer, now: datetime) -> Event:
    body = {
        "target": {"type": "http", "url": "https://example.com/hook"},
        "payload": {"hello": "world"},
        "scheduled_at": (now + _LEAD).isoformat(),
    }
    return request_event(
        _request(producer, json.dumps(body).encode()),
        route_key="POST /jobs",
        path_parameters={},
        request_id="cold",
        now=now,
        authorizer_context={
            "merchant_id": str(producer.merchant_id),
            "key_id": "cold",
            "permissions": " ".join(PERMISSIONS),
        },
    )


def _present_key(producer: Producer, now: datetime) -> Event:
    return authorizer_event(
        _request(producer),
        route_key="POST /jobs",
        path_parameters={},
        request_id="cold",
        now=now,
        identity=[producer.api_key],
    )


def _tick(_: Producer, __: datetime) -> Event:
    return {"reason": "tick"}


def _deploy(_: Producer, __: datetime) -> Event:
    return {}


def _request(producer: Producer, body: bytes = b"") -> Request:
    headers = [("host", "cold.example"), ("content-type", "application/json"), ("x-api-key", producer.api_key)]
    return Request(method="POST", path="/jobs", query="", headers=headers, source_ip="127.0.0.1", body=body)


FIRST_EVENTS: Final[Mapping[str, Callable[[Producer, datetime], Event]]] = {
    "api": _create_job,
    "authorizer": _present_key,
    "executor": _tick,
    "migrator": _deploy,
    "populator": _tick,
    "recurrence": _tick,
    "watcher": _tick,
}

_GOOD: Final[Mapping[str, Callable[[Mapping[str, Any]], bool]]] = {
    "api": lambda answer: answer.get("statusCode") == 201,
    "authorizer": lambda answer: answer.get("isAuthorized") is True,
    "executor": lambda answer: answer.get("claimed") == 0,
    "migrator": lambda answer: answer.get("applied") == [],
    "populator": lambda answer: answer.get("complete") is True,
    "recurrence": lambda answer: answer.get("complete") is True,
    "watcher": lambda answer: answer.get("passes", 0) >= 1,
}


def is_good(function: str, answer: object) -> bool:
    """Whether the function did what it was asked."""
    return isinstance(answer, Mapping) and _GOOD[function](answer)
