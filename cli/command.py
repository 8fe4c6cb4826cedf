"""How a command is declared: the options that every command has are written once, here.

`@api_command(app, "list")` turns `def list_jobs(api: ApiSession, ...)` into a command that also takes `--json`,
`--api-url` and `--api-key`; `@database_command` adds `--database-url` and `--through-lambda`; `@plain_command` only
`--json`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from cli.client import ApiAddress, ApiClient
from cli.connection import api_address, database_address
from cli.output import Output

CONNECTION: Final = "Connection"

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and errors as JSON on stderr.")]
ApiUrl = Annotated[
    str | None,
    typer.Option(
        "--api-url", envvar="SCHEDULER_URL", rich_help_panel=CONNECTION,
        help="Where the API is. Without it: the stack that runs in this checkout, else http://127.0.0.1:3000.",
    ),
]  # fmt: skip
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="SCHEDULER_API_KEY", rich_help_panel=CONNECTION,
        help="The API key. Without it: the demo key of the stack that runs in this checkout.",
    ),
]  # fmt: skip
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url", envvar="DATABASE_URL", rich_help_panel=CONNECTION,
        help="PostgreSQL, as the owner of the schema. Without it: that of the stack of this checkout.",
    ),
]  # fmt: skip
ThroughLambda = Annotated[
    str | None,
    typer.Option(
        "--through-lambda", envvar="SCHEDULER_MIGRATOR_FUNCTION", rich_help_panel=CONNECTION, metavar="FUNCTION",
        help="The migrator function (name or ARN) of an installation in AWS: it does the command there.",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ApiSession:
    """What a command over HTTP works with."""

    out: Output
    address: ApiAddress

    def client(self) -> ApiClient:
        return ApiClient(self.address)


@dataclass(frozen=True, slots=True)
class DatabaseSession:
    """What a command on the database works with: a database that is reached from here, or a function that does."""

    out: Output
    given_url: str | None
    function: str | None

    @property
    def url(self) -> str:
        """The database's URL; a CommandError where none is known."""
        return database_address(self.given_url)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Do an operator's command, such as `keys.create`; None among the arguments: not given."""
        from cli import registry

        given = {name: value for name, value in arguments.items() if value is not None}
        if self.function is None:
            return registry.ask_database(self.url, command, given)
        answer: dict[str, Any] = registry.ask_function(self.function, {"command": command, "arguments": given})[
            "result"
        ]
        return answer


@dataclass(frozen=True, slots=True)
class PlainSession:
    """What any other command works with."""

    out: Output


type Command = Callable[..., None]
type Registrar = Callable[[Command], Command]


def api_command(group: typer.Typer, name: str) -> Registrar:
    """Declare a command that speaks to the API: its first argument is an ApiSession."""

    def session(*, json: bool, api_url: str | None, api_key: str | None) -> ApiSession:
        return ApiSession(Output(json), api_address(api_url, api_key))

    return _registrar(group, name, session, {"api_url": ApiUrl, "api_key": ApiKey})


def database_command(group: typer.Typer, name: str) -> Registrar:
    """Declare a command that speaks to PostgreSQL: its first argument is a DatabaseSession."""

    def session(*, json: bool, database_url: str | None, through_lambda: str | None) -> DatabaseSession:
        return DatabaseSession(Output(json), database_url, through_lambda)

    return _registrar(group, name, session, {"database_url": DatabaseUrl, "through_lambda": ThroughLambda})


def plain_command(group: typer.Typer, name: str) -> Registrar:
    """Declare a command that speaks to neither, or finds its own way: its first argument is a PlainSession."""

    def session(*, json: bool) -> PlainSession:
        return PlainSession(Output(json))

    return _registrar(group, name, session, {})


def _registrar(
    group: typer.Typer, name: str, make_session: Callable[..., object], options: dict[str, Any]
) -> Registrar:
    shared = {"json": Json, **options}

    def register(command: Command) -> Command:
        def run(**given: Any) -> None:
            session = make_session(**{option: given.pop(option) for option in shared})
            command(session, **given)

        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        added = [_option(option, annotation) for option, annotation in shared.items()]
        parameters = [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # this is what Typer reads
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__doc__ = command.__doc__
        group.command(name)(run)
        return command

    return register


def _option(name: str, annotation: Any) -> inspect.Parameter:
    default = False if name == "json" else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
