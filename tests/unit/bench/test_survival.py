"""What counts as lost, and which duplicates a crash explains."""

from typing import Any

import pytest

from bench.receiver import Delivery
from bench.survival import Survival, doubled, duplicate, recovered_after

COMPLETE = {"jobs": 2, "by_status": {"completed": 2}, "never_delivered": 0, "deliveries": 2, "duplicates": 0}


def verdict(**changes: object) -> Survival:
    told: dict[str, Any] = {**COMPLETE, "unexplained_duplicates": 0, "faults": (), "took_seconds": 1.0, **changes}
    return Survival(**told)


def test_a_run_passes_when_all_completed_and_all_were_seen() -> None:
    assert verdict().passed
    assert verdict(duplicates=5, deliveries=7).passed


@pytest.mark.parametrize(
    "loss", [{"by_status": {"completed": 1, "failed": 1}}, {"never_delivered": 1}, {"unexplained_duplicates": 1}]
)
def test_any_loss_fails_the_run(loss: dict[str, object]) -> None:
    assert not verdict(**loss).passed


def test_only_jobs_that_came_twice_are_doubled() -> None:
    assert doubled([Delivery("a", 1, 1), Delivery("b", 1, 2), Delivery("a", 2, 3)]) == {"a": (1, 2)}


def test_a_second_attempt_after_a_lost_one_is_explained() -> None:
    assert duplicate("a", (1, 2), {1: "lost", 2: "completed"}).explained
    assert duplicate("a", (1, 3), {1: "lost", 2: "lost", 3: "completed"}).explained


def test_a_second_attempt_after_a_completed_one_is_not_explained() -> None:
    assert not duplicate("a", (1, 2), {1: "completed", 2: "completed"}).explained


def test_the_same_attempt_twice_is_not_explained() -> None:
    assert not duplicate("a", (1, 1), {1: "completed"}).explained
    assert not duplicate("a", (1, 1, 2), {1: "lost", 2: "completed"}).explained


def test_recovery_is_the_first_delivery_after_the_echoes() -> None:
    deliveries = [Delivery("a", 1, 1_010_000_000), Delivery("b", 1, 3_000_000_000)]
    assert recovered_after(1_000_000_000, deliveries, 50_000_000) == 2.0
    assert recovered_after(5_000_000_000, deliveries, 50_000_000) is None
