"""The OpenAPI document is valid, true to the routes, and true to what is answered."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # has no types of its own
from openapi_spec_validator import validate

from api.app import KEYLESS, SCHEME
from api.handler import app
from tests.producer import TARGET, Producer, call, event_of


@pytest.fixture
def document(api: str) -> Any:
    """The document as served."""
    return call(event_of("GET", "/openapi.json")).json


def check(document: Any, schema: str, value: Any) -> None:
    """Whether the value is as the document says."""
    Draft202012Validator(document | {"$ref": f"#/components/schemas/{schema}"}).validate(value)


def test_it_is_a_valid_openapi_3_1_document(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_it_names_every_route_with_its_permission_and_problems(document: Any) -> None:
    for route in app().routes():
        if route.path in {"/openapi.json", "/docs"}:
            continue
        operation = document["paths"][route.openapi_path][route.method.lower()]
        assert operation["summary"]
        assert {"422", "500", "503"} <= set(operation["responses"])
        if route.path in KEYLESS:
            assert operation["security"] == []
            continue
        (requirement,) = operation["security"]
        assert requirement[SCHEME][0].split(":")[0] in {"jobs", "templates"}
        assert {"401", "403", "429"} <= set(operation["responses"])


def test_every_problem_is_declared_as_one(document: Any) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                assert int(status) < 400 or list(answer["content"]) == ["application/problem+json"]


def test_answers_are_as_declared(document: Any, producer: Producer) -> None:
    body = {"target": TARGET, "payload": {"a": 1}, "reference_id": "r", "metadata": {"k": "v"}}
    check(document, "JobCreate", body)
    job = producer.post("/jobs", body)
    check(document, "Job", job.json)
    check(document, "Job", producer.delete(job.headers["location"]).json)
    check(document, "JobPage", producer.get("/jobs").json)
    check(document, "ExecutionPage", producer.get(f"{job.headers['location']}/executions").json)
    check(document, "BatchOutcome", producer.post("/jobs/batch", {"jobs": [body, {}, 5]}).json)
    check(document, "Stats", producer.get("/stats").json)
    check(document, "Health", producer.get("/health").json)
    check(document, "Problem", producer.post("/jobs", {"x": 1}).json)
    check(document, "Problem", producer.get("/jobs?limit=0").json)


def test_the_page_loads_nothing_from_elsewhere(api: str) -> None:
    page = call(event_of("GET", "/docs"))
    assert page.media_type.startswith("text/html")
    assert "SwaggerUIBundle" in page.text
    assert '<script src="' not in page.text
    assert '<link rel="stylesheet"' not in page.text
