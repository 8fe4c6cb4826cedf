"""The environment that each function's process is given: what template.yaml declares, and what Lambda adds."""

import os
from collections.abc import Mapping
from pathlib import Path

from hosting.events import REGION
from hosting.template import Function

_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "COVERAGE_PROCESS_START",
    "COVERAGE_PROCESS_CONFIG",
    "COVERAGE_FILE",
)


def documented_settings(example: Path) -> frozenset[str]:
    """The names of all settings in `.env.example`, those that are commented out too."""
    lines = example.read_text(encoding="utf-8").splitlines()
    named = (line.removeprefix("#").strip().partition("=")[0] for line in lines if "=" in line)
    return frozenset(name for name in named if name.isidentifier() and name.isupper())


def environment_of(
    function: Function,
    *,
    supplied: Mapping[str, str],
    own: Mapping[str, str] = os.environ,
    settings: frozenset[str] = frozenset(),
    code_root: Path | None = None,
) -> dict[str, str]:
    """Everything a function's process sees.

    A declared variable has the supplied value, else that of our own environment, else the template's. Settings that
    `.env.example` documents come through from our own environment although the template does not declare them.
    """
    declared = {name: value for name, value in function.environment.items() if value is not None}
    tuned = {name: own[name] for name in {*function.environment, *settings} if own.get(name)}
    names = {*function.environment, *settings}
    given = {name: value for name, value in supplied.items() if name in names or name.startswith("AWS_")}
    path = [str(code_root)] if code_root else []
    return {
        **{name: own[name] for name in _INHERITED if name in own},
        **declared,
        **tuned,
        **_lambda_variables(function),
        **{name: value for name, value in own.items() if name.startswith("AWS_") and value},
        **given,
        "PYTHONUNBUFFERED": "1",
        **({"PYTHONPATH": os.pathsep.join(path)} if path else {}),
    }


def _lambda_variables(function: Function) -> dict[str, str]:
    return {
        "_HANDLER": function.handler,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_REGION": REGION,
        "TZ": ":UTC",
    }
