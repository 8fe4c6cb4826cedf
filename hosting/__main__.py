"""`python -m hosting gateway | workers | migrate`: one part of a self-hosted installation, told by its environment."""

import argparse
import sys
from collections.abc import Mapping

import uvloop
from pydantic import ValidationError

from hosting import services
from hosting.migrating import migrate
from hosting.reports import JsonLines
from hosting.settings import ROOT, HostingSettings, MigrateSettings
from hosting.template import read_template

_PARTS: Mapping[str, str] = {
    "gateway": "serve the API",
    "workers": "fire the schedules and deliver",
    "migrate": "bring the schema up to date, and end",
}


def main() -> int:
    """Run the part; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hosting", description="Run one part of the scheduler.")
    parts = parser.add_subparsers(dest="part", required=True)
    for name, text in _PARTS.items():
        parts.add_parser(name, help=text, description=text)
    part, reports = parser.parse_args().part, JsonLines()
    try:
        if part == "migrate":
            url = MigrateSettings().database_url.get_secret_value()
            return migrate(url, ROOT / "migrations", reports)
        template, settings = read_template(ROOT / "template.yaml"), HostingSettings()
        serve = services.gateway if part == "gateway" else services.workers
        uvloop.run(serve(template, settings, reports))
    except ValidationError as error:
        # Never the input: it may be a secret.
        faults = error.errors(include_input=False, include_url=False)
        reports.event("settings.wrong", settings={str(each["loc"][0]).upper(): each["msg"] for each in faults})
        return 2
    except OSError as error:
        reports.event(f"{part}.failed", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
