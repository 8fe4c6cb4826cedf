"""What SAM runs: the functions built for this machine, and what they are told."""

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.local_environment import LOOPBACK_NETWORKS, ROOT
from dev.sam.compose import NOWHERE, Stores, stand_in
from dev.sam.local_template import localised, serving
from dev.sam.steps import StepError, Steps
from hosting.cloudformation import parse

ENVIRONMENT: Mapping[str, str | None] = {
    "SAM_CLI_TELEMETRY": "0",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": None,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_PROFILE": None,
}
"""SAM hands the credentials that it finds to the containers: nobody's real ones."""
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
        # said, for samconfig.toml may say something else
        parameters = ["--parameter-overrides", f"Architecture={architecture()}"]
        return [*map(str, (self.sam, "local", name, *options, *parameters, *pulled, *more))]


def build(steps: Steps, sam: Path | None, stores: Stores, *, folder: Path, signing_key: str) -> Built:
    """Build for this machine, and write what the functions are told. Raises StepError."""
    found = sam or _found()
    here = architecture()
    base = f"public.ecr.aws/lambda/python:3.12-{here}"
    steps.run("Lambda's base image", ROOT / "containers" / "lambda-base", cwd=ROOT)
    steps.run(
        f"sam build for {here}",
        *(found, "build", "--parallel", "--no-cached", "--parameter-overrides", f"Architecture={here}"),
        cwd=ROOT,
        environment={**ENVIRONMENT, "ARCHITECTURE": here},
    )
    variables = variables_for(stores, signing_key)
    folder_built = ROOT / ".aws-sam" / "build"
    document = parse((folder_built / "template.yaml").read_text(encoding="utf-8"))
    local = localised(document, variables, here)
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
