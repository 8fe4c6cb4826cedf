"""Where the local gateway listens."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from hosting import web


@pytest.mark.parametrize("listening", [web.bind, lambda: web.listen("127.0.0.1", 0)], ids=["bind", "listen"])
def test_connections_do_not_wait_for_acknowledgements(listening: Callable[[], socket.socket]) -> None:
    async def accepted_without_delay(bound: socket.socket) -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=bound):
            _, client = await asyncio.open_connection(*bound.getsockname())
            try:
                return await asyncio.wait_for(told, 5)
            finally:
                client.close()

    with closing(listening()) as bound:
        assert asyncio.run(accepted_without_delay(bound)) != 0
