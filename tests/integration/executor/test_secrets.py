"""An executor to which nothing secret is given outright: it delivers, signs, and goes on after a rotation."""

from collections.abc import Iterator

import pytest
from standardwebhooks.webhooks import Webhook

from scheduler_core.domain.errors import SecretUnavailableError
from scheduler_core.security.signing import merchant_secret, shown_secret
from tests.builders import job_row
from tests.executors import forget_what_is_kept
from tests.secret_store import AWKWARD, DatabaseUser, SecretStore, database_user

from .conftest import Scene

KEY = "an installation's key, kept as a secret"


@pytest.fixture
def user(database_url: str) -> Iterator[DatabaseUser]:
    with database_user(database_url, AWKWARD) as user:
        yield user


@pytest.fixture
def database_secret(
    scene: Scene, secret_store: SecretStore, user: DatabaseUser, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The ARN of the database's secret; the executor's environment names it and two others."""
    for name in ("DATABASE_URL", "REDIS_URL", "SIGNING_KEY"):
        monkeypatch.delenv(name)
    arn = secret_store.keep(user.as_rds(AWKWARD))
    for name, value in {
        **user.place(),
        "DATABASE_SECRET_ARN": arn,
        "REDIS_SECRET_ARN": secret_store.keep(scene.redis_url),
        "SIGNING_KEY_SECRET_ARN": secret_store.keep(KEY),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": secret_store.url,
    }.items():
        monkeypatch.setenv(name, value)
    forget_what_is_kept()
    return arn


def test_jobs_are_delivered_and_signed_before_and_after_a_rotation(
    scene: Scene, database_secret: str, secret_store: SecretStore, user: DatabaseUser
) -> None:
    jobs = scene.jobs(count=3, payload="{}")
    scene.invoke()
    user.set_password("rotated")
    secret_store.change(database_secret, user.as_rds("rotated"))
    user.hang_up()
    jobs += scene.jobs(count=3, payload="{}")
    scene.invoke()
    assert {job_row(scene.database_url, job)["status"] for job in jobs} == {"completed"}
    received = scene.receiver.wait_for(6)
    secret = shown_secret(merchant_secret(KEY.encode(), scene.merchant, 1))
    for request in received:
        Webhook(secret).verify(request.body, request.headers)


def test_an_executor_without_its_signing_key_fails_and_claims_nothing(
    scene: Scene, database_secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNING_KEY_SECRET_ARN", "scheduler/none")
    forget_what_is_kept()
    [job] = scene.jobs()
    with pytest.raises(SecretUnavailableError, match="ResourceNotFoundException"):
        scene.invoke()
    assert job_row(scene.database_url, job)["status"] == "pending"
