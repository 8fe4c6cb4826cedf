"""redis-py, with its asynchronous half loaded where it is used: nowhere here.

`import redis` imports `redis.asyncio` too, most of what it costs a cold start. A stand-in takes its place until
somebody asks for anything in it, and then gives way to the real package.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

_DEFERRED: Final = "redis.asyncio"


class _Deferred(ModuleType):
    """Its modules can be imported one by one, as redis-py itself does with two; anything else loads all of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_DEFERRED) is self:
            del sys.modules[_DEFERRED]
        real = importlib.import_module(_DEFERRED)
        for submodule in vars(self).items():
            vars(real).setdefault(*submodule)
        return getattr(real, name)


def _defer() -> None:
    package = find_spec("redis")
    if package is None or _DEFERRED in sys.modules:
        return
    stand_in = _Deferred(_DEFERRED)
    stand_in.__path__ = [f"{folder}/asyncio" for folder in package.submodule_search_locations or ()]
    stand_in.__spec__ = ModuleSpec(_DEFERRED, None, is_package=True)
    sys.modules[_DEFERRED] = stand_in


_defer()

# After the stand-in, all of them.
import redis  # noqa: E402
from redis.backoff import NoBackoff  # noqa: E402
from redis.client import Pipeline, PubSub  # noqa: E402
from redis.commands.core import Script  # noqa: E402
from redis.retry import Retry  # noqa: E402

__all__ = ["NoBackoff", "Pipeline", "PubSub", "Retry", "Script", "redis"]
