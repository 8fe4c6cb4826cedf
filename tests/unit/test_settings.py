"""Settings: from the environment, unless somebody says otherwise."""

import pytest
from pydantic import SecretStr, ValidationError

from executor.settings import ExecutorSettings
from scheduler_core.settings import DatabaseSettings, QueueSettings, SigningSettings, TargetSettings


def test_a_setting_comes_from_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://here")
    monkeypatch.setenv("HORIZON_SECONDS", "120")
    settings = QueueSettings()
    assert (settings.redis_url, settings.horizon_seconds) == (SecretStr("redis://here"), 120)


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://here")
    assert QueueSettings(redis_url="redis://there").redis_url == SecretStr("redis://there")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HORIZON_SECONDS", "")
    assert QueueSettings(redis_url="redis://there").horizon_seconds == 90


def test_what_is_neither_given_nor_kept_as_a_secret_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DATABASE_SECRET_ARN", "REDIS_URL", "REDIS_SECRET_ARN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValidationError, match="set DATABASE_URL, or DATABASE_SECRET_ARN"):
        DatabaseSettings()
    with pytest.raises(ValidationError, match="set REDIS_URL, or REDIS_SECRET_ARN"):
        QueueSettings()
    monkeypatch.setenv("SIGNING_KEY", "k" * 32)
    monkeypatch.setenv("DATABASE_SECRET_ARN", "arn")
    with pytest.raises(ValidationError, match="set REDIS_URL, or REDIS_SECRET_ARN"):
        ExecutorSettings()


def test_i9_a_bad_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_KEY", "short-secret")
    with pytest.raises(ValidationError) as error:
        SigningSettings()
    assert "signing_key" in str(error.value)
    assert "short-secret" not in str(error.value)


def test_a_composed_class_has_all_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DATABASE_URL": "d", "REDIS_URL": "r", "SIGNING_KEY": "k" * 32, "EXECUTOR_BATCH": "7"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ALLOWED_TARGET_NETWORKS", "127.0.0.0/8, ::1/128")
    settings = ExecutorSettings()
    assert (settings.executor_batch, settings.jobs_per_executor) == (7, 5_000)
    assert settings.allowed_target_networks == TargetSettings().allowed_target_networks
    assert [str(network) for network in settings.allowed_target_networks] == ["127.0.0.0/8", "::1/128"]
