"""Sizes and import times: how they are read, and when they are too much."""

from pathlib import Path
from typing import Literal

import pytest

from bench.artifacts import of_another_machine
from bench.footprint import Footprint, packages_of, parse_import_times, size_of

TOLD = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   _io
import time:      2000 |       2500 | psycopg
import time:       500 |        500 |   psycopg.pq
a line of something else
import time:      1000 |       1000 | api.handler
"""


def footprint(unzipped: int, zipped: int) -> Footprint:
    return Footprint(architecture="arm64", unzipped_bytes=unzipped, zipped_bytes=zipped, packages=[], functions=[])


def test_import_times_are_added_up_by_package_the_largest_first() -> None:
    times = parse_import_times(TOLD)
    assert times.total_ms == 3.6
    assert times.packages == [("psycopg", 2.5), ("api", 1.0), ("_io", 0.1)]


def test_libraries_and_bytecode_count_as_their_packages(tmp_path: Path) -> None:
    files = {
        "python/psycopg_binary/pq.so": 10,
        "python/psycopg_binary.libs/libpq.so.5": 100,
        "python/six.py": 1,
        "python/__pycache__/six.cpython-312.pyc": 2,
        "migrations/001.sql": 5,
    }
    for name, size in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    sizes = {each.name: each.size_bytes for each in packages_of(tmp_path)}
    assert sizes == {"psycopg_binary": 110, "migrations": 5, "six": 3}
    assert size_of(tmp_path) == 118


@pytest.mark.parametrize(
    ("unzipped", "zipped", "broken"),
    [
        (60_000_000, 50_000_000, []),
        (61_000_000, 1, ["the layer is 61.0 MB unzipped, more than 60 MB"]),
        (1, 51_000_000, ["the layer is 51.0 MB zipped, more than 50 MB"]),
    ],
)
def test_a_layer_beyond_its_bounds_is_named(unzipped: int, zipped: int, broken: list[str]) -> None:
    assert footprint(unzipped, zipped).broken == broken


def test_a_library_is_known_by_its_elf_header_not_by_its_name(tmp_path: Path) -> None:
    def elf(name: str, machine: int, order: Literal["little", "big"]) -> Path:
        path = tmp_path / name
        which = b"\x01" if order == "little" else b"\x02"
        path.write_bytes(b"\x7fELF\x02" + which + b"\0" * 12 + machine.to_bytes(2, order))
        return path

    elf("intel.so", 62, "little")
    arm, old = elf("arm.txt", 183, "little"), elf("old", 8, "big")
    (tmp_path / "text.so").write_text("no library", encoding="utf-8")
    (tmp_path / "short").write_bytes(b"\x7f")
    assert of_another_machine(tmp_path, "x86_64") == [arm, old]
