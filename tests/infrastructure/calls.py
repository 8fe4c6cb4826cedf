"""What each function asks of AWS, read from its code: nothing here is a list of permissions that somebody wrote down.

A function's code is its own package and every module of the layer that it imports, however deep and however late.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import botocore.session
from botocore import xform_name

from tests.infrastructure.templates import ROOT

_FUNCTIONS = ROOT / "functions"
_LAYER = ROOT / "layers" / "scheduler_core"
_SETTINGS = "scheduler_core.settings"
_SECRETS = {"DatabaseSettings": "DATABASE", "QueueSettings": "REDIS", "SigningSettings": "SIGNING_KEY"}
"""Mixins of settings that name a secret, and the first part of the variable that says where it is."""
_OTHER_NAMES = {"lambda:Invoke": "lambda:InvokeFunction"}
"""Where IAM's name for an operation is not the operation's."""


@dataclass(slots=True)
class Calls:
    """`invokes`: functions of ours; `secrets`: DATABASE, REDIS, SIGNING_KEY; `delivers`, `publishes`: IAM actions."""

    invokes: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    delivers: set[str] = field(default_factory=set)
    publishes: set[str] = field(default_factory=set)


@cache
def calls_of(function: str) -> Calls:
    """Everything that a function's code may ask of AWS."""
    modules = closure(function)
    found = Calls()
    for name in modules:
        tree = tree_of(name)
        if name.split(".")[0] == function:
            found.invokes |= _invoked(tree) if "scheduler_core.invocation.lambda_invoker" in modules else set()
            found.secrets |= _secrets(tree)
        if name == "scheduler_core.delivery.aws":
            found.delivers |= delivery_actions(tree)
        else:
            found.publishes |= client_actions(tree)
    return found


def delivery_actions(tree: ast.Module) -> set[str]:
    """Actions of `delivery/aws.py`: its `_SENDERS` name a function for each service, its `_CLIENT_NAMES` a client."""
    clients = {_text(k): ast.literal_eval(v) for k, v in _table(tree, "_CLIENT_NAMES")}
    bodies = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
    return {
        _action(clients[_text(service)], method)
        for service, sender in _table(tree, "_SENDERS")
        for method in _methods_called_on(bodies[_text(sender)], "client")
    }


def client_actions(tree: ast.Module) -> set[str]:
    """Actions through functions of a module that answer `boto3.client("...")`."""
    makers = {
        each.name: client
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef)
        for client in _clients_made_in(each)
    }
    return {
        _action(makers[each.func.value.func.id], each.func.attr)
        for each in ast.walk(tree)
        if isinstance(each, ast.Call)
        and isinstance(each.func, ast.Attribute)
        and isinstance(each.func.value, ast.Call)
        and isinstance(each.func.value.func, ast.Name)
        and each.func.value.func.id in makers
    }


def modules_that_use_boto3() -> set[str]:
    """Every module of layer and functions that mentions it; the two functions above must understand all of them."""
    return {
        _name_of(path)
        for root in (_FUNCTIONS, _LAYER)
        for path in root.rglob("*.py")
        if "boto3" in {each for each, _ in _imports(ast.parse(path.read_text("utf-8")))}
    }


def _invoked(tree: ast.Module) -> set[str]:
    """`executor` where the code reads a setting named `executor_function`."""
    return {
        each.attr.removesuffix("_function")
        for each in ast.walk(tree)
        if isinstance(each, ast.Attribute)
        and each.attr in {"executor_function", "watcher_function", "populator_function"}
    }


def _secrets(tree: ast.Module) -> set[str]:
    bases = {_text(base) for each in ast.walk(tree) if isinstance(each, ast.ClassDef) for base in each.bases}
    return {_SECRETS[base] for base in bases if base in _SECRETS}


def _action(client: str, method: str) -> str:
    model = _model(client)
    operation = next(each for each in model.operation_names if xform_name(each) == method)
    action = f"{model.signing_name}:{operation}"
    return _OTHER_NAMES.get(action, action)


@cache
def _model(client: str):  # type: ignore[no-untyped-def]  # botocore publishes no types for it
    return botocore.session.get_session().get_service_model(client)


def _clients_made_in(function: ast.FunctionDef) -> Iterator[str]:
    for each in ast.walk(function):
        if isinstance(each, ast.Call) and _text(each.func) == "boto3.client":
            yield ast.literal_eval(each.args[0])


def _methods_called_on(function: ast.FunctionDef, name: str) -> set[str]:
    return {
        each.func.attr
        for each in ast.walk(function)
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and _text(each.func.value) == name
    }


def _table(tree: ast.Module, name: str) -> list[tuple[ast.expr, ast.expr]]:
    for each in tree.body:
        if isinstance(each, ast.AnnAssign) and _text(each.target) == name and isinstance(each.value, ast.Dict):
            return [(key, value) for key, value in zip(each.value.keys, each.value.values, strict=True) if key]
    raise AssertionError(f"{name} is no longer a table in delivery/aws.py")


def closure(function: str) -> set[str]:
    """The names of every module that the function's code imports, from its package and the layer."""
    waiting = {_name_of(path) for path in (_FUNCTIONS / function).rglob("*.py")}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for imported, member in _imports(tree_of(name)):
            waiting |= {each for each in (imported, f"{imported}.{member}") if _path(each) and each not in seen}
    return seen


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for each in ast.walk(tree):
        if isinstance(each, ast.Import):
            yield from ((alias.name, "") for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module:
            yield from ((each.module, alias.name) for alias in each.names)


@cache
def tree_of(name: str) -> ast.Module:
    """A module of ours, parsed."""
    path = _path(name)
    assert path is not None, name
    return ast.parse(path.read_text("utf-8"))


def _path(name: str) -> Path | None:
    root = _LAYER if name.split(".")[0] == "scheduler_core" else _FUNCTIONS
    module = root.joinpath(*name.split("."))
    return next((each for each in (module.with_suffix(".py"), module / "__init__.py") if each.is_file()), None)


def _name_of(path: Path) -> str:
    root = _FUNCTIONS if path.is_relative_to(_FUNCTIONS) else _LAYER
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _text(node: ast.AST) -> str:
    return ast.unparse(node)
