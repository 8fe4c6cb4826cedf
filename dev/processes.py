"""Starting and ending the local servers: tied to our life, found again by the next start, and never anyone else's."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hosting.web import LOOPBACK
from scheduler_core.clock import monotonic

_LAUNCH = Path(__file__).with_name("launch.py")
_UNPRIVILEGED = ("nobody", "daemon")


class ServerError(Exception):
    """A local server cannot be started; the message says what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """Another user, and whether it needs help to pass through folders that are closed to it."""

    uid: int
    gid: int
    traverse: bool


def unprivileged(*paths: Path, owner_of: Path | None = None) -> RunAs | None:
    """Who runs a server that refuses root: None (we do) unless we are root.

    A folder that has an owner already (`owner_of`) keeps it. `paths` are what the user has to reach.
    """
    if os.geteuid() != 0:
        return None
    if owner_of is not None and owner_of.exists() and (stat := owner_of.stat()).st_uid != 0:
        uid, gid = stat.st_uid, stat.st_gid
    else:
        known = {entry.pw_name: (entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall() if entry.pw_uid != 0}
        uid, gid = next((known[name] for name in _UNPRIVILEGED if name in known), (65534, 65534))
    return RunAs(uid=uid, gid=gid, traverse=any(not _may_reach(path, uid, gid) for path in paths))


def _may_reach(path: Path, uid: int, gid: int) -> bool:
    for folder in path.resolve().parents:
        stat = folder.stat()
        bit = 0o100 if stat.st_uid == uid else 0o010 if stat.st_gid == gid else 0o001
        if not stat.st_mode & bit:
            return False
    return True


def start(
    program: Sequence[object],
    *,
    log: Path,
    run_as: RunAs | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, as a Ctrl-C in the terminal is ours to act on. It ends when we do."""
    how = {
        "parent": os.getpid(),
        "death_signal": int(death_signal),
        "uid": run_as.uid if run_as else None,
        "gid": run_as.gid if run_as else None,
        "traverse": bool(run_as and run_as.traverse),
    }
    with log.open("ab") as sink:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCH), json.dumps(how), *map(str, program)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd="/",
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
            start_new_session=True,
        )


def command_of(pid: int) -> list[str]:
    """The command line of a process, empty when there is none."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:
            return []
    listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.split()


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    if sys.platform == "linux":
        try:
            return (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
                not in "ZX"
            )
        except OSError:
            return False
    return bool(command_of(pid))


def end(pid: int, how: signal.Signals, *, patience_seconds: float = 5.0) -> None:
    """Ask a process to end, wait, and kill it when it does not."""
    for each in (how, signal.SIGKILL):
        try:
            os.kill(pid, each)
        except ProcessLookupError:
            return
        if wait_until(lambda: not lives(pid), patience_seconds):
            return


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again every few milliseconds; False when the time is up."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def free_port(preferred: int | None = None) -> int:
    """A port on 127.0.0.1 that nobody listens on: the preferred one if it is free."""
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerError("there is no free port on 127.0.0.1")


def answers(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.2):
            return True
    except OSError:
        return False


def tail(log: Path, lines: int = 8) -> str:
    """The end of a log, for an error message."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
