"""Serves an ASGI application inside our own event loop, on a socket that is already bound."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

LOOPBACK = "127.0.0.1"


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the stack's to act on


class WebServer:
    """One application on one port; `grace_seconds` is what requests under way get at the end."""

    def __init__(self, application: Any, bound: socket.socket, *, grace_seconds: int = 1) -> None:
        self.port: int = bound.getsockname()[1]
        self._bound = bound
        config = uvicorn.Config(
            application,
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=grace_seconds,
            backlog=1_024,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        """Accept connections from here on."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._bound]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn offers a flag only
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Finish what is under way, as long as it is given time."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._bound.close()


def bind(preferred: int | None = None) -> socket.socket:
    """A listening place on 127.0.0.1: the preferred port if it is free, else another."""
    for port in (preferred, 0) if preferred else (0,):
        bound = _stream(socket.AF_INET)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((LOOPBACK, port))
            bound.listen(1_024)
        except OSError:
            bound.close()
            continue
        return bound
    raise OSError("there is no free port on 127.0.0.1")


def listen(address: str, port: int) -> socket.socket:
    """A listening place at this address and port and no other. Raises OSError."""
    bound = _stream(socket.AF_INET6 if ":" in address else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, port))
        bound.listen(1_024)
    except OSError:
        bound.close()
        raise
    return bound


def _stream(family: socket.AddressFamily) -> socket.socket:
    """A TCP socket that says so: asyncio turns Nagle's algorithm off on connections of no other.

    With it on, the second segment of an answer waits for the client's delayed acknowledgement of the first, 40 ms.
    """
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
