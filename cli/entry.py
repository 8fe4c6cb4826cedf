"""The outermost ring of the program: turns every way a command can end into an exit code."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from cli.exits import MEANINGS, CommandError, ExitCode
from cli.output import report

_USAGE: Final = "scheduler COMMAND [ARGS]...     scheduler COMMAND --help"
_ENVIRONMENT: Final = {
    "SCHEDULER_URL": "the API; without it the stack that runs in this checkout, else http://127.0.0.1:3000",
    "SCHEDULER_API_KEY": "the API key; without it the demo key of the stack that runs in this checkout",
    "DATABASE_URL": "PostgreSQL, for migrate, merchants and keys",
    "SCHEDULER_MIGRATOR_FUNCTION": "the function that does the same in AWS, where nothing else reaches the database",
    "SIGNING_KEY": "the installation's key, for webhook secrets",
}


class RootGroup(TyperGroup):
    """The root command group; `main` is what both the console script and the tests call."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature is Typer's
        """The overview. Typer's own would take longer to load than to read: it brings Markdown and tracebacks along."""
        console = Console(highlight=False)
        console.print(Text.assemble("\n", self.help or "", "\n\n", ("Usage: ", "yellow"), _USAGE, "\n"))
        commands = {name: self.commands[name].get_short_help_str(90) for name in self.list_commands(ctx)}
        _section(console, "Commands", commands)
        _section(console, "Environment", _ENVIRONMENT)
        _section(console, "Exit codes", {str(int(code)): meaning for code, meaning in MEANINGS.items()})
        console.print(Text("Every command takes --json and prints JSON on stdout, errors as JSON on stderr.\n", "dim"))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in given
        try:
            ended = super().main(given, prog_name, complete_var, False, windows_expand_args, **extra)
            code = ended if isinstance(ended, int) else ExitCode.OK
        except CommandError as error:
            report(error, as_json=as_json)
            code = error.code
        except TyperException as error:
            _report_usage(error, as_json=as_json)
            code = ExitCode.USAGE
        except Abort:
            code = ExitCode.INTERRUPTED
        if standalone_mode:
            sys.exit(int(code))
        return int(code)


def _section(console: Console, title: str, rows: Mapping[str, str]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column()
    for name, text in rows.items():
        table.add_row(f"  {name}", text)
    console.print(Text(title, style="yellow"))
    console.print(table)
    console.print()


def _report_usage(error: TyperException, *, as_json: bool) -> None:
    if as_json:
        report(CommandError(ExitCode.USAGE, "The command line is wrong.", error.format_message()), as_json=True)
    else:
        from typer import rich_utils  # a tenth of a second, and only mistakes need it

        rich_utils.rich_format_error(error)  # type: ignore[arg-type]  # every usage error is a ClickException
