"""UUIDv7 ids: ordered by time, and a template's run always has the same one."""

import os
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.ids import (
    from_milliseconds,
    lowest_id,
    made_at,
    milliseconds,
    run_id,
    text_of_hex,
    uuid7,
    uuid7_hexes,
)

moments = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone itself
entropies = st.binary(min_size=10, max_size=10)


@given(moments, entropies)
def test_an_id_is_a_version_7_uuid_that_tells_its_millisecond(moment: datetime, entropy: bytes) -> None:
    made = uuid7(moment, entropy)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made_at(made) == from_milliseconds(milliseconds(moment))


@given(moments, moments, entropies, entropies)
def test_ids_are_ordered_by_time(one: datetime, two: datetime, first: bytes, second: bytes) -> None:
    if milliseconds(one) < milliseconds(two):
        assert uuid7(one, first) < uuid7(two, second)


@given(moments, entropies)
def test_the_lowest_id_of_a_moment_bounds_all_ids_made_then(moment: datetime, entropy: bytes) -> None:
    assert lowest_id(moment) <= uuid7(moment, entropy)


def test_74_bits_of_chance_keep_ids_apart() -> None:
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    assert len({uuid7(moment, os.urandom(10)) for _ in range(10_000)}) == 10_000


@given(moments, st.lists(entropies, max_size=20))
def test_many_ids_are_those_made_one_by_one_in_order(moment: datetime, chances: list[bytes]) -> None:
    made = sorted(uuid7(moment, chance) for chance in chances)
    assert uuid7_hexes(moment, b"".join(chances)) == [each.hex for each in made]


@given(st.uuids())
def test_an_id_of_hex_digits_is_written_like_any_other(made: UUID) -> None:
    assert text_of_hex(made.hex) == str(made)


@given(moments, entropies)
def test_i5_one_nominal_time_of_a_template_is_one_id(moment: datetime, entropy: bytes) -> None:
    template = uuid7(moment, entropy)
    other = uuid7(moment, bytes(10) if entropy != bytes(10) else b"1" * 10)
    assert run_id(template, moment) == run_id(template, moment)
    assert run_id(template, moment) != run_id(other, moment)
