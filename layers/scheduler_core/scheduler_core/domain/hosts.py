"""What the host part of a URL means: an IP address in one of its many spellings, or a name.

`http://2130706433/`, `http://0x7f.1/`, `http://①②⑦.⓪.⓪.①/` and `http://127.0.0.1./` all are 127.0.0.1 to one program
or another, so they are to us. Numbers are read as inet_aton(3) and the WHATWG URL standard read them.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote, urlsplit

from scheduler_core.domain.addresses import Address

MAX_URL_CHARACTERS = 2_048
_UNSPEAKABLE = re.compile(r"[\x00-\x20\x7f\\]|\s")
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)\Z")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\Z")
_SCHEMES = {"http": 80, "https": 443}
_MAX_PARTS = 4


@dataclass(frozen=True, slots=True)
class Origin:
    """The server that a request goes to: `host` is an address, or an ASCII name in lower case without a final dot."""

    scheme: str
    host: Address | str
    port: int

    @property
    def authority(self) -> str:
        """`host:port`, for messages: never with the user's credentials."""
        return f"[{self.host}]:{self.port}" if isinstance(self.host, IPv6Address) else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse_http_url(url: str) -> Origin:
    """The parts of `url` that decide where it leads. Raises ValueError, with a text that does not quote the URL."""
    if len(url) > MAX_URL_CHARACTERS:
        raise ValueError(f"a URL has at most {MAX_URL_CHARACTERS} characters")
    if _UNSPEAKABLE.search(url):
        raise ValueError("a URL has no spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("the URL's host or port cannot be read") from error
    if parts.scheme not in _SCHEMES:
        raise ValueError("the URL does not start with http:// or https://")
    if not parts.hostname:
        raise ValueError("the URL has no host")
    if port == 0:
        raise ValueError("port 0 cannot be reached")
    return Origin(parts.scheme, parse_host(parts.hostname), port or _SCHEMES[parts.scheme])


def parse_host(host: str) -> Address | str:
    """The address that `host` spells, or else the name. Raises ValueError if it is neither."""
    if ":" in host:
        return _v6(host.strip("[]"))
    plain = _ascii(unquote(host) if "%" in host else host).removesuffix(".")
    labels = plain.split(".")
    if _NUMBER.match(labels[-1]):
        return _v4(labels)
    if not _NAME.match(plain) or "" in labels:
        raise ValueError("the URL's host is not a name")
    return plain.lower()


def ascii_url(url: str) -> str:
    """`url` as it goes on the wire: its host in ASCII (RFC 3490), whatever else is not ASCII percent-encoded as UTF-8.

    Raises ValueError where the host cannot be written so.
    """
    if url.isascii():
        return url
    parts = urlsplit(url)
    user, at, host_port = parts.netloc.rpartition("@")
    host, colon, port = host_port.partition(":")
    netloc = f"{_percent(user)}{at}{_ascii(host)}{colon}{port}"
    return parts._replace(netloc=netloc, path=_percent(parts.path), query=_percent(parts.query), fragment="").geturl()


def _percent(text: str) -> str:
    return "".join(c if c.isascii() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError("the URL's host is not a name") from error


def _v6(host: str) -> IPv6Address:
    try:
        return IPv6Address(host.partition("%")[0])  # a zone says through which interface, not to whom
    except AddressValueError as error:
        raise ValueError("the URL's host is not an IPv6 address") from error


def _v4(labels: list[str]) -> IPv4Address:
    if len(labels) > _MAX_PARTS or not all(_NUMBER.match(label) for label in labels):
        raise ValueError("the URL's host is not an IPv4 address")
    *bytes_before, last = (_number(label) for label in labels)
    room = 8 * (_MAX_PARTS - len(bytes_before))
    if any(byte > 0xFF for byte in bytes_before) or last >= 1 << room:
        raise ValueError("the URL's host is not an IPv4 address")
    value = last
    for place, byte in enumerate(bytes_before):
        value |= byte << (24 - 8 * place)
    return IPv4Address(value)


def _number(label: str) -> int:
    if label[:2] in ("0x", "0X"):
        return int(label[2:] or "0", 16)
    if label.startswith("0") and len(label) > 1:
        if set(label) & {"8", "9"}:
            raise ValueError("the URL's host is not an IPv4 address")  # or is it decimal? programs disagree
        return int(label, 8)
    return int(label)
