"""The API's handler over a real PostgreSQL and a real Redis, and two merchants."""

from collections.abc import Iterator

import pytest

from api import wiring
from tests.builders import store_merchant
from tests.producer import Producer


@pytest.fixture
def api(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The API's environment; answers the owner's database URL. No executor can be invoked."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("ALLOWED_TARGET_NETWORKS", "127.0.0.0/8,::1/128")
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    wiring.reset()
    yield database_url
    wiring.reset()


@pytest.fixture
def producer(api: str) -> Producer:
    """Someone with a key that may do everything."""
    return Producer(store_merchant(api))


@pytest.fixture
def stranger(api: str) -> Producer:
    """Someone of another merchant."""
    return Producer(store_merchant(api))
