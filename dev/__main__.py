"""`python -m dev`: the stack without the CLI around it."""

import argparse
import os
import signal
import sys
from pathlib import Path

from dev import stack
from hosting import parent


def main() -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m dev", description="Run the whole scheduler on this machine.")
    parser.add_argument("--port", type=int, default=stack.PORT, help="where the API listens; 0 for any free port")
    parser.add_argument("--echo-port", type=int, default=stack.ECHO_PORT, help="where the echo receiver listens")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of text for people")
    parser.add_argument("--data", type=Path, default=stack.ROOT / ".data", help="the data folder")
    parser.add_argument("--no-ticks", action="store_true", help="fire no schedules")
    parser.add_argument("--end-with-parent", action="store_true", help="end as with SIGTERM when our parent does")
    given = parser.parse_args()
    if given.end_with_parent:
        parent.end_with(os.getppid(), signal.SIGTERM)
    options = stack.Options(
        port=given.port, echo_port=given.echo_port, as_json=given.json, folder=given.data, ticking=not given.no_ticks
    )
    return stack.run(options=options)


if __name__ == "__main__":
    sys.exit(main())
