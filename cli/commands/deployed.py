"""`scheduler bench footprint` and `scheduler bench cold`: what is deployed, how large it is and how it starts."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType

from cli import views
from cli.command import PlainSession, plain_command
from cli.exits import CommandError, ExitCode

_PACKAGES_SHOWN: Final = 8
_IMPORTS_SHOWN: Final = 5


class Architecture(StrEnum):
    """Lambda's names."""

    ARM64 = "arm64"
    X86_64 = "x86_64"


def register(group: typer.Typer) -> None:
    """Add both to the benchmarks."""
    plain_command(group, "footprint")(footprint)
    plain_command(group, "cold")(cold)


def footprint(
    session: PlainSession,
    architecture: Annotated[
        Architecture, typer.Option(help="Built for this machine of Lambda's.")
    ] = Architecture.ARM64,
) -> None:
    """Build layer and functions, and say how large they are and what their imports spend time on.

    Exit code 1 where the layer is larger than it may be: 60 MB unzipped, 50 MB zipped.
    """
    from cli.benching import footprint_of

    found = footprint_of(session.out, architecture)
    session.out.show(found.as_json(), _footprint)
    if found.broken:
        raise CommandError(ExitCode.FAILED, "The layer is too large.", "; ".join(found.broken))


def cold(
    session: PlainSession,
    function: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given again. All without it.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many starts of each.")] = 10,
) -> None:
    """Start each function anew under the runtime interface emulator, beside the bare imports it cannot do without.

    Needs Docker and SAM CLI: `make bench-cold` sees to both. PostgreSQL and Redis are made for the run. Exit code 1
    where a function's import takes more than 1.25 times the processor time of the bare ones.
    """
    from bench.imports import MOST_RATIO, NEEDED
    from cli.benching import cold_starts

    chosen = function or sorted(NEEDED)
    if unknown := sorted(set(chosen) - set(NEEDED)):
        raise CommandError(
            ExitCode.USAGE, f"There is no function {unknown[0]}.", f"there are {', '.join(sorted(NEEDED))}"
        )
    starts = cold_starts(session.out, chosen, samples)
    session.out.show([each.as_json() for each in starts], _cold)
    if slow := [f"{each.function} {each.ratio:.2f}" for each in starts if each.too_slow]:
        detail = f"{', '.join(slow)} times the bare imports, more than {MOST_RATIO}"
        raise CommandError(ExitCode.FAILED, "A function imports more than it needs.", detail)


def _footprint(answer: dict[str, Any]) -> RenderableType:
    layer = views.facts(
        [
            ("architecture", answer["architecture"]),
            ("layer unzipped", _megabytes(answer["unzipped_bytes"])),
            ("layer zipped", _megabytes(answer["zipped_bytes"])),
        ]
    )
    packages = views.grid("PACKAGE", "SIZE")
    for each in answer["packages"][:_PACKAGES_SHOWN]:
        packages.add_row(each["name"], _megabytes(each["size_bytes"]))
    functions = views.grid("FUNCTION", "SIZE", "IMPORT")
    for each in answer["functions"]:
        times = each["imports"]
        total = "-" if times is None else f"{times['total_ms']:,.0f} ms"
        functions.add_row(each["name"], f"{each['size_bytes'] / 1e3:,.0f} kB", total)
    spent = {each["name"]: each["imports"]["packages"] for each in answer["functions"] if each["imports"]}
    return Group(layer, "", packages, "", functions, *_biggest(spent))


def _cold(answer: list[dict[str, Any]]) -> RenderableType:
    starts = views.grid("FUNCTION", "BARE", "IMPORT", "RATIO", "REQUEST", "IN ALL")
    for each in answer:
        bare, whole, request, total = (
            f"{each[name]:,.0f} ms" for name in ("bare_ms", "import_ms", "request_ms", "answered_ms")
        )
        starts.add_row(each["function"], bare, whole, f"{each['ratio']:.2f}", request, total)
    return Group(starts, *_biggest({each["function"]: each["biggest_imports"].items() for each in answer}))


def _biggest(spent: Mapping[str, Iterable[tuple[str, float]]]) -> Iterator[RenderableType]:
    """Where the imports' time goes; nothing where none was measured."""
    if spent:
        yield ""
        table = views.grid("FUNCTION", "BIGGEST IMPORTS, MS")
        for function, packages in spent.items():
            told = ", ".join(f"{name} {milliseconds:,.0f}" for name, milliseconds in list(packages)[:_IMPORTS_SHOWN])
            table.add_row(function, views.cut(told))
        yield table


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
