"""The contract that producers see: the same tests as for the embedded stack, against the installation."""

import os
import subprocess
import sys

from tests.selfhost.installation import ROOT, Installation


def test_the_contract_holds(installation: Installation) -> None:
    contract = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/contract", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={
            **os.environ,
            "CONTRACT_URL": installation.url,
            "CONTRACT_DATABASE_URL": installation.database_url,
            "CONTRACT_ECHO_URL": installation.echo_url,
            "CONTRACT_TARGET_URL": "http://echo:3001",
            "CONTRACT_GATEWAY": "local",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(contract.stdout)
    assert contract.returncode == 0, contract.stdout + contract.stderr
    assert " skipped" not in contract.stdout
