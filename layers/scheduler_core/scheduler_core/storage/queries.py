"""Named SQL: every statement lives in a `.sql` file beside this module, under a name and a one-line purpose."""

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class Queries:
    """The statements of one `.sql` file: `Queries("jobs")["claim_jobs"]`; KeyError for a name that is not there."""

    def __init__(self, aggregate: str) -> None:
        text = files(__package__).joinpath("sql", f"{aggregate}.sql").read_text(encoding="utf-8")
        parts = _NAME.split(text)[1:]
        self._statements = {name: body.strip().encode() for name, body in zip(parts[::2], parts[1::2], strict=True)}

    def __getitem__(self, name: str) -> bytes:
        return self._statements[name]

    def names(self) -> list[str]:
        """Every name, in the file's order."""
        return list(self._statements)
