"""Reads CloudFormation's YAML: `!Sub x` is `{"Fn::Sub": "x"}`, as its JSON form says it."""

from typing import Any

import yaml

_PLAIN = ("Ref", "Condition")


class _Loader(yaml.SafeLoader):
    """Knows the short forms of intrinsic functions, whatever they are called."""


def parse(text: str) -> Any:
    """The document in its long form. Raises yaml.YAMLError for what is not YAML."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader with one more constructor


def _intrinsic(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = node.value
        if name == "GetAtt":
            value = value.split(".", 1)
    return {name if name in _PLAIN else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _intrinsic)
