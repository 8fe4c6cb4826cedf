"""The receiver of the throughput benchmarks: an nginx that answers 200, and whose log says when each request came.

One worker is several times as fast as anything that sends to it. Its log has a line for each request: the moment to
the millisecond, the job's id, the attempt. The nginx is the one on PATH, or Debian's package unpacked into `.tools`,
where nothing is installed and no service starts.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from dev import processes
from dev.processes import ServerError

_TOOLS: Final = Path(__file__).parents[1] / ".tools" / "nginx"
_READY_SECONDS: Final = 5.0
_LOG_LAG_SECONDS: Final = 0.1
"""How long nginx may keep lines to itself before it writes them."""
_CONFIG: Final = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.error.log;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  log_format arrivals '$msec $http_webhook_id $http_x_scheduler_attempt';
  access_log {folder}/arrivals.log arrivals buffer=64k flush=100ms;
  keepalive_requests 1000000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{ return 200 "ok"; }}
    location /busy {{ return 503 "busy"; }}
  }}
}}
"""


class Arrival(NamedTuple):
    """One request, as the log has it."""

    moment: float
    """Seconds since 1970, to the millisecond."""
    job_id: str
    attempt: int


def parse_arrival(line: str) -> Arrival:
    """A line of the log. Headers that were not sent are a dash there: an empty id, attempt 0."""
    moment, job_id, attempt = line.split(" ")
    return Arrival(float(moment), "" if job_id == "-" else job_id, 0 if attempt == "-" else int(attempt))


def find_nginx() -> Path:
    """nginx from PATH, or fetched from the distribution. Raises ServerError where there is none."""
    unpacked = _TOOLS / "usr" / "sbin" / "nginx"
    if installed := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Path(installed)
    if not unpacked.exists():
        _fetch(_TOOLS)
    return unpacked


def _fetch(folder: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise ServerError("nginx is needed as the receiver: install it so that it is on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", "-q", "nginx"], cwd=folder, check=True, capture_output=True)  # noqa: S607 - both are on PATH, see above
        package = next(folder.glob("nginx_*.deb"))
        subprocess.run(["dpkg", "-x", package.name, "."], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607 - the same
    except (subprocess.CalledProcessError, StopIteration) as error:
        raise ServerError("nginx is needed as the receiver, and apt-get cannot fetch it: install it") from error


def start(folder: Path, config: str, port: int) -> subprocess.Popen[bytes]:
    """An nginx in `folder`, once it accepts connections at `port`. Raises ServerError with what it said instead."""
    file, errors = folder / "nginx.conf", folder / "nginx.error.log"
    file.write_text(config, encoding="utf-8")
    process = processes.start([find_nginx(), "-e", errors, "-c", file, "-p", folder], log=folder / "nginx.out")
    if not processes.wait_until(lambda: process.poll() is not None or processes.answers(port), _READY_SECONDS):
        process.kill()
    if process.poll() is not None:
        raise ServerError(f"nginx does not start:\n{processes.tail(errors)}")
    return process


class Nginx:
    """A context manager: an nginx with its log in `folder`. It answers 200, at `busy_url` 503."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "arrivals.log"
        self._read_to = self._counted_to = 0
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self.busy_url = ""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        port = processes.free_port()
        self._process = start(self._folder, _CONFIG.format(folder=self._folder, port=port), port)
        self.url, self.busy_url = (f"http://127.0.0.1:{port}/{path}" for path in ("hook", "busy"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def mark(self) -> None:
        """From here on `count` and `arrivals` see only what comes."""
        self._settle()
        self._read_to = self._counted_to = self._log.stat().st_size
        self._count = 0

    def count(self) -> int:
        """How many requests have been logged since the last mark; cheap, up to 0.1 s behind."""
        with self._log.open("rb") as log:
            log.seek(self._counted_to)
            fresh = log.read()
        self._counted_to += len(fresh)
        self._count += fresh.count(b"\n")
        return self._count

    def arrivals(self) -> list[Arrival]:
        """Every request since the last mark, in the log's order."""
        self._settle()
        with self._log.open(encoding="ascii") as log:
            log.seek(self._read_to)
            return [parse_arrival(line) for line in log.read().splitlines()]

    def version(self) -> str:
        """As nginx says it."""
        said = subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - found above
        return said.strip().rpartition("/")[2]

    def _settle(self) -> None:
        time.sleep(2 * _LOG_LAG_SECONDS)
