"""Cold starts as Lambda makes them, beside the bare imports that a function cannot do without.

Each function, built as it is deployed, starts in Lambda's image under the runtime interface emulator, against a real
PostgreSQL and a real Redis.
"""

import contextlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from bench.artifacts import ROOT, Artifacts, build, host_architecture
from bench.first_events import FIRST_EVENTS, Producer, is_good
from bench.footprint import ImportTimes, parse_import_times
from bench.imports import MOST_RATIO, handler_statement, needed_statement
from cli.exits import CommandError, ExitCode
from dev.demo import prepare
from dev.postgres import PostgresServer
from dev.redis import RedisServer
from hosting.template import Function, read_template
from hosting.web import LOOPBACK
from scheduler_core.clock import utc_now
from scheduler_core.storage.migrations import apply_migrations

_IN_LAMBDA: Final = Path(__file__).with_name("in_lambda")
_PYTHONPATH: Final = "/var/task:/opt/python/lib/python3.12/site-packages:/opt/python:/var/runtime"
_NOBODY_LISTENS: Final = f"http://{LOOPBACK}:9"
_IMAGE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One function's start, as medians in milliseconds. Bare and whole imports took turns in one container."""

    function: str
    samples: int
    bare_ms: float
    import_ms: float
    request_ms: float
    """The handler's first answer, connections included."""
    answered_ms: float
    """From the emulator's start to that answer, Python's own start included."""
    ratio: float
    """The whole import by the bare ones, in processor time: what else this machine does is not the function's fault."""
    imports: ImportTimes

    @property
    def too_slow(self) -> bool:
        return self.ratio > MOST_RATIO

    def as_json(self) -> dict[str, Any]:
        return {
            "function": self.function,
            "samples": self.samples,
            "bare_ms": round(self.bare_ms, 1),
            "import_ms": round(self.import_ms, 1),
            "ratio": round(self.ratio, 3),
            "request_ms": round(self.request_ms, 1),
            "answered_ms": round(self.answered_ms, 1),
            "biggest_imports": dict(self.imports.packages[:5]),
        }


def measure(functions: Sequence[str], samples: int, progress: Callable[[str, int], None]) -> Iterator[ColdStart]:
    """Measure each function in turn; `progress(function, samples so far)` is called as it goes.

    Raises CommandError where something is missing or a function does not answer. Servers, containers and files are
    gone afterwards, however it ends.
    """
    image, emulator = _image(), _emulator()
    template = read_template(ROOT / "template.yaml")
    with tempfile.TemporaryDirectory(prefix="task-scheduler-cold-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        progress("building", 0)
        artifacts = build(folder / "build", host_architecture())
        with _stores(folder) as (environment, producer):
            for function in functions:
                lines = _run(
                    image, emulator, artifacts, template.function(function), environment, samples,
                    FIRST_EVENTS[function](producer, utc_now()),
                )  # fmt: skip
                yield _judged(function, lines, progress)


def _judged(function: str, lines: Iterator[dict[str, Any]], progress: Callable[[str, int], None]) -> ColdStart:
    kept: dict[str, list[dict[str, Any]]] = {"bare": [], "whole": []}
    told = ""
    for line in lines:
        if line["kind"] == "importtime":
            told = line["told"]
            continue
        if line["kind"] == "whole" and not is_good(function, line["answer"]):
            raise CommandError(ExitCode.FAILED, f"{function} did not do what it was asked.", json.dumps(line["answer"]))
        if line["sample"] >= 0:
            kept[line["kind"]].append(line)
        progress(function, len(kept["whole"]))
    medians = {
        kind: {
            name: statistics.median(each[name] for each in found)
            for name in ("import_ms", "import_cpu_ms", "request_ms", "answered_ms")
        }
        for kind, found in kept.items()
    }
    return ColdStart(
        function=function,
        samples=len(kept["whole"]),
        bare_ms=medians["bare"]["import_ms"],
        import_ms=medians["whole"]["import_ms"],
        request_ms=medians["whole"]["request_ms"],
        answered_ms=medians["whole"]["answered_ms"],
        ratio=medians["whole"]["import_cpu_ms"] / medians["bare"]["import_cpu_ms"],
        imports=parse_import_times(told),
    )


def _run(
    image: str,
    emulator: Path,
    artifacts: Artifacts,
    function: Function,
    stores: Mapping[str, str],
    samples: int,
    event: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    task = artifacts.function(function.name)
    shutil.copy2(_IN_LAMBDA / "lambda_probe.py", task)
    plan = {
        "samples": samples,
        "needed": needed_statement(function.name),
        "whole": handler_statement(function.name),
        "handler": function.handler,
        "event": event,
    }
    given = {name: value for name, value in function.environment.items() if value is not None}
    environment = {
        **given,
        **stores,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout_seconds),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "PYTHONPATH": _PYTHONPATH,
        "PLAN": json.dumps(plan),
    }
    mounts = {artifacts.layer: "/opt", task: "/var/task", _IN_LAMBDA: "/probe", emulator: "/bench/aws-lambda-rie"}
    name = f"task-scheduler-cold-{uuid4().hex[:12]}"
    program = [
        # The host's network: the stores listen on its loopback, and so do the emulator and whoever asks it.
        *("docker", "run", "--rm", "--name", name, "--network", "host"),
        *(part for source, target in mounts.items() for part in ("--volume", f"{source}:{target}:ro")),
        *(part for variable in environment for part in ("--env", variable)),
        *("--entrypoint", "/var/lang/bin/python3.12", image, "/probe/emulate.py"),
    ]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # noqa: S603 - docker, with arguments of our own
            program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None  # noqa: S101 - opened as a pipe above
            yield from map(json.loads, process.stdout)
            if process.wait():
                errors.seek(0)
                told = "\n".join(errors.read().splitlines()[-12:])
                raise CommandError(ExitCode.FAILED, f"{function.name} does not start in {image}.", told or None)
        finally:
            if process.poll() is None:
                _docker("rm", "--force", name)
            process.stdout and process.stdout.close()
            process.wait()


@contextlib.contextmanager
def _stores(folder: Path) -> Iterator[tuple[Mapping[str, str], Producer]]:
    """A PostgreSQL and a Redis for the time of the block: what the functions' environment says, and a producer."""
    postgres, redis = PostgresServer(folder), RedisServer(folder)
    try:
        postgres.start()
        redis.start()
        apply_migrations(postgres.url, ROOT / "migrations")
        signing_key = secrets.token_urlsafe(48)
        demo = prepare(postgres.url, folder, signing_key)
        yield (
            {
                "DATABASE_URL": postgres.url,
                "REDIS_URL": redis.url,
                "SIGNING_KEY": signing_key,
                # Nothing is to be invoked, and if anything were, it must not reach AWS.
                "AWS_ENDPOINT_URL": _NOBODY_LISTENS,
                "AWS_ENDPOINT_URL_LAMBDA": _NOBODY_LISTENS,
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "none",
                "AWS_SECRET_ACCESS_KEY": "none",
            },
            Producer(merchant_id=demo.merchant_id, api_key=demo.api_key),
        )
    finally:
        redis.stop()
        postgres.stop()


def _image() -> str:
    """The name of Lambda's base image, pulled or built. Raises CommandError."""
    done = subprocess.run(  # noqa: S603 - our own script
        [str(ROOT / "containers" / "lambda-base")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_IMAGE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise CommandError(ExitCode.UNAVAILABLE, "Lambda's base image is not there.", done.stderr.strip() or None)
    return done.stdout.split()[-1]


def _emulator() -> Path:
    """The runtime interface emulator that SAM CLI brings. Raises CommandError."""
    name = f"aws-lambda-rie-{host_architecture()}"
    for found in (ROOT / ".tools" / "sam").glob(f"lib/python3*/site-packages/samcli/local/rapid/{name}"):
        return found
    raise CommandError(
        ExitCode.UNAVAILABLE, "The runtime interface emulator is not there.", "`make bench-cold` installs it"
    )


def _docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603, S607
