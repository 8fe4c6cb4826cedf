"""The echo receiver as a process beside ours."""

import asyncio
import os
import socket
import sys


async def start_echo(bound: socket.socket, webhook_secret: str) -> asyncio.subprocess.Process:
    """Have it serve on a listening socket of ours. It ends when we do; its lines are to be read from its stdout."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dev.echo",
        str(bound.fileno()),
        pass_fds=(bound.fileno(),),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "STACK_PID": str(os.getpid()), "ECHO_WEBHOOK_SECRET": webhook_secret},
        start_new_session=True,
    )


async def end_process(process: asyncio.subprocess.Process, *, seconds: float) -> None:
    """Ask a process to end; kill it when it has not after so many seconds."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
