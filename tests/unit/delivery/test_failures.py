"""What a failed transfer is called."""

import errno

import pycurl
import pytest

from scheduler_core.delivery.failures import failure
from scheduler_core.domain.hosts import parse_http_url
from scheduler_core.domain.outcomes import Verdict

ORIGIN = parse_http_url("https://user:secret@hook.example/secret")


@pytest.mark.parametrize(
    ("code", "message", "number", "verdict", "text"),
    [
        (pycurl.E_URL_MALFORMAT, "secret", 0, Verdict.PERMANENT, "the URL is malformed"),
        (pycurl.E_COULDNT_RESOLVE_HOST, "secret", 0, Verdict.RETRYABLE, "could not resolve hook.example"),
        (
            pycurl.E_COULDNT_CONNECT,
            "secret",
            errno.EHOSTUNREACH,
            Verdict.RETRYABLE,
            "could not connect to hook.example:443: no route to host",
        ),
        (pycurl.E_COULDNT_CONNECT, "secret", 0, Verdict.RETRYABLE, "could not connect to hook.example:443"),
        (pycurl.E_OPERATION_TIMEDOUT, "secret", 0, Verdict.RETRYABLE, "timed out after 30 s"),
        (
            pycurl.E_SSL_CONNECT_ERROR,
            "wrong version number",
            0,
            Verdict.RETRYABLE,
            "TLS with hook.example:443 failed: wrong version number",
        ),
        (
            pycurl.E_RECV_ERROR,
            "secret",
            0,
            Verdict.RETRYABLE,
            "the connection to hook.example:443 broke before the answer was complete",
        ),
        (
            pycurl.E_OUT_OF_MEMORY,
            "secret",
            0,
            Verdict.RETRYABLE,
            "the transfer to hook.example:443 failed (libcurl error 27)",
        ),
    ],
)
def test_a_failure_names_the_server_and_nothing_secret(
    code: int, message: str, number: int, verdict: Verdict, text: str
) -> None:
    judged = failure(code, message, number, origin=ORIGIN, timeout_seconds=30, connect_seconds=None)
    assert judged == (verdict, text)


def test_a_connection_that_never_came_about_is_told_from_a_slow_answer() -> None:
    judged = failure(pycurl.E_OPERATION_TIMEDOUT, "", 0, origin=ORIGIN, timeout_seconds=30, connect_seconds=10)
    assert judged == (Verdict.RETRYABLE, "could not connect to hook.example:443 within 10 s")
