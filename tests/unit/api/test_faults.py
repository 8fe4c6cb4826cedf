"""Faults: each says where it is."""

import pytest

from api.faults import MOST_FAULTS, Fault, InvalidRequestError, faults_from, faults_of


@pytest.mark.parametrize(
    ("place", "pointer"),
    [
        (("body",), ""),
        (("body", "priority"), "/priority"),
        (("body", "target", "http", "url"), "/target/url"),
        (("body", "target", "url"), "/target/url"),
        (("body", "metadata", "http"), "/metadata/http"),
        (("body", "metadata", "a/b~c"), "/metadata/a~1b~0c"),
        (("body", "metadata", "a", "[key]"), "/metadata/a"),
        (("body", "items", 3, "name"), "/items/3/name"),
    ],
)
def test_a_place_in_the_body_is_a_json_pointer(place: tuple[str | int, ...], pointer: str) -> None:
    (fault,) = faults_from([{"loc": place, "type": "missing"}])
    assert fault.as_json() == {"detail": "is required", "pointer": pointer}


def test_a_place_outside_the_body_is_a_parameter() -> None:
    (fault,) = faults_from([{"loc": ("query", "limit"), "type": "int_parsing", "msg": "Input should be a number"}])
    assert fault.as_json() == {"detail": "should be a number", "parameter": "limit"}


def test_no_more_faults_are_told_than_anyone_reads() -> None:
    """I8."""
    assert len(faults_from([{"loc": ("body", n), "type": "missing"} for n in range(1_000)])) == MOST_FAULTS
    assert len(faults_of(InvalidRequestError(*[Fault("is wrong", pointer="/a")] * 1_000))) == MOST_FAULTS


def test_other_errors_have_no_faults() -> None:
    assert faults_of(ValueError("x")) == ()
