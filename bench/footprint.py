"""How large what is deployed is, and what each function's import spends its time on. Lambda's own bounds are far off
(250 MB unzipped); ours keep a cold start short.
"""

import io
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.artifacts import Artifacts, files_of
from bench.imports import handler_statement

MOST_UNZIPPED_BYTES: Final = 60_000_000
MOST_ZIPPED_BYTES: Final = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of a package: its code, the bytecode beside it, and the libraries that its wheel brought."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTimes:
    """What a function's import takes in a fresh Python, by the package that spends it; the largest first."""

    total_ms: float
    packages: Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFootprint:
    """A function's package; `imports` is None where this machine is not the one it was built for."""

    name: str
    size_bytes: int
    imports: ImportTimes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """All that is deployed."""

    architecture: str
    unzipped_bytes: int
    zipped_bytes: int
    packages: Sequence[Size]
    functions: Sequence[FunctionFootprint]

    @property
    def broken(self) -> Sequence[str]:
        """The bounds that it breaks, in words."""
        bounds = (
            ("unzipped", self.unzipped_bytes, MOST_UNZIPPED_BYTES),
            ("zipped", self.zipped_bytes, MOST_ZIPPED_BYTES),
        )
        return [
            f"the layer is {size / 1e6:.1f} MB {how}, more than {most / 1e6:.0f} MB"
            for how, size, most in bounds
            if size > most
        ]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def weigh(artifacts: Artifacts, *, with_imports: bool, progress: Callable[[str], None] = lambda _: None) -> Footprint:
    """Measure what was built; `progress(what)` is called as it goes."""
    progress("the layer")
    functions = []
    for name in artifacts.logical_ids:
        progress(name)
        folder = artifacts.function(name)
        times = import_times(name, [folder, artifacts.layer / "python"]) if with_imports else None
        functions.append(FunctionFootprint(name=name, size_bytes=size_of(folder), imports=times))
    return Footprint(
        architecture=artifacts.architecture,
        unzipped_bytes=size_of(artifacts.layer),
        zipped_bytes=zipped_size_of(artifacts.layer),
        packages=packages_of(artifacts.layer),
        functions=functions,
    )


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder, as Lambda counts them."""
    return sum(path.stat().st_size for path in files_of(folder))


def zipped_size_of(folder: Path) -> int:
    """What an upload of the folder takes, in bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files_of(folder):
            archive.write(path, path.relative_to(folder))
    return buffer.tell()


def packages_of(layer: Path) -> Sequence[Size]:
    """The layer's packages by size, the largest first. A wheel's `name.libs` counts as `name`'s."""
    sizes: Counter[str] = Counter()
    for path in files_of(layer):
        parts = path.relative_to(layer).parts
        name = parts[0] if parts[0] != "python" else _package_of(parts[1:])
        sizes[name] += path.stat().st_size
    return [Size(name=name, size_bytes=size) for name, size in sizes.most_common()]


def _package_of(parts: Sequence[str]) -> str:
    file = parts[1] if parts[0] == "__pycache__" else parts[0]
    return file.partition("-")[0].partition(".")[0]


def import_times(function: str, path: Iterable[Path], *, rounds: int = 3) -> ImportTimes:
    """What importing a handler takes with nothing but `path` and the standard library; the best of `rounds`."""
    # -I -S leave out whatever this environment has installed: only the layer may answer for an import.
    program = f"import sys; sys.path[:0] = {[str(each) for each in path]!r}; {handler_statement(function)}"
    command = [sys.executable, "-I", "-S", "-X", "importtime", "-c", program]
    told = (subprocess.run(command, capture_output=True, text=True, check=True).stderr for _ in range(rounds))  # noqa: S603 - ours
    return min(map(parse_import_times, told), key=lambda times: times.total_ms)


def parse_import_times(told: str) -> ImportTimes:
    """Read what `-X importtime` printed: each module's own time, added up by package."""
    own: Counter[str] = Counter()
    for line in told.splitlines():
        head, _, rest = line.partition("import time:")
        fields = [field.strip() for field in rest.split("|")]
        if head or len(fields) != 3 or not fields[0].isdigit():
            continue
        own[fields[2].partition(".")[0]] += int(fields[0])
    return ImportTimes(
        total_ms=round(own.total() / 1_000, 1),
        packages=[(name, round(microseconds / 1_000, 1)) for name, microseconds in own.most_common()],
    )
