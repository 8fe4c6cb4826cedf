"""From a built template to what SAM can run on this machine: the functions, the layer, the API, and nothing else.

Roles, networks, queues, aliases and nested stacks mean nothing here, and SAM trips over some of them. It passes on only
variables that a template declares, and in AWS nothing declares where the stores are: functions read secrets there. It
does not find an authorizer that goes by an alias, or by a name that is made from other things. And a busy laptop takes
longer than Lambda to start a function.
"""

from collections.abc import Mapping
from typing import Any

from hosting.template import function_referred_to

FUNCTION, HTTP_API, LAYER = "AWS::Serverless::Function", "AWS::Serverless::HttpApi", "AWS::Serverless::LayerVersion"
SHORTEST_SECONDS = 120
_OF_FUNCTION = {"CodeUri", "Handler", "Runtime", "Architectures", "Layers", "MemorySize", "Timeout"}
_OF_LAYER = {"ContentUri", "CompatibleRuntimes", "LayerName"}

Document = dict[str, Any]


def localised(built: Document, variables: Mapping[str, str], architecture: str) -> Document:
    """The template that declares `variables`, empty: their values go through a file that only we can read."""
    resources: dict[str, Document] = built["Resources"]
    shared = built.get("Globals", {}).get("Function", {})
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Parameters": {
            name: {**spec, "Default": architecture if name == "Architecture" else spec.get("Default", "")}
            for name, spec in built.get("Parameters", {}).items()
        },
        "Resources": {
            **{name: _function(held, shared, variables) for name, held in _of_type(resources, FUNCTION).items()},
            **{name: _api(held, _names(resources)) for name, held in _of_type(resources, HTTP_API).items()},
            **{name: _layer(held) for name, held in _of_type(resources, LAYER).items()},
        },
    }


def serving(local: Document) -> Document:
    """Without the functions that no request leads to: SAM would start a container for each."""
    resources: dict[str, Document] = local["Resources"]
    behind = {name for name, held in _of_type(resources, FUNCTION).items() if held["Properties"]["Events"]}
    for api in _of_type(resources, HTTP_API).values():
        authorizers = api["Properties"].get("Auth", {}).get("Authorizers", {})
        behind |= {_referred_to(spec["FunctionArn"], _names(resources)) for spec in authorizers.values()}
    left_out = _of_type(resources, FUNCTION).keys() - behind
    return {**local, "Resources": {name: held for name, held in resources.items() if name not in left_out}}


def _of_type(resources: Mapping[str, Document], kind: str) -> dict[str, Document]:
    return {name: held for name, held in resources.items() if held["Type"] == kind}


def _function(resource: Document, shared: Document, variables: Mapping[str, str]) -> Document:
    given = {**shared, **resource["Properties"]}
    declared = {**_declared(shared), **_declared(resource["Properties"])}
    plain = {name: value for name, value in declared.items() if not isinstance(value, dict)}
    routes = {name: event for name, event in given.get("Events", {}).items() if event["Type"] == "HttpApi"}
    return {
        "Type": FUNCTION,
        "Properties": {
            **{name: value for name, value in given.items() if name in _OF_FUNCTION},
            "Timeout": max(int(given.get("Timeout", 0)), SHORTEST_SECONDS),
            "Environment": {"Variables": {**plain, **dict.fromkeys(variables, "")}},
            "Events": routes,
        },
    }


def _declared(properties: Document) -> Document:
    declared: Document = properties.get("Environment", {}).get("Variables", {})
    return declared


def _api(resource: Document, names: Mapping[str, str]) -> Document:
    auth = resource["Properties"].get("Auth", {})
    authorizers = {
        name: {**spec, "FunctionArn": {"Fn::GetAtt": [_referred_to(spec["FunctionArn"], names), "Arn"]}}
        for name, spec in auth.get("Authorizers", {}).items()
    }
    return {"Type": HTTP_API, "Properties": {"Auth": {**auth, "Authorizers": authorizers}}}


def _referred_to(arn: Document, names: Mapping[str, str]) -> str:
    """The logical id, for every way in which hosting.template finds the function; `names` are by logical id."""
    referred = function_referred_to(arn)
    return next((logical_id for logical_id, name in names.items() if name == referred), referred)


def _names(resources: Mapping[str, Document]) -> dict[str, str]:
    functions = _of_type(resources, FUNCTION)
    return {logical_id: held["Properties"]["Handler"].split(".")[0] for logical_id, held in functions.items()}


def _layer(resource: Document) -> Document:
    properties = {name: value for name, value in resource["Properties"].items() if name in _OF_LAYER}
    return {"Type": LAYER, "Properties": properties}
