"""A LocalStack of our own on a free port of the loopback. It keeps nothing and ends with us."""

import signal
import subprocess
from pathlib import Path
from typing import Final

from dev import processes
from dev.processes import ServerError
from hosting.web import LOOPBACK

_TOOL: Final = Path(__file__).parents[1] / ".tools" / "localstack" / "bin" / "python"
_MAIN: Final = Path(__file__).with_name("localstack_main.py")
_START_SECONDS: Final = 90.0
"""Six seconds on an idle machine."""


class LocalStackServer:
    """LocalStack with its state below `folder`, which is the caller's to remove."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers. Raises ServerError where it is not installed or does not come up."""
        if not _TOOL.exists():
            raise ServerError("LocalStack is not installed: `make test-localstack` installs it into .tools/localstack")
        self.port = processes.free_port()
        log = self._folder / "localstack.log"
        self._process = processes.start([_TOOL, "-P", _MAIN], log=log, environment=self._environment())
        answered = processes.wait_until(lambda: self.pid is None or processes.answers(self.port), _START_SECONDS)
        if not answered or self.pid is None:
            self.stop()
            raise ServerError(f"LocalStack does not start:\n{processes.tail(log)}")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            if self.pid is not None:
                processes.end(self._process.pid, signal.SIGTERM, patience_seconds=4)
            self._process.wait()

    def _environment(self) -> dict[str, str]:
        return {
            "DISABLE_EVENTS": "1",  # it tells nobody that it runs
            "DNS_ADDRESS": "0",  # no name server of its own
            "DOCKER_HOST": "tcp://127.0.0.1:1",  # it fetches no images and starts no containers
            "FILESYSTEM_ROOT": str(self._folder),
            "GATEWAY_LISTEN": f"{LOOPBACK}:{self.port}",
            "GATEWAY_SERVER": "hypercorn",
            "OVERRIDE_IN_DOCKER": "0",  # /.dockerenv alone makes it look for the files of its image
            "SKIP_SSL_CERT_DOWNLOAD": "1",
        }
