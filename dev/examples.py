"""Examples in Markdown pages that are really what the program prints: `python -m dev.examples PAGE` renews them.

An example is a fenced block that begins with `$ scheduler ...`; what follows in it is replaced by the command's output.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

_WIDTH: Final = "100"
_EXAMPLE: Final = re.compile(
    r"(?P<fence>^```console\n)\$ scheduler (?P<arguments>[^\n]*)\n.*?(?=^```$)", re.MULTILINE | re.DOTALL
)


def renewed(page: str) -> str:
    """The page with the outputs of now. Raises CalledProcessError where a command fails."""
    return _EXAMPLE.sub(
        lambda found: f"{found['fence']}$ scheduler {found['arguments']}\n{_run(found['arguments'])}", page
    )


def _run(arguments: str) -> str:
    program = [sys.executable, "-m", "cli.main", *arguments.split()]
    told = subprocess.run(
        program, capture_output=True, text=True, check=True, env={"COLUMNS": _WIDTH, "PATH": "", "LANG": "C.UTF-8"}
    )
    return "".join(f"{line.rstrip()}\n" for line in told.stdout.strip().splitlines())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name)
        file.write_text(renewed(file.read_text(encoding="utf-8")), encoding="utf-8")
