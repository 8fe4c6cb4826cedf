"""Cursors: opaque, and only their own."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import MAX_CURSOR_CHARACTERS, cursor_of_id, cursor_of_number, id_of_cursor, number_of_cursor
from api.faults import InvalidRequestError


@given(identifier=st.uuids())
def test_an_id_comes_back(identifier: UUID) -> None:
    cursor = cursor_of_id(identifier)
    assert id_of_cursor(cursor) == identifier
    assert len(cursor) <= MAX_CURSOR_CHARACTERS


@given(number=st.integers(0, 2**31 - 1))
def test_a_number_comes_back(number: int) -> None:
    assert number_of_cursor(cursor_of_number(number)) == number


def test_a_number_never_outgrows_the_column() -> None:
    assert number_of_cursor(cursor_of_number(2**32 - 1)) == 2**31 - 1


@given(identifier=st.uuids(), number=st.integers(0, 2**31 - 1))
def test_one_kind_is_not_taken_for_the_other(identifier: UUID, number: int) -> None:
    with pytest.raises(InvalidRequestError):
        number_of_cursor(cursor_of_id(identifier))
    with pytest.raises(InvalidRequestError):
        id_of_cursor(cursor_of_number(number))


@given(text=st.text(max_size=40))
def test_other_text_is_refused(text: str) -> None:
    for decode, size in ((id_of_cursor, 23), (number_of_cursor, 7)):
        if len(text) == size:
            continue
        with pytest.raises(InvalidRequestError) as refused:
            decode(text)
        assert refused.value.faults[0].parameter == "cursor"
