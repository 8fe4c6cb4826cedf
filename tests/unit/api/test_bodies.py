"""Reading a body: strict JSON, bounded, always an object."""

import base64
import json

import pytest

from api.bodies import read_body
from api.faults import BodyTooLargeError, InvalidRequestError


def test_text_and_base64_mean_the_same() -> None:
    text = json.dumps({"ключ": [1, 2**80, 1.5, None]}, ensure_ascii=False)
    encoded = base64.b64encode(text.encode()).decode()
    assert read_body({"body": text}, 1_000) == read_body({"body": encoded, "isBase64Encoded": True}, 1_000)


def test_the_limit_counts_bytes_not_characters() -> None:
    text = json.dumps({"a": "é" * 10}, ensure_ascii=False)
    size = len(text.encode())
    assert read_body({"body": text}, size)
    with pytest.raises(BodyTooLargeError):
        read_body({"body": text}, size - 1)


@pytest.mark.parametrize(
    "body", [None, "", "  ", "[]", "1", "{]", '{"a": NaN}', "{" * 300, '{"a":' * 300 + "1" + "}" * 300]
)
def test_anything_else_is_refused(body: str | None) -> None:
    with pytest.raises(InvalidRequestError):
        read_body({"body": body}, 10_000)


@pytest.mark.parametrize("body", ["not base64!", "////", base64.b64encode(b'{"a": "\xff"}').decode()])
def test_base64_of_something_else_is_refused(body: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_body({"body": body, "isBase64Encoded": True}, 10_000)


def test_a_number_of_absurd_length_is_read_or_refused_but_never_a_crash() -> None:
    with pytest.raises(InvalidRequestError):
        read_body({"body": '{"a": ' + "9" * 5_000 + "}"}, 10_000)
