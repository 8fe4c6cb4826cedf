"""Secrets Manager over the wire: what is read, what goes wrong, and what is never said."""

from collections.abc import Iterator

import pytest

from scheduler_core.domain.errors import SecretUnavailableError
from scheduler_core.kept_secrets import read_secret, secret_of
from scheduler_core.security.installation_key import installation_key
from scheduler_core.settings import SecretsSettings, SigningSettings
from tests.receivers import Receiver, receiving
from tests.secret_store import REGION, SecretStore


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGNING_KEY", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_a_secret_is_read_from_the_region_of_its_arn(secret_store: SecretStore) -> None:
    arn = secret_store.keep("redis://:p@cache:6379")
    settings = SecretsSettings(aws_endpoint_url_secrets_manager=secret_store.url, aws_region="us-east-1")
    assert secret_of(None, arn, settings).value() == "redis://:p@cache:6379"


def test_one_environment_reads_a_secret_once(secret_store: SecretStore) -> None:
    arn = secret_store.keep("first")
    settings = SecretsSettings(aws_endpoint_url_secrets_manager=secret_store.url, aws_region=REGION)
    assert secret_of(None, arn, settings).value() == "first"
    secret_store.change(arn, "second")
    assert secret_of(None, arn, settings).value() == "first"


def test_what_an_editor_or_a_file_adds_around_a_value_is_no_part_of_it(secret_store: SecretStore) -> None:
    assert read_secret(secret_store.keep(" value\n"), region=REGION, endpoint=secret_store.url) == "value"


def test_a_secret_that_does_not_exist_is_said_so(secret_store: SecretStore) -> None:
    with pytest.raises(
        SecretUnavailableError, match=r"^nobody/knows: Secrets Manager answered 40[04] ResourceNotFound"
    ):
        read_secret("nobody/knows", region=REGION, endpoint=secret_store.url)


def test_a_binary_secret_is_refused(secret_store: SecretStore) -> None:
    made = secret_store.client().create_secret(Name="binary", SecretBinary=b"hidden")
    with pytest.raises(SecretUnavailableError, match="it has no SecretString"):
        read_secret(made["ARN"], region=REGION, endpoint=secret_store.url)


def test_a_keeper_that_cannot_be_reached_is_said_so() -> None:
    with pytest.raises(SecretUnavailableError, match=r"^some/secret: .*connect"):
        read_secret("some/secret", region=REGION, endpoint="http://127.0.0.1:1")


def test_an_answer_that_is_none_is_an_error(receiver: Receiver) -> None:
    with pytest.raises(SecretUnavailableError, match="makes no sense"):
        read_secret("some/secret", region=REGION, endpoint=receiver.url)
    assert receiver.received[0].headers["x-amz-target"] == "secretsmanager.GetSecretValue"


def test_a_signing_key_is_read_and_a_short_one_refused_without_being_shown(secret_store: SecretStore) -> None:
    settings = SigningSettings(
        signing_key_secret_arn=secret_store.keep("k" * 40), aws_endpoint_url_secrets_manager=secret_store.url
    )
    assert installation_key(settings) == b"k" * 40
    short = settings.model_copy(update={"signing_key_secret_arn": secret_store.keep("hidden")})
    with pytest.raises(SecretUnavailableError, match="at least 32 characters") as error:
        installation_key(short)
    assert "hidden" not in str(error.value)


def test_a_key_given_outright_goes_before_one_that_is_kept() -> None:
    settings = SigningSettings(signing_key="g" * 32, signing_key_secret_arn="arn:of:nothing")
    assert installation_key(settings) == b"g" * 32
