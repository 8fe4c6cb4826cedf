"""What a function's process finds in its environment."""

from pathlib import Path

from hosting.environments import documented_settings, environment_of
from hosting.template import read_template

STUB = read_template(Path(__file__).parents[2] / "fixtures" / "template.yaml").function("stub")


def test_a_function_sees_what_its_template_declares_and_nothing_of_ours() -> None:
    environment = environment_of(STUB, supplied={}, own={"PATH": "/bin", "MY_TOKEN": "x"})
    assert environment["EVERYWHERE"] == "yes"
    assert environment["FROM_DEFAULT"] == "7"
    assert environment["PATH"] == "/bin"
    assert "MY_TOKEN" not in environment
    assert "FROM_NOWHERE" not in environment


def test_what_is_supplied_reaches_only_functions_that_declare_it() -> None:
    environment = environment_of(STUB, supplied={"NAMED": "stub", "DATABASE_URL": "x"}, own={})
    assert environment["NAMED"] == "stub"
    assert "DATABASE_URL" not in environment


def test_a_setting_is_tuned_from_outside() -> None:
    own = {"FROM_DEFAULT": "9", "LEASE_SECONDS": "2", "OTHER": "x"}
    environment = environment_of(STUB, supplied={}, own=own, settings=frozenset({"LEASE_SECONDS"}))
    assert environment["FROM_DEFAULT"] == "9"
    assert environment["LEASE_SECONDS"] == "2"
    assert "OTHER" not in environment


def test_lambdas_own_variables_are_there() -> None:
    environment = environment_of(STUB, supplied={}, own={})
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "stub"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["_HANDLER"] == "stub.handler.lambda_handler"


def test_documented_settings_are_read_from_the_example(tmp_path: Path) -> None:
    example = tmp_path / ".env.example"
    example.write_text("# Words = not a setting\nONE=1\n# TWO=\n#THREE=3\n", encoding="utf-8")
    assert documented_settings(example) == {"ONE", "TWO", "THREE"}
