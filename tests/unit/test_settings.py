"""Settings: from the environment, unless somebody says otherwise."""

import pytest
from pydantic import ValidationError

from executor.settings import ExecutorSettings
from scheduler_core.settings import DatabaseSettings, QueueSettings, SigningSettings, TargetSettings


def test_a_setting_comes_from_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://here")
    monkeypatch.setenv("HORIZON_SECONDS", "120")
    settings = QueueSettings()
    assert (settings.redis_url.get_secret_value(), settings.horizon_seconds) == ("redis://here", 120)


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://here")
    assert QueueSettings(redis_url="redis://there").redis_url.get_secret_value() == "redis://there"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HORIZON_SECONDS", "")
    assert QueueSettings(redis_url="redis://there").horizon_seconds == 90


def test_what_has_no_default_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ValidationError, match="database_url"):
        DatabaseSettings()


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
