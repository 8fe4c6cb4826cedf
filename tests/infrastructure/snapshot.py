"""Writes down what SAM makes of template.yaml (`make snapshot`), or says whether it has changed (`--check`)."""

import argparse
import json
import sys

from tests.infrastructure.templates import SNAPSHOT, normalised, transformed


def current() -> str:
    """The transformed template as the file has it: sorted, without hashes."""
    return json.dumps(normalised(transformed()), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if it has changed")
    if not parser.parse_args().check:
        SNAPSHOT.write_text(current(), encoding="utf-8")
        return 0
    if SNAPSHOT.read_text(encoding="utf-8") == current():
        return 0
    sys.stderr.write("tests/infrastructure/transformed.json is not what template.yaml makes: run `make snapshot`.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
