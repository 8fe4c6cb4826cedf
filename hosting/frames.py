"""What the invoker and a function's process say to one another: JSON behind its length in four bytes."""

import asyncio
import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")


def pack(message: dict[str, Any]) -> bytes:
    """A message as it goes over the wire. Raises TypeError or ValueError for what JSON cannot say."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """Wait for a message; None when the other side is gone."""
    head = _exactly(channel, _LENGTH.size)
    body = _exactly(channel, _LENGTH.unpack(head)[0]) if head else None
    return None if body is None else json.loads(body)


async def read(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Wait for a message. Raises asyncio.IncompleteReadError when the other side is gone."""
    head = await reader.readexactly(_LENGTH.size)
    answer: dict[str, Any] = json.loads(await reader.readexactly(_LENGTH.unpack(head)[0]))
    return answer


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = channel.recv(size - len(parts))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)
