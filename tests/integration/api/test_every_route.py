"""Every route against what can be wrong with every route: no key, no permission, another's id, a bad body.

One database serves all cases of a test: that is what makes several hundred of them quick.
"""

import json
from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from api.app import KEYLESS
from api.handler import app
from tests.builders import store_jobs
from tests.producer import EVERYTHING, TARGET, Producer, Reply, call, event_of

JOB = {"target": TARGET}
TEMPLATE = {"name": "nightly", "target": TARGET, "interval_seconds": 3600}
UNKNOWN = "01a207c1-faa4-745d-ba5c-3431d75f074d"


NO_AUTHORIZERS: list[Any] = [
    None,
    {},
    {"key_id": "k"},
    {"merchant_id": "nonsense", "key_id": "k", "permissions": "jobs:read"},
    {"merchant_id": UNKNOWN, "key_id": "k"},
]
NO_OBJECTS = [
    "", " ", "null", "1", '"text"', "[]", "true", "{", '{"a":}', "{'a': 1}", '{"a": NaN}', '{"a": Infinity}',
    '{"a": "\\ud800"}', "[" * 5_000, '{"a":' * 5_000, '{"a": 1e999}', "{}}", "\ufeff{}", "\ud800",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One route: `{job}` and `{template}` in the path stand for a resource of the caller."""

    method: str
    path: str
    permission: str
    body: Any = None

    @property
    def names_a_resource(self) -> bool:
        return "{" in self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


CASES = [
    Case("POST", "/jobs", "jobs:write", JOB),
    Case("POST", "/jobs/batch", "jobs:write", {"jobs": [JOB]}),
    Case("GET", "/jobs", "jobs:read"),
    Case("GET", "/jobs/{job}", "jobs:read"),
    Case("GET", "/jobs/{job}/executions", "jobs:read"),
    Case("PATCH", "/jobs/{job}", "jobs:write", {"priority": 1}),
    Case("DELETE", "/jobs/{job}", "jobs:write"),
    Case("POST", "/jobs/{job}/run", "jobs:write"),
    Case("POST", "/jobs/{job}/retry", "jobs:write"),
    Case("GET", "/stats", "jobs:read"),
    Case("POST", "/templates", "templates:write", TEMPLATE),
    Case("POST", "/templates/preview", "templates:read", {"interval_seconds": 60}),
    Case("GET", "/templates", "templates:read"),
    Case("GET", "/templates/{template}", "templates:read"),
    Case("PATCH", "/templates/{template}", "templates:write", {"priority": 1}),
    Case("DELETE", "/templates/{template}", "templates:write"),
    Case("GET", "/templates/{template}/preview", "templates:read"),
    Case("POST", "/templates/{template}/run", "templates:write"),
]


def registered() -> set[tuple[str, str]]:
    """Every route with a key, its path parameters named as in the cases."""
    return {
        (route.method, route.path.replace("<job_id>", "{job}").replace("<template_id>", "{template}"))
        for route in app().routes()
        if route.path not in KEYLESS
    }


LIVE = [case for case in CASES if (case.method, case.path) in registered()]
RESOURCES = [case for case in LIVE if case.names_a_resource]
BODIES = [case for case in LIVE if case.body is not None]


def path_of(case: Case, api: str, producer: Producer) -> str:
    """The case's path, with a fresh job or template of the producer in it."""
    job, template = "", ""
    if "{job}" in case.path:
        job = str(store_jobs(api, producer.merchant_id)[0])
    if "{template}" in case.path:
        template = producer.post("/templates", TEMPLATE | {"name": f"template {uuid4()}"}).json["id"]
    return case.path.format(job=job, template=template)


def problem(reply: Reply, status: int) -> Any:
    """The reply's body, a problem with this status."""
    assert (reply.status, reply.media_type) == (status, "application/problem+json"), reply
    assert reply.json["status"] == status
    assert reply.json["title"]
    return reply.json


def test_every_route_has_a_case() -> None:
    assert registered() <= {(case.method, case.path) for case in CASES}


def test_without_a_key_context_the_answer_is_401(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    """I7: fails closed."""
    for case, (number, authorizer) in product(LIVE, enumerate(NO_AUTHORIZERS)):
        with subtests.test(case=str(case), authorizer=number):
            event = event_of(case.method, path_of(case, api, producer), case.body, authorizer=authorizer)
            problem(call(event), 401)


def test_without_the_permission_the_answer_is_403_and_names_it(
    api: str, producer: Producer, subtests: pytest.Subtests
) -> None:
    for case in LIVE:
        with subtests.test(case=str(case)):
            others = tuple(permission for permission in EVERYTHING if permission != case.permission)
            limited = Producer(producer.merchant_id, others)
            reply = limited.call(case.method, path_of(case, api, producer), case.body)
            assert case.permission in problem(reply, 403)["detail"]


def test_the_permission_alone_is_enough(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    for case in LIVE:
        with subtests.test(case=str(case)):
            limited = Producer(producer.merchant_id, (case.permission,))
            reply = limited.call(case.method, path_of(case, api, producer), case.body)
            assert reply.status in {200, 201, 202, 204, 409}, reply


def test_another_merchants_resource_is_a_404(
    api: str, producer: Producer, stranger: Producer, subtests: pytest.Subtests
) -> None:
    """I7."""
    for case in RESOURCES:
        with subtests.test(case=str(case)):
            problem(stranger.call(case.method, path_of(case, api, producer), case.body), 404)


def test_an_unknown_or_malformed_id_is_a_404(producer: Producer, subtests: pytest.Subtests) -> None:
    for case, identifier in product(RESOURCES, [UNKNOWN, "not-an-id", "0", "%00", "..", "01a207c1"]):
        with subtests.test(case=str(case), identifier=identifier):
            path = case.path.format(job=identifier, template=identifier)
            problem(producer.call(case.method, path, case.body), 404)


def test_an_unknown_query_parameter_is_refused(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    for case in LIVE:
        with subtests.test(case=str(case)):
            reply = producer.call(case.method, f"{path_of(case, api, producer)}?surprise=1", case.body)
            assert {"detail": "is not a known parameter", "parameter": "surprise"} in problem(reply, 422)["errors"]


def test_an_unknown_field_is_refused(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    for case in BODIES:
        with subtests.test(case=str(case)):
            reply = producer.call(case.method, path_of(case, api, producer), case.body | {"sur/prise": 1})
            assert {"detail": "is not a known field", "pointer": "/sur~1prise"} in problem(reply, 422)["errors"]


def test_what_is_not_a_json_object_is_a_422(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    for case in BODIES:
        path = path_of(case, api, producer)
        for raw in NO_OBJECTS:
            with subtests.test(case=str(case), raw=raw[:20]):
                assert problem(producer.call(case.method, path, raw=raw), 422)["errors"]


def test_every_member_of_a_wrong_type_is_a_422(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    for case in BODIES:
        for name in case.body:
            with subtests.test(case=str(case), name=name):
                reply = producer.call(case.method, path_of(case, api, producer), case.body | {name: 1.5})
                assert all(fault["pointer"].startswith(f"/{name}") for fault in problem(reply, 422)["errors"])


def test_a_body_that_is_too_large_is_a_413(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    padding = "x" * (6 * 1024 * 1024)
    for case in BODIES:
        with subtests.test(case=str(case)):
            path, raw = path_of(case, api, producer), json.dumps(case.body | {"padding": padding})
            problem(producer.call(case.method, path, raw=raw), 413)
            problem(producer.call(case.method, path, raw=raw, encoded=True), 413)


def test_a_base64_body_of_any_content_type_is_read(api: str, producer: Producer, subtests: pytest.Subtests) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    for case in BODIES:
        with subtests.test(case=str(case)):
            path = path_of(case, api, producer)
            reply = producer.call(case.method, path, case.body, encoded=True, headers=form)
            assert reply.status in {200, 201, 202}, reply


@pytest.mark.parametrize("path", sorted(KEYLESS))
def test_a_route_without_a_key_answers_everyone(api: str, path: str) -> None:
    assert call(event_of("GET", path)).status == 200


@pytest.mark.parametrize("path", ["/", "/job", "/jobs/", "/jobs/1/2/3", "/jobs/batch/1", "/openapi.yaml"])
def test_an_unknown_path_is_a_404(producer: Producer, path: str) -> None:
    problem(producer.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/jobs", "GET, POST"), ("DELETE", "/stats", "GET"), ("POST", f"/jobs/{UNKNOWN}", "DELETE, GET, PATCH")],
)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    producer: Producer, method: str, path: str, allowed: str
) -> None:
    reply = producer.call(method, path)
    problem(reply, 405)
    assert reply.headers["allow"] == allowed


def test_a_route_that_declares_no_permission_is_closed(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """I7: forgetting the declaration opens nothing."""
    route = next(route for route in app().routes() if route.path == "/stats")
    monkeypatch.setattr(route, "security", None)
    problem(producer.get("/stats"), 403)
