"""What SAM runs: the functions built for this machine, and what they are told."""

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from dev.local_environment import LOOPBACK_NETWORKS, ROOT
from dev.sam.compose import NOWHERE, Stores, stand_in
from dev.sam.steps import StepError, Steps

ENVIRONMENT: Mapping[str, str | None] = {
    "SAM_CLI_TELEMETRY": "0",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": None,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_PROFILE": None,
}
"""SAM hands the credentials that it finds to the containers: nobody's real ones."""
_SHORTEST_SECONDS = 30
_NO_SAM = "SAM is missing: `make sam` installs it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A build, ready for `sam local`."""

    sam: Path
    template: Path
    api_template: Path
    """Of the functions only those behind the API."""
    environment_file: Path
    network: str
    skip_pull: bool

    def command(self, *arguments: object) -> list[str]:
        """`sam local ...` with the options that all its commands take."""
        name, *more = arguments
        template = self.api_template if name == "start-api" else self.template
        options = ["--template", template, "--env-vars", self.environment_file, "--docker-network", self.network]
        pulled = ["--skip-pull-image"] if self.skip_pull else []
        return [*map(str, (self.sam, "local", name, *options, *pulled, *more))]


def build(steps: Steps, sam: Path | None, stores: Stores, *, folder: Path, signing_key: str) -> Built:
    """Build for this machine, and write what the functions are told. Raises StepError."""
    found = sam or _found()
    here = architecture()
    base = f"public.ecr.aws/lambda/python:3.12-{here}"
    steps.run("Lambda's base image", ROOT / "containers" / "lambda-base", cwd=ROOT)
    steps.run(
        f"sam build for {here}",
        *(found, "build", "--parameter-overrides", f"Architecture={here}"),
        cwd=ROOT,
        environment={**ENVIRONMENT, "ARCHITECTURE": here},
    )
    variables = variables_for(stores, signing_key)
    folder_built = ROOT / ".aws-sam" / "build"
    document = yaml_parse((folder_built / "template.yaml").read_text(encoding="utf-8"))
    local = declaring(document, variables, here)
    for file, content in (("local.json", local), ("api.json", serving(local))):
        (folder_built / file).write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
    return Built(
        sam=found,
        template=folder_built / "local.json",
        api_template=folder_built / "api.json",
        environment_file=_kept_secret(folder / "sam-env.json", {"Parameters": variables}),
        network=stores.network,
        skip_pull=stand_in(base),
    )


def architecture() -> str:
    """This machine's, by Lambda's name."""
    return "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"


def variables_for(stores: Stores, signing_key: str) -> dict[str, str]:
    """What functions in containers of the stores' network are told."""
    return {
        "DATABASE_URL": stores.database_url(inside=True),
        "REDIS_URL": stores.redis_url(inside=True),
        "SIGNING_KEY": signing_key,
        "AWS_ENDPOINT_URL": stores.aws_url(inside=True),
        "AWS_ENDPOINT_URL_LAMBDA": NOWHERE,
        "ALLOWED_TARGET_NETWORKS": os.environ.get("ALLOWED_TARGET_NETWORKS") or LOOPBACK_NETWORKS,
        "JOB_EVENTS": os.environ.get("JOB_EVENTS") or "true",
        "EXECUTOR_FUNCTION": "ExecutorFunction",
        "POPULATOR_FUNCTION": "PopulatorFunction",
        "WATCHER_FUNCTION": "WatcherFunction",
    }


def declaring(document: dict[str, Any], variables: Mapping[str, str], architecture: str) -> dict[str, Any]:
    """A built template as SAM can run it here: it passes on only variables that a template declares, and in AWS
    nothing declares these, as functions read secrets there; where a function has a name that is made from other
    things, SAM cannot find it as an authorizer; and a busy laptop takes longer than Lambda to start one.
    """
    for resource in _functions(document).values():
        properties = resource["Properties"]
        properties.pop("FunctionName", None)
        properties["Timeout"] = max(int(properties.get("Timeout", 0)), _SHORTEST_SECONDS)
    shared = document.setdefault("Globals", {}).setdefault("Function", {}).setdefault("Environment", {})
    declared = shared.setdefault("Variables", {})
    for name in variables:
        declared.setdefault(name, "")
    if "Architecture" in document.get("Parameters", {}):
        document["Parameters"]["Architecture"]["Default"] = architecture
    return document


def serving(document: dict[str, Any]) -> dict[str, Any]:
    """The same template without the functions that no route leads to: SAM would start a container for each."""
    used = {
        logical_id
        for logical_id, resource in _functions(document).items()
        if any(event["Type"] == "HttpApi" for event in resource["Properties"].get("Events", {}).values())
        or logical_id in _authorizers(document)
    }
    left_out = _functions(document).keys() - used
    return {
        **document,
        "Resources": {name: held for name, held in document["Resources"].items() if name not in left_out},
        "Outputs": {},
    }


def _functions(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    resources: dict[str, dict[str, Any]] = document["Resources"]
    return {name: held for name, held in resources.items() if held["Type"] == "AWS::Serverless::Function"}


def _authorizers(document: dict[str, Any]) -> set[str]:
    apis = [held for held in document["Resources"].values() if held["Type"] == "AWS::Serverless::HttpApi"]
    known = [each for api in apis for each in api["Properties"].get("Auth", {}).get("Authorizers", {}).values()]
    return {each["FunctionArn"]["Fn::GetAtt"][0] for each in known}


def _found() -> Path:
    beside, on_path = ROOT / ".tools" / "sam" / "bin" / "sam", shutil.which("sam")
    if beside.exists():
        return beside
    if on_path is None:
        raise StepError(_NO_SAM)
    return Path(on_path)


def _kept_secret(file: Path, content: object) -> Path:
    written = file.with_suffix(".new")
    written.unlink(missing_ok=True)
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as fresh:
        json.dump(content, fresh, indent=1)
    written.rename(file)
    return file
