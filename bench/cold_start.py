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
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from bench.artifacts import ROOT, Artifacts, build, host_architecture
from bench.first_events import FIRST_EVENTS, Producer, is_good
from bench.footprint import ImportTimes, parse_import_times
from bench.imports import MOST_RATIO, NEEDED, STATEMENTS, handler_statement, needed_statement
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
_LEAST_TIMEOUT_SECONDS: Final = 60
"""The emulator counts the environment's start too, which a busy machine draws out."""
_EMULATOR: Final = "/bench/aws-lambda-rie"
_FIGURES: Final = ("import_ms", "import_cpu_ms", "request_ms", "answered_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One function's start, as medians in milliseconds."""

    function: str
    samples: int
    needed_ms: float
    """The sum of the bare imports that it cannot do without, each in an environment of its own."""
    together_ms: float
    """The same imports in one environment, where what they share is loaded once."""
    import_ms: float
    request_ms: float
    """The handler's first answer, connections included."""
    answered_ms: float
    """From the emulator's start to that answer, Python's own start included."""
    ratio: float
    """The whole import by `needed`, in processor time: what else this machine does is not the function's fault."""
    together_ratio: float
    """The whole import by `together`, in processor time; the two took turns."""
    imports: ImportTimes

    @property
    def too_slow(self) -> bool:
        return self.ratio > MOST_RATIO

    def as_json(self) -> dict[str, Any]:
        told = asdict(self) | {"biggest_imports": dict(self.imports.packages[:5])}
        del told["imports"]
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in told.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """What one environment imports, and the handler that it then calls."""

    kind: str
    statement: str
    handler: str = ""


type _Medians = Mapping[str, Mapping[str, float]]
"""By kind of start: `import_ms`, `import_cpu_ms`, `request_ms`, `answered_ms`."""


def measure(functions: Sequence[str], samples: int, progress: Callable[[str, int], None]) -> Iterator[ColdStart]:
    """Measure each function in turn; `progress(function, samples so far)` is called as it goes.

    Raises CommandError where something is missing or a function does not answer. Servers, containers and files are
    gone afterwards, however it ends.
    """
    bench = _Bench(image=_image(), emulator=_emulator(), samples=samples)
    template = read_template(ROOT / "template.yaml")
    with tempfile.TemporaryDirectory(prefix="task-scheduler-cold-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        progress("building", 0)
        artifacts = build(folder / "build", host_architecture())
        with _stores(folder) as (environment, producer):
            names = sorted({each for function in functions for each in NEEDED[function]})
            starts = [_Start(kind=each, statement=STATEMENTS[each]) for each in names]
            first = template.function(functions[0])
            single, _ = bench.run(artifacts, first, starts, {}, {}, lambda _: progress("bare imports", 0))
            for each in functions:
                function = template.function(each)
                starts = [
                    _Start(kind="together", statement=needed_statement(each)),
                    _Start(kind="whole", statement=handler_statement(each), handler=function.handler),
                ]
                event = FIRST_EVENTS[each](producer, utc_now())
                took = partial(progress, each)
                medians, imports = bench.run(artifacts, function, starts, environment, event, took)
                yield _judged(each, samples, single, medians, imports)


def _judged(function: str, samples: int, single: _Medians, medians: _Medians, imports: ImportTimes) -> ColdStart:
    whole, together = medians["whole"], medians["together"]
    return ColdStart(
        function=function,
        samples=samples,
        needed_ms=sum(single[name]["import_ms"] for name in NEEDED[function]),
        together_ms=together["import_ms"],
        import_ms=whole["import_ms"],
        request_ms=whole["request_ms"],
        answered_ms=whole["answered_ms"],
        ratio=whole["import_cpu_ms"] / sum(single[name]["import_cpu_ms"] for name in NEEDED[function]),
        together_ratio=whole["import_cpu_ms"] / together["import_cpu_ms"],
        imports=imports,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """Lambda's image, the emulator, and how many starts of each kind are wanted."""

    image: str
    emulator: Path
    samples: int

    def run(
        self,
        artifacts: Artifacts,
        function: Function,
        starts: Sequence[_Start],
        stores: Mapping[str, str],
        event: Mapping[str, Any],
        progress: Callable[[int], None],
    ) -> tuple[_Medians, ImportTimes]:
        """All starts in one container; medians by kind, and the imports of the last kind. Raises CommandError."""
        kept: dict[str, list[dict[str, Any]]] = {start.kind: [] for start in starts}
        told = ""
        for line in self._lines(artifacts, function, starts, stores, event):
            if line["kind"] == "importtime":
                told = line["told"]
                continue
            if line["kind"] == "whole" and not is_good(function.name, line["answer"]):
                title = f"{function.name} did not do what it was asked."
                raise CommandError(ExitCode.FAILED, title, json.dumps(line["answer"]))
            if line["sample"] >= 0:
                kept[line["kind"]].append(line)
            progress(len(kept[starts[-1].kind]))
        medians = {
            kind: {name: statistics.median(each[name] for each in found) for name in _FIGURES}
            for kind, found in kept.items()
        }
        return medians, parse_import_times(told)

    def _lines(
        self,
        artifacts: Artifacts,
        function: Function,
        starts: Sequence[_Start],
        stores: Mapping[str, str],
        event: Mapping[str, Any],
    ) -> Iterator[dict[str, Any]]:
        task = artifacts.function(function.name)
        shutil.copy2(_IN_LAMBDA / "lambda_probe.py", task)
        plan = {
            "samples": self.samples,
            "starts": [asdict(start) for start in starts],
            "event": event,
            "listed": starts[-1].statement,
        }
        given = {name: value for name, value in function.environment.items() if value is not None}
        environment = {
            **given,
            **stores,
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(max(function.timeout_seconds, _LEAST_TIMEOUT_SECONDS)),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "PYTHONPATH": _PYTHONPATH,
            "PLAN": json.dumps(plan),
        }
        mounts = {artifacts.layer: "/opt", task: "/var/task", _IN_LAMBDA: "/probe", self.emulator: _EMULATOR}
        name = f"task-scheduler-cold-{uuid4().hex[:12]}"
        program = [
            # The host's network: the stores listen on its loopback, and so do the emulator and whoever asks it.
            *("docker", "run", "--rm", "--name", name, "--network", "host"),
            *(part for source, target in mounts.items() for part in ("--volume", f"{source}:{target}:ro")),
            *(part for variable in environment for part in ("--env", variable)),
            *("--entrypoint", "/var/lang/bin/python3.12", self.image, "/probe/emulate.py"),
        ]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(  # noqa: S603 - docker, with arguments of our own
                program,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
                start_new_session=True,  # a Ctrl-C is for the benchmark, which removes the container itself
            )
            try:
                assert process.stdout is not None  # noqa: S101 - opened as a pipe above
                yield from map(json.loads, process.stdout)
                if process.wait():
                    errors.seek(0)
                    told = "\n".join(errors.read().splitlines()[-12:])
                    title = f"{function.name} does not start in {self.image}."
                    raise CommandError(ExitCode.FAILED, title, told or None)
            finally:
                if process.poll() is None:
                    _remove(name)
                if process.stdout is not None:
                    process.stdout.close()
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


def _remove(container: str) -> None:
    command = ["docker", "rm", "--force", container]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603 - ours, by its name
