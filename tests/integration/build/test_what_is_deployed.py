"""What `sam build` makes of layer and functions, for both of Lambda's machines."""

import hashlib
import marshal
import os
import shutil
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType

import pytest

from bench.artifacts import (
    ARCHITECTURES,
    LAYER,
    Artifacts,
    BuildError,
    build,
    files_of,
    host_architecture,
    make,
    of_another_machine,
)
from bench.footprint import import_times, weigh
from bench.imports import NEEDED
from tests.conftest import ROOT
from tests.unit.test_requirements import pins

LAYER_MAKEFILE = ROOT / "layers" / "scheduler_core" / "Makefile"
FUNCTIONS_MAKEFILE = ROOT / "functions" / "Makefile"
UNCHECKED_HASH = 0b01


@pytest.fixture(scope="session", params=ARCHITECTURES)
def artifacts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Everything, built for one machine."""
    return build(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def host_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Everything, built for the machine that this test runs on."""
    return build(tmp_path_factory.mktemp("host"), host_architecture())


def digest(folder: Path) -> str:
    """Of all names, contents and times below a folder."""
    told = hashlib.sha256()
    for path in files_of(folder):
        told.update(f"{path.relative_to(folder)} {path.stat().st_mtime_ns} {path.stat().st_mode:o}\n".encode())
        told.update(path.read_bytes())
    return told.hexdigest()


def test_no_library_is_for_another_machine(artifacts: Artifacts) -> None:
    (other,) = set(ARCHITECTURES) - {artifacts.architecture}
    assert of_another_machine(artifacts.layer, artifacts.architecture) == []
    libraries = [path for path in files_of(artifacts.layer) if ".so" in path.suffixes]
    assert len(libraries) > 20
    assert of_another_machine(artifacts.layer, other) == libraries


def test_the_layer_stays_within_its_bounds(artifacts: Artifacts) -> None:
    footprint = weigh(artifacts, with_imports=False)
    assert footprint.broken == []
    assert footprint.unzipped_bytes > 20_000_000, "something is missing"
    assert {package.name for package in footprint.packages} >= {"psycopg", "pycurl", "pydantic_core", "scheduler_core"}


@pytest.mark.parametrize("artifacts", [host_architecture()], indirect=True)
def test_an_unchanged_input_makes_an_unchanged_layer(artifacts: Artifacts, host_artifacts: Artifacts) -> None:
    assert artifacts.folder != host_artifacts.folder
    assert digest(artifacts.layer) == digest(host_artifacts.layer)
    assert digest(artifacts.function("api")) == digest(host_artifacts.function("api"))


def test_every_module_has_bytecode_that_no_file_time_can_spoil(artifacts: Artifacts) -> None:
    folders = {artifacts.layer: "/opt"} | {artifacts.function(name): "/var/task" for name in NEEDED}
    for folder, place in folders.items():
        for source in folder.rglob("*.py"):
            compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-312.pyc"
            header, code = compiled.read_bytes()[:16], compiled.read_bytes()[16:]
            assert header[:4] == MAGIC_NUMBER
            assert int.from_bytes(header[4:8], "little") == UNCHECKED_HASH, compiled
            if source.name == "handler.py":
                loaded = marshal.loads(code)  # noqa: S302 - written by the build a moment ago
                assert isinstance(loaded, CodeType)
                assert loaded.co_filename == f"{place}/{source.relative_to(folder)}"


def test_a_function_is_its_own_package_and_nothing_else(artifacts: Artifacts) -> None:
    for name in NEEDED:
        folder = artifacts.function(name)
        assert [path.name for path in folder.iterdir()] == [name]
        sources = {path.relative_to(folder / name) for path in (folder / name).rglob("*.py")}
        here = ROOT / "functions" / name
        assert sources == {path.relative_to(here) for path in here.rglob("*.py")}


def test_the_layer_brings_the_migrations_and_the_licences(artifacts: Artifacts) -> None:
    brought = {path.name: path.read_bytes() for path in (artifacts.layer / "migrations").iterdir()}
    assert brought == {path.name: path.read_bytes() for path in (ROOT / "migrations").iterdir()}
    licensed = {path.name.replace("_", "-") for path in (artifacts.layer / "licenses").iterdir()}
    assert licensed >= set(pins("layer.txt"))


def test_nothing_of_an_installation_is_left_in_the_layer(artifacts: Artifacts) -> None:
    python = artifacts.layer / "python"
    left = {path.name for path in python.rglob("*") if path.name in ("RECORD", "INSTALLER", "tests", "bin", ".lock")}
    assert left == set()
    assert not [path for path in python.rglob("*") if path.suffix in (".pyi", ".h", ".c", ".pyx")]


@pytest.mark.parametrize("function", sorted(NEEDED))
def test_the_layer_alone_is_enough_to_import_a_function(function: str, host_artifacts: Artifacts) -> None:
    path = [host_artifacts.function(function), host_artifacts.layer / "python"]
    times = import_times(function, path, rounds=1)
    spent = dict(times.packages)
    assert {function, "scheduler_core", "psycopg", "pydantic"} <= set(spent)
    assert times.total_ms > spent[function] > 0


def test_drivers_know_their_version_in_the_layer(host_artifacts: Artifacts) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(host_artifacts.layer / 'python')!r})\n"
        "import psycopg; print(psycopg.__version__, psycopg.pq.__impl__)"
    )
    told = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.split() == [pins("layer.txt")["psycopg"], "binary"]


def test_what_was_built_under_a_strict_umask_can_be_read_on_lambda(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make(FUNCTIONS_MAKEFILE, "MigratorFunction", tmp_path / "built", host_architecture())
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in files_of(tmp_path / "built")}
    assert modes == {0o644}


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="ARCHITECTURE is x86_64 or arm64, not riscv"):
        make(LAYER_MAKEFILE, LAYER, tmp_path / "layer", "riscv")


@pytest.fixture
def bare_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Makefiles where neither make's environment nor uv is."""
    for makefile in (LAYER_MAKEFILE, FUNCTIONS_MAKEFILE, ROOT / "layers" / "bytecode.mk"):
        copy = tmp_path / makefile.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(makefile, copy)
    (tmp_path / "functions" / "migrator").mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh", "cp", "rm", "mkdir", "find", "grep", "touch", "chmod", "sed"):
        tools.joinpath(name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tools))
    return tmp_path


def test_a_build_without_python_3_12_says_what_to_do(bare_checkout: Path) -> None:
    with pytest.raises(BuildError, match=r"Python 3\.12 is needed to compile for Lambda"):
        make(bare_checkout / "functions" / "Makefile", "MigratorFunction", bare_checkout / "built", "arm64")


def test_a_build_without_uv_says_what_to_do(bare_checkout: Path) -> None:
    makefile = bare_checkout / "layers" / "scheduler_core" / "Makefile"
    with pytest.raises(BuildError, match="uv is needed to build the layer"):
        make(makefile, LAYER, bare_checkout / "built", "arm64")
