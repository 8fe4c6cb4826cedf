"""template.yaml as SAM CLI reads it without our help: an authorizer that it cannot read it skips, and lets all in."""

import json
import subprocess

from dev.local_environment import ROOT
from hosting.template import read_template

_READ = """
import json
from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

stacks, _ = SamLocalStackProvider.get_stacks("template.yaml")
functions = SamFunctionProvider(stacks)
keeper = lambda route: route.authorizer_object and functions.get(route.authorizer_object.lambda_name).handler
routes = ApiProvider(stacks).api.routes
print(json.dumps([[method, route.path, keeper(route)] for route in routes for method in route.methods]))
"""


def test_sam_cli_asks_the_authorizer_on_the_routes_that_need_a_key() -> None:
    python = ROOT / ".tools" / "sam" / "bin" / "python"
    done = subprocess.run([python, "-c", _READ], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    read = {f"{method} {path}": handler for method, path, handler in json.loads(done.stdout.splitlines()[-1])}
    for route in read_template(ROOT / "template.yaml").routes:
        assert read[route.key] == ("authorizer.handler.lambda_handler" if route.authorizer else None)
