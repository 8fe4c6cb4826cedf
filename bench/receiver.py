"""A receiver that knows to the microsecond when each delivery came: raw HTTP/1.1 on asyncio, in a process of its own.

`python -m bench.receiver [--delay-ms 5]` prints `{"port": ...}` and then answers commands on standard input, a line of
JSON each: `count` -> `{"deliveries", "ids"}`, `records` -> `{"records": [[id, attempt, arrived_ns], ...]}`. It ends
with its standard input. The arrival is the moment when a request's first bytes are read from the socket.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, cast

_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_END_OF_HEAD: Final = b"\r\n\r\n"


class Delivery(NamedTuple):
    """One request as it came in."""

    job_id: str
    attempt: int
    arrived_ns: int
    """Nanoseconds since 1970, by this machine's clock."""


class _Recorder(asyncio.Protocol):
    """One connection. Requests that follow one another on it are told apart by their lengths."""

    def __init__(self, records: list[Delivery], delay_seconds: float) -> None:
        self._records = records
        self._delay = delay_seconds
        self._buffer = b""
        self._arrived_ns = 0
        self._told_to_continue = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        self._transport = None

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._arrived_ns = time.time_ns()
        self._buffer += data
        while (end := self._buffer.find(_END_OF_HEAD)) >= 0:
            head = _headers(self._buffer[:end])
            if head.get(b"expect") == b"100-continue" and not self._told_to_continue:
                self._told_to_continue = True
                self._write(_CONTINUE)
            total = end + len(_END_OF_HEAD) + int(head.get(b"content-length", b"0"))
            if len(self._buffer) < total:
                return
            self._buffer = self._buffer[total:]
            self._told_to_continue = False
            job_id, attempt = head.get(b"webhook-id", b"").decode(), int(head.get(b"x-scheduler-attempt", b"0"))
            self._records.append(Delivery(job_id, attempt, self._arrived_ns))
            self._answer()

    def _answer(self) -> None:
        if self._delay > 0:
            asyncio.get_running_loop().call_later(self._delay, self._write, _ANSWER)
        else:
            self._write(_ANSWER)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _answer_to(command: str, records: list[Delivery]) -> dict[str, Any]:
    if command == "count":
        return {"deliveries": len(records), "ids": len({each.job_id for each in records})}
    if command == "records":
        return {"records": records}
    return {"error": f"unknown command {command!r}"}


async def _serve(delay_seconds: float) -> None:
    records: list[Delivery] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Recorder(records, delay_seconds), "127.0.0.1", 0, backlog=4_096)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    _tell({"port": server.sockets[0].getsockname()[1]})
    gc.freeze()
    gc.disable()  # a collection in the middle would be measured as lateness
    while command := (await commands.readline()).decode().strip():
        _tell(_answer_to(command, records))


def _tell(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class Receiver:
    """The receiver's process, from the side of the benchmark. A context manager; its address is `url`."""

    def __init__(self, *, delay_ms: float = 0.0) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this very module
            [sys.executable, "-m", "bench.receiver", "--delay-ms", str(delay_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for the benchmark, which ends this process itself
        )
        self.url = f"http://127.0.0.1:{self._read()['port']}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=10)  # the end of its input is the end of it

    def count(self) -> tuple[int, int]:
        """How many deliveries came, and for how many different jobs."""
        answer = self._ask("count")
        return int(answer["deliveries"]), int(answer["ids"])

    def records(self) -> list[Delivery]:
        """Every delivery, in the order of arrival."""
        return [Delivery(*each) for each in self._ask("records")["records"]]

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe above
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe above
        return cast("dict[str, Any]", json.loads(self._process.stdout.readline()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay-ms", type=float, default=0.0)
    asyncio.run(_serve(parser.parse_args().delay_ms / 1_000))
