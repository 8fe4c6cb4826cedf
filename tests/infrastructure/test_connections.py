"""No proxy: what bounds the connections to the database is how many environments there may be."""

import ast
import tomllib
from typing import Any

import pytest

from executor import crew
from tests.infrastructure.calls import closure, tree_of
from tests.infrastructure.templates import FUNCTIONS, MAIN, MONITORING, ROOT, defaults, functions_of, read

CONNECTIONS = {"api": 2, "executor": 4}
"""Per environment; one for all others. The API's second one answers /health; see each function's wiring."""
LENT = {"executor": crew._PARTS}
"""An executor makes its connections in one place, one for each of these."""
KEPT_BY_RDS = 20
"""For RDS' own superuser, IAM's and monitoring's sessions, and an operator."""


def databases_held_by(function: str) -> int:
    """How often the function's own code makes a Database, which is one connection, without closing it at once."""
    return sum(
        _made_in(body)
        for name in closure(function)
        if name.split(".")[0] == function
        for body in _scopes(tree_of(name))
        if not any(isinstance(each, ast.Attribute) and each.attr == "close" for each in ast.walk(body))
    )


def _scopes(tree: ast.Module) -> list[ast.stmt]:
    """A module's functions and its classes' methods."""
    classes = [each for each in tree.body if isinstance(each, ast.ClassDef)]
    return [
        each for each in [*tree.body, *(it for one in classes for it in one.body)] if isinstance(each, ast.FunctionDef)
    ]


def _made_in(body: ast.stmt) -> int:
    return sum(
        isinstance(each, ast.Call) and ast.unparse(each.func) in {"Database", "Database.connect"}
        for each in ast.walk(body)
    )


@pytest.mark.parametrize("function", [each for each in FUNCTIONS if each != "migrator"])
def test_the_code_holds_as_many_connections_as_are_reckoned_with(function: str) -> None:
    assert databases_held_by(function) * len(LENT.get(function, ("one",))) == CONNECTIONS.get(function, 1)


def reserved(function: str, parameters: dict[str, str]) -> int:
    """How many environments of it there may be, with these parameters."""
    value = functions_of(read(MAIN))[function]["ReservedConcurrentExecutions"]
    condition, number, otherwise = value["Fn::If"]
    assert (condition, otherwise) == ("Reserve", {"Ref": "AWS::NoValue"})
    return int(parameters[number["Ref"]]) if isinstance(number, dict) else int(number)


def total(parameters: dict[str, str]) -> int:
    return sum(reserved(each, parameters) * CONNECTIONS.get(each, 1) for each in FUNCTIONS)


def allowed(parameters: dict[str, str]) -> int:
    return int(read(MONITORING)["Mappings"]["Connections"][parameters["DatabaseMaxCapacity"]]["Allowed"])


def of_environment(name: str) -> dict[str, str]:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    given = config[name]["deploy"]["parameters"]["parameter_overrides"]
    return defaults() | dict(each.split("=", 1) for each in given)


def test_as_many_executors_run_as_the_populator_asks_for_and_no_more() -> None:
    functions = functions_of(read(MAIN))
    assert functions["executor"]["ReservedConcurrentExecutions"]["Fn::If"][1] == {"Ref": "MaxExecutors"}
    assert functions["populator"]["Environment"]["Variables"]["MAX_EXECUTORS"] == {"Ref": "MaxExecutors"}


def test_the_defaults_fit_the_database() -> None:
    assert total(defaults()) == 10 * 4 + 40 * 2 + 20 + 4 * 2
    assert total(defaults()) + KEPT_BY_RDS < allowed(defaults()) == 823
    assert total(defaults()) + KEPT_BY_RDS < 189, "and even the smallest that can be chosen"


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_every_environment_of_samconfig_fits_its_database(environment: str) -> None:
    parameters = of_environment(environment)
    assert total(parameters) + KEPT_BY_RDS < allowed(parameters)
    assert set(parameters) == set(defaults()), "samconfig names a parameter that there is not"


def test_a_sum_that_does_not_fit_is_noticed() -> None:
    many = defaults() | {"MaxExecutors": "300"}
    assert total(many) > allowed(many)


def test_the_alarm_rings_at_four_fifths_of_every_size_that_can_be_chosen() -> None:
    sizes: dict[str, Any] = read(MONITORING)["Mappings"]["Connections"]
    assert sorted(map(int, sizes)) == read(MAIN)["Parameters"]["DatabaseMaxCapacity"]["AllowedValues"]
    for size in sizes.values():
        assert size["Many"] == size["Allowed"] * 4 // 5
