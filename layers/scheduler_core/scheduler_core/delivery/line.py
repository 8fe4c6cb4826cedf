"""A reusable line to targets: one libcurl easy handle, used for one attempt after another.

libcurl keeps the connections apart from the handles, so any line takes any target; options are set only where they
differ from the last attempt's.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast

import pycurl

from scheduler_core.delivery.failures import failure
from scheduler_core.delivery.letter import Letterhead, Shape, write
from scheduler_core.delivery.parcels import Signer
from scheduler_core.domain.addresses import Network, refusal
from scheduler_core.domain.hosts import Origin
from scheduler_core.domain.jobs import ClaimedJob
from scheduler_core.domain.outcomes import DeliveryResult, Verdict, verdict_of_status

MAX_ANSWER_BYTES: Final = 64 * 1024
"""An answer is read up to here and then cut off; its status counts all the same. libcurl bounds headers (300 KB)."""
KEPT_BYTES: Final = 1_024
"""How much of an answer is kept for the producer's eyes."""
MAX_CONNECT_SECONDS: Final = 10
_MAX_RETRY_AFTER_SECONDS: Final = 7 * 86_400
_LARGE_BODY: Final = 16 * 1024
# What `_make` does, without a call of Python's own for each of thousands of results.
_RESULT = partial(tuple.__new__, DeliveryResult)
_VERDICTS: Final = tuple(verdict_of_status(status) for status in range(1_000))
_CA_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Amazon Linux: Lambda
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def system_ca_bundle() -> str | None:
    """The file of certificate authorities that this system trusts; `SSL_CERT_FILE` goes first. None: libcurl's own."""
    candidates = (os.environ.get("SSL_CERT_FILE", ""), *_CA_BUNDLES)
    return next((path for path in candidates if path and Path(path).is_file()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """What all lines of a courier share. `pins` are libcurl's `host:port:address` entries, looked at before DNS."""

    allowed: Sequence[Network]
    user_agent: str
    ca_bundle: str | None
    pins: tuple[str, ...] = ()


class Line:
    """One easy handle. `on_connection` is told of every new connection's file descriptor."""

    __slots__ = (
        "_answer", "_body_kept", "_getinfo", "_head", "_method", "_on_connection", "_opened", "_opening", "_options",
        "_refusal", "_setopt", "_shape", "_size", "_started_at", "_timeout_seconds", "_url", "curl", "job",
    )  # fmt: skip

    def __init__(self, options: LineOptions, on_connection: Any) -> None:
        self._options = options
        self._on_connection = on_connection
        self.curl = pycurl.Curl()
        # An attribute of libcurl's objects takes several times as long to look up as one of ours.
        self._setopt, self._getinfo = self.curl.setopt, self.curl.getinfo
        self.job: ClaimedJob | None = None
        self._head: Letterhead | None = None
        self._shape: Shape | None = None
        self._method = b""
        self._url = b""
        self._timeout_seconds = 0
        self._body_kept = False
        self._answer, self._size = b"", 0
        self._refusal: str | None = None
        self._opened = False
        self._opening: socket.socket | None = None

    def load(self, job: ClaimedJob, head: Letterhead, signers: Sequence[Signer], now: datetime) -> None:
        """Make ready to send `job`. Raises pycurl.error or UnicodeError for what libcurl cannot be given."""
        shape, headers, body = write(job, head, signers, now)
        url, method, timeout_seconds = head.url, head.method, job.timeout_seconds
        setopt = self._setopt
        if shape is not self._shape or method != self._method:
            self._configure(shape, method)
        if url != self._url:
            setopt(pycurl.URL, url)
            self._url = url
        if timeout_seconds != self._timeout_seconds:
            setopt(pycurl.TIMEOUT_MS, timeout_seconds * 1_000)
            setopt(pycurl.CONNECTTIMEOUT_MS, min(timeout_seconds, MAX_CONNECT_SECONDS) * 1_000)
            self._timeout_seconds = timeout_seconds
        if shape is Shape.WITH_BODY:
            setopt(pycurl.POSTFIELDS, body)
            self._body_kept = len(body) > _LARGE_BODY
        setopt(pycurl.HTTPHEADER, headers)
        self._answer, self._size = b"", 0
        self._refusal, self._opened = None, False
        self._head, self._started_at = head, now
        self.job = job

    def unload(self) -> None:
        """Forget the attempt; a large body is let go."""
        self.job = self._head = None
        self._answer = b""
        if self._body_kept:
            self.curl.setopt(pycurl.POSTFIELDS, b"")
            self._body_kept = False
        if self._opening is not None:
            self._close_opening()

    def close(self) -> None:
        """Give the handle back to libcurl."""
        self._close_opening()
        self.curl.close()

    def answered(self, finished_at: datetime) -> DeliveryResult:
        """The result of a transfer that libcurl calls complete."""
        status = self._getinfo(pycurl.RESPONSE_CODE)
        if not 0 < status < len(_VERDICTS):
            text = f"{self._origin.authority} did not answer with HTTP"
            return DeliveryResult(Verdict.RETRYABLE, self._started_at, finished_at, None, text)
        verdict = _VERDICTS[status]
        response = self._answer.decode(errors="replace").replace("\0", "\ufffd") if self._answer else None
        error, retry_after = None, None
        if verdict is Verdict.RETRYABLE:
            # libcurl reads both forms, seconds and date, and answers 0 for neither
            retry_after = min(float(self._getinfo(pycurl.RETRY_AFTER)), _MAX_RETRY_AFTER_SECONDS) or None
        elif 300 <= status < 400:
            error = f"redirects are not followed ({status})"
        return _RESULT((verdict, self._started_at, finished_at, status, error, retry_after, response))

    def failed(self, code: int, message: str, finished_at: datetime) -> DeliveryResult:
        """The result of a transfer that libcurl calls failed, with error `code`."""
        if self._size > MAX_ANSWER_BYTES:
            return self.answered(finished_at)
        if self._refusal is not None and not self._opened:
            return DeliveryResult(Verdict.PERMANENT, self._started_at, finished_at, None, self._refusal)
        asked = self._getinfo(pycurl.REQUEST_SIZE) > 0
        verdict, text = failure(
            code,
            message,
            self._getinfo(pycurl.OS_ERRNO),
            origin=self._origin,
            timeout_seconds=self._timeout_seconds,
            connect_seconds=None if asked else min(self._timeout_seconds, MAX_CONNECT_SECONDS),
        )
        return DeliveryResult(verdict, self._started_at, finished_at, None, text)

    @property
    def _origin(self) -> Origin:
        return cast("Letterhead", self._head).origin

    def _configure(self, shape: Shape, method: bytes) -> None:
        self._shape = None  # half set, should anything fail
        curl, options = self.curl, self._options
        curl.reset()
        self._url, self._timeout_seconds, self._body_kept = b"", 0, False
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROXY, "")  # nor one from the environment
        curl.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.SSL_VERIFYPEER, 1)
        curl.setopt(pycurl.SSL_VERIFYHOST, 2)
        if options.ca_bundle is not None:
            curl.setopt(pycurl.CAINFO, options.ca_bundle)
        curl.setopt(pycurl.USERAGENT, options.user_agent)
        if options.pins:
            curl.setopt(pycurl.RESOLVE, list(options.pins))
        curl.setopt(pycurl.WRITEFUNCTION, self._receive)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
        curl.setopt(pycurl.SOCKOPTFUNCTION, self._connecting)
        if shape is Shape.HEAD:
            curl.setopt(pycurl.NOBODY, 1)
        elif shape is Shape.WITHOUT_BODY:
            curl.setopt(pycurl.HTTPGET, 1)
            if method != b"GET":
                curl.setopt(pycurl.CUSTOMREQUEST, method)
        else:
            curl.setopt(pycurl.POST, 1)
            if method != b"POST":
                curl.setopt(pycurl.CUSTOMREQUEST, method)
        self._shape, self._method = shape, method

    # Called by libcurl. An exception here would be printed and fail the transfer, so there is none.

    def _receive(self, piece: bytes) -> int | None:
        self._size += len(piece)
        if self._size > MAX_ANSWER_BYTES:
            return 0  # stops the transfer
        if len(self._answer) < KEPT_BYTES:
            self._answer = (self._answer + piece)[:KEPT_BYTES]
        return None

    def _open(self, _purpose: int, address: Any) -> Any:
        """A socket for the very address that is about to be connected to, if it may be: nothing changes in between."""
        try:
            self._close_opening()
            refused = refusal(ip_address(address.addr[0].partition("%")[0]), self._options.allowed)
            if refused is not None:
                self._refusal = refused
                return pycurl.SOCKET_BAD
            self._opened = True
            self._opening = socket.socket(address.family, address.socktype, address.protocol)
        except (OSError, ValueError):
            return pycurl.SOCKET_BAD
        return self._opening

    def _connecting(self, fd: int, _purpose: int) -> int:
        self._close_opening()  # libcurl holds a duplicate
        os.set_inheritable(fd, False)  # noqa: FBT003 - the only way to say it
        self._on_connection(fd)
        return 0

    def _close_opening(self) -> None:
        if self._opening is not None:
            self._opening.close()
            self._opening = None
