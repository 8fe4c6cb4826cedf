"""What is pinned: the tests run on what is deployed, every line has a hash, and no line says where to download it."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "requirements"
PINNED = re.compile(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==([^ ;]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PINNED.findall((FOLDER / name).read_text(encoding="utf-8")))


def test_the_tests_run_on_the_versions_that_are_deployed() -> None:
    layer, dev = pins("layer.txt"), pins("dev.txt")
    assert layer
    assert {name: dev.get(name) for name in layer} == layer


@pytest.mark.parametrize("name", sorted(file.name for file in FOLDER.glob("*.txt")))
def test_every_pin_has_a_hash_and_no_address(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text.count("--hash=sha256:") >= len(pins(name)) > 0
    assert "://" not in text
