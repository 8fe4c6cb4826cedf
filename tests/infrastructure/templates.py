"""The templates as the tests read them, and what SAM makes of the main one."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "template.yaml"
STORES = ROOT / "stacks" / "stores.yaml"
MONITORING = ROOT / "stacks" / "monitoring.yaml"
SNAPSHOT = Path(__file__).parent / "transformed.json"
FUNCTIONS = ("api", "authorizer", "populator", "executor", "watcher", "recurrence", "migrator")

Resources = dict[str, dict[str, Any]]


def read(path: Path) -> dict[str, Any]:
    """A template with its intrinsic functions as CloudFormation's JSON has them."""
    document: dict[str, Any] = yaml_parse(path.read_text(encoding="utf-8"))
    return document


def transformed(**parameters: str) -> dict[str, Any]:
    """The main template after SAM's transform, as if code had been uploaded; `parameters` override the defaults."""
    text = re.sub(r"(CodeUri|ContentUri): \S+/$", r"\1: s3://bucket/code", MAIN.read_text("utf-8"), flags=re.MULTILINE)
    text = re.sub(
        r"Location: (stacks/\S+\.yaml)", r"Location: https://s3.amazonaws.com/bucket/\1", text, flags=re.MULTILINE
    )
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    document = Translator({}, Parser(), boto_session=session).translate(yaml_parse(text), defaults() | parameters)
    answer: dict[str, Any] = json.loads(json.dumps(document))
    return answer


def normalised(document: dict[str, Any]) -> dict[str, Any]:
    """Without the hashes that SAM puts into logical ids, which say nothing to a reader."""
    text = json.dumps(document)
    for kind, prefix in (("AWS::Lambda::Version", r"Version"), ("AWS::Lambda::LayerVersion", "")):
        for logical_id, resource in document["Resources"].items():
            if resource["Type"] == kind:
                text = text.replace(logical_id, re.sub(rf"{prefix}[0-9a-f]{{10}}$", f"{prefix}HASH", logical_id))
    text = re.sub(r"(Deployment)[0-9a-f]{10}", r"\1HASH", text)
    answer: dict[str, Any] = json.loads(text)
    return answer


def defaults() -> dict[str, str]:
    """Every parameter's default, as CloudFormation would pass it to the transform."""
    return {name: str(spec["Default"]) for name, spec in read(MAIN)["Parameters"].items()}


def of_type(resources: Resources, kind: str) -> Resources:
    """Those of the resources that are of this type."""
    return {name: each for name, each in resources.items() if each["Type"] == kind}


def functions_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of each function by its short name; what Globals say is filled in."""
    shared = document["Globals"]["Function"]
    found = {}
    for resource in of_type(document["Resources"], "AWS::Serverless::Function").values():
        own = copy.deepcopy(resource["Properties"])
        variables = {**shared["Environment"]["Variables"], **own.get("Environment", {}).get("Variables", {})}
        found[own["Handler"].split(".")[0]] = {**shared, **own, "Environment": {"Variables": variables}}
    return found


def walk(value: Any) -> Iterator[Any]:
    """A value and everything inside it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from walk(each)


def references(value: Any) -> set[str]:
    """The names that Ref and Sub mention inside a value."""
    names: set[str] = set()
    for each in walk(value):
        if not isinstance(each, dict):
            continue
        if isinstance(each.get("Ref"), str):
            names.add(each["Ref"])
        text = each.get("Fn::Sub")
        pattern = text[0] if isinstance(text, list) else text
        if isinstance(pattern, str):
            names.update(name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", pattern))
        target = each.get("Fn::GetAtt")
        if target:
            names.add((target if isinstance(target, list) else target.split("."))[0])
    return names
