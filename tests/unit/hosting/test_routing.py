"""Which route a request has."""

from pathlib import Path

import pytest

from hosting.routing import Routes
from hosting.template import read_template

ROUTES = Routes(read_template(Path(__file__).parents[2] / "fixtures" / "template.yaml").routes)


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/open", "GET /open", {}),
        ("GET", "/things/preview", "GET /things/preview", {}),
        ("GET", "/things/7", "GET /things/{id}", {"id": "7"}),
        ("DELETE", "/things/7/parts/a.b", "DELETE /things/{id}/parts/{part}", {"id": "7", "part": "a.b"}),
        ("GET", "/files/a/b/c", "GET /files/{path+}", {"path": "a/b/c"}),
    ],
)
def test_an_exact_path_goes_before_one_with_parameters(
    method: str, path: str, key: str, parameters: dict[str, str]
) -> None:
    match = ROUTES.match(method, path)
    assert match is not None
    assert (match.route.key, dict(match.parameters)) == (key, parameters)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/things/7/"), ("GET", "/things/"), ("POST", "/open"), ("GET", "/")]
)
def test_what_no_route_fits_has_none(method: str, path: str) -> None:
    assert ROUTES.match(method, path) is None


def test_a_path_knows_its_methods() -> None:
    assert ROUTES.methods_of("/things") == ["POST"]
    assert ROUTES.methods_of("/things/preview") == ["GET"]
    assert ROUTES.methods_of("/nowhere") == []
