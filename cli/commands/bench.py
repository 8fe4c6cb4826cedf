"""`scheduler bench`: proves what is promised, against a running stack."""

from typing import Final

import typer

app: Final = typer.Typer(help="Prove precision and that nothing is lost.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    pass
