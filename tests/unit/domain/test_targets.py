"""What a stored target says, and which AWS resources a merchant may name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.targets import Arn, AwsService, AwsTarget, HttpTarget, arn_allowed, parse_target

QUEUE = "arn:aws:sqs:eu-central-1:123456789012:orders"


def test_an_http_target_is_read_with_its_defaults() -> None:
    target = parse_target('{"type": "http", "url": "https://api.example/hook"}')
    assert isinstance(target, HttpTarget)
    assert (target.url, target.method, target.headers) == ("https://api.example/hook", "POST", ())
    assert target.origin.authority == "api.example:443"


def test_headers_that_belong_to_the_connection_or_to_us_are_left_out() -> None:
    headers = {
        "X-A": "1",
        "Host": "evil",
        "Content-Length": "3",
        "Webhook-Id": "x",
        "X-Scheduler-Attempt": "9",
        "TE": "x",
    }
    target = parse_target(json.dumps({"type": "http", "url": "http://a.example", "headers": headers}))
    assert isinstance(target, HttpTarget)
    assert target.headers == (("X-A", "1"),)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("nonsense", "not JSON"),
        ([], "type is unknown"),
        ({"type": "smtp"}, "type is unknown"),
        ({"type": ["http"]}, "type is unknown"),
        ({"type": "http"}, "no URL"),
        ({"type": "http", "url": "ftp://secret"}, "does not start with"),
        ({"type": "http", "url": "http://a.example", "method": "GET /\r\n"}, "method"),
        ({"type": "http", "url": "http://a.example", "headers": [1]}, "headers are not an object"),
        ({"type": "http", "url": "http://a.example", "headers": {"x": "a\r\nsecret: b"}}, "cannot be sent"),
        ({"type": "http", "url": "http://a.example", "headers": {"x y": "a"}}, "cannot be sent"),
        ({"type": "http", "url": "http://a.example", "headers": {"": "a"}}, "cannot be sent"),
        ({"type": "http", "url": "http://a.example", "headers": {"x": 1}}, "cannot be sent"),
        ({"type": "sqs"}, "ARN cannot be read"),
        ({"type": "sqs", "arn": "arn:aws:sqs:::orders"}, "ARN cannot be read"),
        ({"type": "sqs", "arn": QUEUE.replace("eu-central-1", "evil.example/#")}, "ARN cannot be read"),
        ({"type": "sqs", "arn": QUEUE.replace(":sqs:", ":sns:")}, "not one of sqs"),
        ({"type": "sqs", "arn": QUEUE, "message_group_id": 7}, "options are not text"),
    ],
)
def test_a_target_that_makes_no_sense_is_a_value_error_without_its_contents(stored: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        parse_target(stored if isinstance(stored, str) else json.dumps(stored))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "arn"),
    [
        ("lambda", "arn:aws:lambda:eu-central-1:123456789012:function:work:live"),
        ("sqs", QUEUE),
        ("sns", "arn:aws:sns:eu-central-1:123456789012:news"),
        ("eventbridge", "arn:aws:events:eu-central-1:123456789012:event-bus/default"),
        ("stepfunctions", "arn:aws:states:eu-central-1:123456789012:stateMachine:order"),
    ],
)
def test_an_aws_target_is_read_by_its_arn(kind: str, arn: str) -> None:
    target = parse_target(json.dumps({"type": kind, "arn": arn}))
    assert target == AwsTarget(AwsService(kind), arn, Arn(*arn.split(":", 5)[1:]))


def test_the_options_of_an_aws_target_are_kept() -> None:
    target = parse_target(json.dumps({"type": "sqs", "arn": QUEUE + ".fifo", "message_group_id": "g"}))
    assert isinstance(target, AwsTarget)
    assert target.message_group_id == "g"


@pytest.mark.parametrize(
    ("patterns", "allowed"),
    [
        ([], False),
        ([QUEUE], True),
        (["arn:aws:sqs:*:123456789012:orders"], True),
        (["arn:aws:sqs:*:*:ord?rs"], True),
        (["arn:aws:sqs:*:*:ORDERS"], False),
        (["arn:aws:sns:*:*:*", "arn:aws:sqs:eu-*:123456789012:*"], True),
        (["arn:aws:sqs:*:999999999999:*"], False),
        (["arn:aws:sqs:*:orders"], False),
        (["*"], True),
        (["arn:*"], False),
    ],
)
def test_an_arn_is_allowed_where_a_pattern_covers_every_part_of_it(patterns: list[str], *, allowed: bool) -> None:
    assert arn_allowed(QUEUE, patterns) is allowed


def test_the_resource_is_matched_as_a_whole() -> None:
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:work:live"
    assert arn_allowed(arn, ["arn:aws:lambda:*:123456789012:function:work*"])
    assert arn_allowed(arn, ["arn:aws:lambda:*:123456789012:function:*:live"])
    assert not arn_allowed(arn, ["arn:aws:lambda:*:123456789012:function:work"])


@given(st.text(), st.lists(st.text()))
def test_no_text_breaks_the_matching(arn: str, patterns: list[str]) -> None:
    arn_allowed(arn, patterns)
