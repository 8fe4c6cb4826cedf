"""What a failed transfer is called, and whether to try again. Texts name the server, never path, headers or payload."""

import os
from typing import Final

import pycurl

from scheduler_core.domain.hosts import Origin
from scheduler_core.domain.outcomes import Verdict

_TLS: Final = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_SSL_ENGINE_NOTFOUND,
        pycurl.E_SSL_ENGINE_SETFAILED,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_ISSUER_ERROR,
        pycurl.E_SSL_INVALIDCERTSTATUS,
    }
)
_BROKEN: Final = "the connection to {where} broke before the answer was complete"
_NOT_HTTP: Final = "{where} did not answer with HTTP"
_TEXTS: Final = {
    pycurl.E_COULDNT_RESOLVE_HOST: "could not resolve {host}",
    pycurl.E_COULDNT_CONNECT: "could not connect to {where}",
    pycurl.E_GOT_NOTHING: "{where} closed the connection without an answer",
    pycurl.E_RECV_ERROR: _BROKEN,
    pycurl.E_SEND_ERROR: _BROKEN,
    pycurl.E_PARTIAL_FILE: _BROKEN,
    16: _BROKEN,  # CURLE_HTTP2
    92: _BROKEN,  # CURLE_HTTP2_STREAM
    pycurl.E_UNSUPPORTED_PROTOCOL: _NOT_HTTP,
    8: _NOT_HTTP,  # CURLE_WEIRD_SERVER_REPLY
}


def failure(
    code: int, message: str, errno: int, *, origin: Origin, timeout_seconds: int, connect_seconds: float | None
) -> tuple[Verdict, str]:
    """The verdict on libcurl's error `code` with its `message`, and a short text for the producer.

    `connect_seconds`: how long the connection was waited for, where it never came about; None where it did.
    """
    if code == pycurl.E_URL_MALFORMAT:
        return Verdict.PERMANENT, "the URL is malformed"
    where = origin.authority
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return Verdict.RETRYABLE, (
            f"timed out after {timeout_seconds} s"
            if connect_seconds is None
            else f"could not connect to {where} within {connect_seconds:g} s"
        )
    if code == pycurl.E_COULDNT_CONNECT and errno:
        return Verdict.RETRYABLE, f"could not connect to {where}: {os.strerror(errno).lower()}"
    if code in _TLS:
        return Verdict.RETRYABLE, f"TLS with {where} failed: {message}"
    if message.startswith("Too large response headers"):
        return Verdict.RETRYABLE, f"the headers of the answer of {where} are too large"
    text = _TEXTS.get(code, "the transfer to {where} failed (libcurl error {code})")
    return Verdict.RETRYABLE, text.format(where=where, host=origin.host, code=code)
