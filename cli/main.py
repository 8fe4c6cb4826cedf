"""`scheduler`: the command line. Importing it is cheap: what a command needs is loaded when the command runs."""

from importlib.util import find_spec
from typing import Final

import typer

from cli.commands import bench, cost, jobs, keys, local, merchants, system, templates, ticking
from cli.entry import RootGroup

app: Final = typer.Typer(
    name="scheduler",
    cls=RootGroup,
    help="Ask for deliveries, follow them, and run the scheduler on this machine.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(jobs.app, name="jobs")
app.add_typer(templates.app, name="templates")
system.register(app)
app.add_typer(merchants.app, name="merchants")
app.add_typer(keys.app, name="keys")
if find_spec("dev"):  # an installation's image has neither the development stack nor the benchmarks
    local.register(app)
    ticking.register(app)
    app.add_typer(bench.app, name="bench")
    cost.register(app)

if __name__ == "__main__":
    app()
