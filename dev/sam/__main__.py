"""`python -m dev.sam`, as `make sam` and `make sam-down` run it."""

import argparse
import os
import signal
import sys
from pathlib import Path

from dev.local_environment import ROOT
from dev.sam import running
from dev.sam.compose import Compose
from dev.sam.steps import StepError, Steps
from dev.stack import ECHO_PORT, PORT
from hosting import parent


def main() -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m dev.sam", description="Run the API in SAM's containers.")
    parser.add_argument("--port", type=int, default=PORT, help="where the API listens; 0 for any free port")
    parser.add_argument("--echo-port", type=int, default=ECHO_PORT, help="where the echo receiver listens")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of text for people")
    parser.add_argument("--data", type=Path, default=ROOT / ".data", help="the data folder")
    parser.add_argument("--sam", type=Path, help="the sam program; without it that of `make sam`, else the one on PATH")
    parser.add_argument("--down", action="store_true", help="end the stores, and nothing else")
    parser.add_argument("--volumes", action="store_true", help="with --down: forget their data, too")
    parser.add_argument("--end-with-parent", action="store_true", help="end as with SIGTERM when our parent does")
    given = parser.parse_args()
    if given.end_with_parent:
        parent.end_with(os.getppid(), signal.SIGTERM)
    if given.down:
        return _down(given.data, volumes=given.volumes)
    return running.run(
        running.Options(
            port=given.port, echo_port=given.echo_port, as_json=given.json, folder=given.data, sam=given.sam
        )
    )


def _down(folder: Path, *, volumes: bool) -> int:
    try:
        Compose(Steps(folder / "sam-down.log")).down(volumes=volumes)
    except StepError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
