"""A change of what is deployed shows in review: the transformed template is in the repository."""

from typing import Any

import pytest

from tests.infrastructure import snapshot
from tests.infrastructure.templates import SNAPSHOT, normalised, transformed


def test_the_snapshot_is_what_the_template_makes() -> None:
    assert SNAPSHOT.read_text(encoding="utf-8") == snapshot.current(), "run `make snapshot` and look at the difference"


def test_other_code_is_no_change_of_the_infrastructure(monkeypatch: pytest.MonkeyPatch) -> None:
    document = transformed()
    (layer,) = [name for name, each in document["Resources"].items() if each["Type"] == "AWS::Lambda::LayerVersion"]
    assert layer not in SNAPSHOT.read_text(encoding="utf-8")
    again: dict[str, Any] = normalised(document)
    assert "SchedulerCoreLayerHASH" in again["Resources"]
    assert "ApiFunctionVersionHASH" in again["Resources"]
