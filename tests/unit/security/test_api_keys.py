"""The form of API keys."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.security.api_keys import ENTROPY_BYTES, MAX_KEY_CHARACTERS, NewApiKey, generate, parse, proves

ENTROPY = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)
KEY = generate("live", bytes(range(ENTROPY_BYTES)))


@given(entropy=ENTROPY, environment=st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True))
def test_what_is_generated_is_parsed_and_proves_itself(entropy: bytes, environment: str) -> None:
    key = generate(environment, entropy)
    assert re.fullmatch(rf"ts_{environment}_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{38}}", key.plaintext)
    assert len(key.plaintext) <= MAX_KEY_CHARACTERS
    parsed = parse(key.plaintext)
    assert parsed is not None
    assert (parsed.id, parsed.environment) == (key.id, environment)
    assert proves(parsed, key.secret_sha256)


@given(first=ENTROPY, second=ENTROPY)
def test_a_key_does_not_prove_another(first: bytes, second: bytes) -> None:
    parsed = parse(generate("live", first).plaintext)
    assert parsed is not None
    assert proves(parsed, generate("live", second).secret_sha256) == (first[16:] == second[16:])


@given(place=st.integers(0, len(KEY.plaintext) - 1), character=st.characters(codec="ascii"))
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    typed = KEY.plaintext[:place] + character + KEY.plaintext[place + 1 :]
    assert (parse(typed) is not None) == (typed == KEY.plaintext)


@given(place=st.integers(0, len(KEY.plaintext) - 2))
def test_two_swapped_characters_are_noticed(place: int) -> None:
    text = KEY.plaintext
    typed = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    assert (parse(typed) is not None) == (typed == text)


@given(presented=st.text(max_size=200))
def test_any_other_text_is_no_key(presented: str) -> None:
    assert parse(presented) is None


@pytest.mark.parametrize("presented", [f" {KEY.plaintext}", f"{KEY.plaintext}\n", KEY.plaintext.upper(), "ts_" * 9_999])
def test_a_key_is_taken_as_it_is(presented: str) -> None:
    assert parse(presented) is None


@pytest.mark.parametrize("environment", ["", "Live", "1a", "a_b", "a" * 17, "a\n"])
def test_an_environment_has_a_plain_name(environment: str) -> None:
    with pytest.raises(ValueError, match="environment"):
        generate(environment, bytes(ENTROPY_BYTES))


def test_too_little_entropy_is_refused() -> None:
    with pytest.raises(ValueError, match="random bytes"):
        generate("live", bytes(ENTROPY_BYTES - 1))


def test_neither_secret_nor_hash_shows_in_a_log() -> None:
    """I9."""
    shown = repr(KEY) + repr(parse(KEY.plaintext))
    assert KEY.plaintext not in shown
    assert KEY.plaintext.split("_")[3][:32] not in shown
    assert isinstance(KEY, NewApiKey)
    assert repr(KEY.secret_sha256) not in shown
