"""What is deployed, built as `sam build` builds it: the same make targets, without SAM."""

import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hosting.template import read_template

ROOT: Final = Path(__file__).parents[1]
LAYER: Final = "SchedulerCoreLayer"
ARCHITECTURES: Final = ("arm64", "x86_64")
_BUILD_SECONDS: Final = 300.0
_ELF: Final = b"\x7fELF"
_MACHINES: Final = {"x86_64": 62, "arm64": 183}
"""`e_machine` of the ELF header, by Lambda's name for the architecture."""


class BuildError(Exception):
    """The layer or a function cannot be built; the message is what make said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """One built layer, and the functions' packages beside it, each in a folder named by its logical id."""

    folder: Path
    architecture: str
    logical_ids: dict[str, str]
    """By the function's name."""

    @property
    def layer(self) -> Path:
        """What Lambda unpacks to /opt."""
        return self.folder / LAYER

    def function(self, name: str) -> Path:
        """What Lambda unpacks to /var/task."""
        return self.folder / self.logical_ids[name]


def host_architecture() -> str:
    """Lambda's name for this machine's architecture."""
    return "arm64" if platform.machine().lower() in ("aarch64", "arm64") else "x86_64"


def build(folder: Path, architecture: str) -> Artifacts:
    """Build all of it into `folder`, which is made, or was built into before. Raises BuildError."""
    functions = read_template(ROOT / "template.yaml").functions
    artifacts = Artifacts(
        folder=folder, architecture=architecture, logical_ids={each.name: each.logical_id for each in functions}
    )
    make(ROOT / "layers" / "scheduler_core" / "Makefile", LAYER, artifacts.layer, architecture)
    for name, logical_id in artifacts.logical_ids.items():
        make(ROOT / "functions" / "Makefile", logical_id, artifacts.function(name), architecture)
    return artifacts


def make(makefile: Path, logical_id: str, target: Path, architecture: str) -> None:
    """Run the target that `sam build` would run for a resource. Raises BuildError."""
    done = subprocess.run(  # noqa: S603 - our own Makefile
        ["make", "--file", str(makefile), f"build-{logical_id}"],  # noqa: S607 - whichever make the developer has
        cwd=makefile.parent,
        env={**os.environ, "ARTIFACTS_DIR": str(target), "ARCHITECTURE": architecture, "MAKEFLAGS": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{logical_id}: {(done.stderr or done.stdout).strip()}")


def files_of(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in order."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def of_another_machine(folder: Path, architecture: str) -> Sequence[Path]:
    """The programs and libraries below `folder` that were built for another machine than Lambda's `architecture`."""
    return [path for path in files_of(folder) if _machine(path) not in (None, _MACHINES[architecture])]


def _machine(path: Path) -> int | None:
    with path.open("rb") as file:
        header = file.read(20)
    if not header.startswith(_ELF):
        return None
    return int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
