"""What routes declare about their answers; the schemas themselves are filled in by the OpenAPI route."""

from typing import Any

from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse


def answers(status: int, schema: str | None, description: str, *problems: int) -> dict[int, OpenAPIResponse]:
    """The success answer, whose schema has a name, and the statuses of the problems that this route can answer with."""
    success: dict[str, Any] = {"description": description}
    if schema is not None:
        success["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    found: dict[int, Any] = {status: success}
    return found | {problem: problem_answer() for problem in problems}


def problem_answer() -> dict[str, Any]:
    """Any problem, as an answer."""
    return {
        "description": "a problem: see its title and detail",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
