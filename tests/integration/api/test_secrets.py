"""The API whose passwords are kept as secrets: rotations pass unnoticed, and a secret that is away is a 503."""

import urllib.parse
from collections.abc import Iterator

import pytest
import redis

from api import wiring
from authorizer import handler as authorizer
from dev.redis import RedisServer
from scheduler_core.domain.errors import DatabaseUnavailableError
from scheduler_core.security.api_keys import ENTROPY_BYTES, generate
from tests.builders import store_merchant
from tests.producer import TARGET, Producer, call, event_of
from tests.secret_store import AWKWARD, DatabaseUser, SecretStore, database_user

HEALTH = event_of("GET", "/health")


@pytest.fixture
def user(database_url: str) -> Iterator[DatabaseUser]:
    with database_user(database_url, AWKWARD) as user:
        yield user


@pytest.fixture
def database_secret(secret_store: SecretStore, user: DatabaseUser) -> str:
    return secret_store.keep(user.as_rds(AWKWARD))


@pytest.fixture
def redis_secret(secret_store: SecretStore, redis_server: RedisServer) -> str:
    set_password(redis_server, AWKWARD)
    return secret_store.keep(url_with(redis_server, AWKWARD))


def set_password(server: RedisServer, password: str, *, before: str | None = None) -> None:
    with redis.Redis.from_url(server.url, password=before) as admin:
        admin.config_set("requirepass", password)


def url_with(server: RedisServer, password: str) -> str:
    return server.url.replace("redis://", f"redis://:{urllib.parse.quote(password, safe='')}@")


@pytest.fixture(autouse=True)
def environment(
    secret_store: SecretStore,
    user: DatabaseUser,
    database_secret: str,
    redis_secret: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        **user.place(),
        "DATABASE_SECRET_ARN": database_secret,
        "REDIS_SECRET_ARN": redis_secret,
        "ALLOWED_TARGET_NETWORKS": "127.0.0.0/8",
        "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": secret_store.url,
    }.items():
        monkeypatch.setenv(name, value)
    wiring.reset()
    yield
    wiring.reset()


def test_jobs_are_taken_and_both_stores_are_well(database_url: str) -> None:
    producer = Producer(store_merchant(database_url))
    assert producer.post("/jobs", {"target": TARGET}).status == 201
    assert call(HEALTH).json == {"status": "ok", "stores": {"database": "ok", "redis": "ok"}}


def test_rotated_passwords_need_no_restart(
    database_url: str,
    database_secret: str,
    redis_secret: str,
    secret_store: SecretStore,
    user: DatabaseUser,
    redis_server: RedisServer,
) -> None:
    producer = Producer(store_merchant(database_url))
    assert producer.post("/jobs", {"target": TARGET}).status == 201
    user.set_password("rotated")
    set_password(redis_server, "rotated too", before=AWKWARD)
    secret_store.change(database_secret, user.as_rds("rotated"))
    secret_store.change(redis_secret, url_with(redis_server, "rotated too"))
    user.hang_up()
    with redis.Redis.from_url(redis_server.url, password="rotated too") as admin:
        admin.client_kill_filter(_type="normal", skipme=True)
    assert producer.post("/jobs", {"target": TARGET}).status == 201
    assert call(HEALTH).json == {"status": "ok", "stores": {"database": "ok", "redis": "ok"}}


@pytest.mark.parametrize("trouble", ["wrong password", "no such secret", "keeper away", "nonsense"])
def test_i9_a_secret_that_does_not_open_the_database_is_a_503_and_its_cause_logged_once(
    trouble: str,
    database_url: str,
    secret_store: SecretStore,
    user: DatabaseUser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    arn, cause = {
        "wrong password": (secret_store.keep(user.as_rds("hidden")), "password authentication failed"),
        "no such secret": ("scheduler/none", "ResourceNotFoundException"),
        "keeper away": ("scheduler/away", "connect"),
        "nonsense": (secret_store.keep("hidden"), "it is no URL that PostgreSQL understands"),
    }[trouble]
    monkeypatch.setenv("DATABASE_SECRET_ARN", arn)
    if trouble == "keeper away":
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    wiring.reset()
    reply = Producer(store_merchant(database_url)).get("/jobs")
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert reply.media_type == "application/problem+json"
    [logged] = [record for record in caplog.records if record.getMessage() == "a store is away"]
    assert cause in logged.__dict__["cause"]
    assert "hidden" not in reply.text
    assert not any("hidden" in str(record.__dict__) for record in caplog.records if record.name != "werkzeug")


def test_redis_whose_secret_cannot_be_read_is_away_and_jobs_are_accepted(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1: Redis is a cache."""
    monkeypatch.setenv("REDIS_SECRET_ARN", "scheduler/none")
    wiring.reset()
    assert Producer(store_merchant(database_url)).post("/jobs", {"target": TARGET}).status == 201
    assert call(HEALTH).json == {"status": "degraded", "stores": {"database": "ok", "redis": "down"}}


def test_a_key_is_not_judged_while_the_secret_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_SECRET_ARN", "scheduler/none")
    authorizer.database.cache_clear()
    key = generate("live", bytes(ENTROPY_BYTES)).plaintext
    with pytest.raises(DatabaseUnavailableError):
        authorizer.lambda_handler({"identitySource": [key]}, None)
    authorizer.database.cache_clear()
    [logged] = [record for record in caplog.records if record.getMessage() == "a key could not be judged"]
    assert "ResourceNotFoundException" in logged.__dict__["cause"]
