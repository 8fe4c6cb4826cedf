"""What the ready set needs of a Redis client, on hiredis: commands, pipelines, scripts, one subscription.

The usual library imports its asynchronous and its cluster client whether they are used or not, which is a third of a
function's cold start; hiredis, which speaks the protocol, is a thousandth of that. RESP2, TLS by `rediss://`.
"""

import hashlib
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import hiredis

Command = Sequence[str | bytes | float]
_PORT: Final = 6379
_CHUNK: Final = 65_536


class RedisConnectionError(Exception):
    """Redis does not answer, or not in time."""


class RedisReplyError(Exception):
    """Redis refuses a command; the text begins with its code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where Redis is: `redis://[[user]:password@]host[:port][/database]`, or `rediss://` with TLS."""

    host: str
    port: int = _PORT
    database: int = 0
    username: str | None = None
    password: str | None = None
    encrypted: bool = False

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError, without the URL in it."""
        parts = urlsplit(url)
        database = parts.path.strip("/") or "0"
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.query or not database.isdecimal():
            raise ValueError("a Redis URL reads redis://[[user]:password@]host[:port][/database], or rediss:// for TLS")
        return cls(
            host=parts.hostname,
            port=parts.port or _PORT,
            database=int(database),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            encrypted=parts.scheme == "rediss",
        )

    def greeting(self) -> list[Command]:
        """What is said first on every connection."""
        said: list[Command] = []
        if self.password is not None:
            said.append(("AUTH", *([self.username] if self.username else []), self.password))
        if self.database:
            said.append(("SELECT", self.database))
        return said


class Connection:
    """One connection, for one thread at a time. Every method raises RedisConnectionError."""

    def __init__(self, address: RedisAddress, *, connect_timeout: float, timeout: float) -> None:
        try:
            self._socket = socket.create_connection((address.host, address.port), connect_timeout)
            self._socket.settimeout(timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if address.encrypted:
                self._socket = _encrypted(self._socket, address.host)
        except OSError as error:
            raise RedisConnectionError(f"no connection: {type(error).__name__}") from error
        self._reader = hiredis.Reader()
        self._heard = select.poll()
        self._heard.register(self._socket.fileno(), select.POLLIN)
        for reply in self.call(address.greeting()):
            if isinstance(reply, hiredis.ReplyError):
                self.close()
                raise RedisConnectionError(str(reply))

    def call(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to all of `commands`, sent at once. Refusals are among them, as hiredis.ReplyError."""
        if not commands:
            return []
        try:
            self._socket.sendall(b"".join([_packed(command) for command in commands]))
        except OSError as error:
            raise RedisConnectionError(f"not sent: {type(error).__name__}") from error
        return [self._reply() for _ in commands]

    def is_silent(self) -> bool:
        """Whether nothing is there to be read: on an idle connection anything that is says that it has ended."""
        return not self._heard.poll(0)

    def hears_within(self, seconds: float) -> bool:
        """Wait for a message; answers whether there was one. All that have come are taken."""
        pending = getattr(self._socket, "pending", None)  # TLS may have read more than was asked for
        if not (pending and pending()) and not self._heard.poll(max(0.0, seconds) * 1_000):
            return False
        self._read()
        while self._reader.gets() is not False:
            pass
        return True

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()

    def __del__(self) -> None:
        if hasattr(self, "_socket"):
            self.close()

    def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            self._read()
        return reply

    def _read(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except OSError as error:
            raise RedisConnectionError(f"no reply: {type(error).__name__}") from error
        if not data:
            raise RedisConnectionError("the connection was closed")
        self._reader.feed(data)


class RedisClient:
    """For any number of threads: each call has a connection to itself, kept for the next one."""

    def __init__(self, address: RedisAddress, *, connect_timeout: float, timeout: float) -> None:
        self._address = address
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._idle: list[Connection] = []

    def command(self, *command: str | bytes | float, once: bool = False) -> Any:
        """One command's reply. Raises RedisConnectionError, RedisReplyError.

        `once`: it must not be done twice. Others are sent again where a kept connection turns out to be dead.
        """
        return self.pipeline([command], once=once)[0]

    def pipeline(self, commands: Sequence[Command], *, once: bool = False) -> list[Any]:
        """The replies to all, sent at once. Raises RedisConnectionError, RedisReplyError for the first refusal."""
        replies = self._call(commands, once=once)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise RedisReplyError(str(reply))
        return replies

    def transaction(self, commands: Sequence[Command]) -> None:
        """All of `commands`, or none. Raises as `pipeline` does."""
        self.pipeline([("MULTI",), *commands, ("EXEC",)])

    def connect(self) -> Connection:
        """A connection for the caller alone. Raises RedisConnectionError."""
        return Connection(self._address, connect_timeout=self._connect_timeout, timeout=self._timeout)

    def close(self) -> None:
        """Give the connections up; a later call makes new ones."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _call(self, commands: Sequence[Command], *, once: bool) -> list[Any]:
        kept = self._kept()
        if kept is not None:
            try:
                return self._call_on(kept, commands)
            except RedisConnectionError:
                self.close()  # those beside it are as old
                if once:
                    raise
        return self._call_on(self.connect(), commands)

    def _call_on(self, connection: Connection, commands: Sequence[Command]) -> list[Any]:
        try:
            replies = connection.call(commands)
        except BaseException:
            connection.close()  # the next caller would read this one's reply
            raise
        self._idle.append(connection)
        return replies

    def _kept(self) -> Connection | None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if connection.is_silent():
                return connection
            connection.close()
        return None


class Script:
    """A Lua script, sent whole only to a server that does not know it yet."""

    def __init__(self, client: RedisClient, text: str) -> None:
        self._client = client
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, key: str, args: Sequence[str | bytes | float], *, once: bool = False) -> Any:
        """The script's answer. Raises RedisConnectionError, RedisReplyError."""
        try:
            return self._client.command("EVALSHA", self._sha, 1, key, *args, once=once)
        except RedisReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return self._client.command("EVAL", self._text, 1, key, *args, once=once)


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type] # its stub knows tuples of one element
    return packed


def _encrypted(plain: socket.socket, host: str) -> socket.socket:
    import ssl  # only where it is used

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
