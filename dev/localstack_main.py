"""Runs LocalStack 4.14 with the Python of its own environment: `.tools/localstack/bin/python localstack_main.py`.

It is written for Python 3.13 in one place: it imports `warnings.deprecated`, without which 3.12 serves no SQS.
"""

import runpy
import warnings

if not hasattr(warnings, "deprecated"):
    from typing_extensions import deprecated

    warnings.deprecated = deprecated

if __name__ == "__main__":
    runpy.run_module("localstack.runtime.main", run_name="__main__", alter_sys=True)
