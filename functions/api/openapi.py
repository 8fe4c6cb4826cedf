"""The OpenAPI 3.1 document: Powertools' own for paths and bodies, with our answers, problems and key filled in."""

import json
from functools import cache
from typing import Any, Final

from aws_lambda_powertools.event_handler.openapi.models import APIKey, APIKeyIn
from pydantic.json_schema import models_json_schema

from api.app import KEYLESS, SCHEME, Api
from api.contract import problem_answer
from api.schemas.template_views import TEMPLATE_VIEWS
from api.schemas.views import VIEWS

VERSION: Final = "1.0.0"
_EVERYWHERE: Final = ("422", "500", "503")
_WITH_KEY: Final = ("401", "403", "429")
_DESCRIPTION: Final = (
    "Ask for jobs, once or again and again; each is a delivery made at its time, at least once. Times are RFC 3339 "
    "with an offset, answered in UTC; errors are problem details (RFC 9457), a 422 with one entry for each fault."
)


_KEY_DESCRIPTION: Final = "each route names the permission that its key needs"


def document(app: Api) -> dict[str, Any]:
    """The whole document."""
    found: dict[str, Any] = json.loads(
        app.get_openapi_json_schema(
            title="Task scheduler",
            version=VERSION,
            description=_DESCRIPTION,
            security_schemes={SCHEME: APIKey(name="x-api-key", in_=APIKeyIn.header, description=_KEY_DESCRIPTION)},
        )
    )
    found["openapi"] = "3.1.0"
    found.pop("servers", None)
    for path, methods in found["paths"].items():
        for operation in methods.values():
            _complete(operation, with_key=path not in KEYLESS)
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        schemas.pop(unused, None)
    schemas.update(_views())
    return found


def _complete(operation: dict[str, Any], *, with_key: bool) -> None:
    answers = operation["responses"]
    for status in (*_EVERYWHERE, *(_WITH_KEY if with_key else ())):
        answers[status] = problem_answer()
    if not with_key:
        operation["security"] = []


@cache
def _views() -> dict[str, Any]:
    _, schema = models_json_schema(
        [(view, "serialization") for view in (*VIEWS, *TEMPLATE_VIEWS)], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = schema["$defs"]
    return found
