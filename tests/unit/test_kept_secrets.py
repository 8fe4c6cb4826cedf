"""A secret is read once, again after it was refused, and its keeper is left alone in between."""

import pytest

from scheduler_core.domain.errors import SecretUnavailableError
from scheduler_core.kept_secrets import PAUSE_SECONDS, GivenSecret, KeptSecret


class Keeper:
    """What is kept, how often it was read, and a clock."""

    def __init__(self) -> None:
        self.value, self.reads, self.now, self.away = "first", 0, 100.0, False
        self.secret = KeptSecret(self.read, clock=lambda: self.now)

    def read(self) -> str:
        self.reads += 1
        if self.away:
            raise SecretUnavailableError("the keeper is away")
        return self.value


def test_a_secret_is_read_at_first_use_and_then_remembered() -> None:
    keeper = Keeper()
    assert keeper.reads == 0
    assert [keeper.secret.value() for _ in range(3)] == ["first"] * 3
    assert keeper.reads == 1


def test_a_refused_secret_is_read_again_and_the_new_value_remembered() -> None:
    keeper = Keeper()
    refused = keeper.secret.value()
    keeper.value = "second"
    assert keeper.secret.after_refusal(refused) == "second"
    assert keeper.secret.value() == "second"
    assert keeper.reads == 2


def test_whoever_comes_late_with_the_old_value_gets_the_one_that_was_read_meanwhile() -> None:
    keeper = Keeper()
    refused = keeper.secret.value()
    keeper.value = "second"
    assert [keeper.secret.after_refusal(refused) for _ in range(3)] == ["second"] * 3
    assert keeper.reads == 2


def test_a_value_that_stays_wrong_is_asked_for_once_a_second() -> None:
    keeper = Keeper()
    refused = keeper.secret.value()
    assert [keeper.secret.after_refusal(refused) for _ in range(50)] == [None] * 50
    assert keeper.reads == 2
    keeper.now += PAUSE_SECONDS
    keeper.value = "mended"
    assert keeper.secret.after_refusal(refused) == "mended"


def test_a_keeper_that_is_away_is_asked_once_a_second_and_the_cause_told_every_time() -> None:
    keeper = Keeper()
    keeper.away = True
    for _ in range(50):
        with pytest.raises(SecretUnavailableError, match="the keeper is away"):
            keeper.secret.value()
    assert keeper.reads == 1
    keeper.away, keeper.now = False, keeper.now + PAUSE_SECONDS
    assert keeper.secret.value() == "first"


def test_a_keeper_that_is_away_when_a_value_was_refused_does_not_forget_it() -> None:
    keeper = Keeper()
    refused = keeper.secret.value()
    keeper.away = True
    with pytest.raises(SecretUnavailableError):
        keeper.secret.after_refusal(refused)
    assert keeper.secret.value() == "first"


def test_a_given_value_has_no_successor() -> None:
    given = GivenSecret("given")
    assert (given.value(), given.after_refusal("given")) == ("given", None)
