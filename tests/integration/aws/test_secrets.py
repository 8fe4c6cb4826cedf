"""Secrets Manager on both emulators: the call that libcurl signs is understood, and what it answers is too."""

import json

import pytest

from scheduler_core.domain.errors import SecretUnavailableError
from scheduler_core.kept_secrets import read_secret, secret_of
from scheduler_core.settings import SecretsSettings
from tests.emulators import REGION, Emulator, unique


def kept(emulator: Emulator, value: str) -> tuple[str, str]:
    """Name and ARN of a fresh secret."""
    name = unique("scheduler/secret")
    arn: str = emulator.client("secretsmanager").create_secret(Name=name, SecretString=value)["ARN"]
    return name, arn


def test_a_secret_is_read_by_name_and_by_arn(aws: Emulator) -> None:
    value = json.dumps({"username": "scheduler", "password": "p@ss'w\\ö rd"})
    for secret in kept(aws, value):
        assert read_secret(secret, region=REGION, endpoint=aws.url) == value


def test_a_rotated_secret_is_read_again_once_it_is_refused(aws: Emulator) -> None:
    _, arn = kept(aws, "first")
    settings = SecretsSettings(aws_endpoint_url_secrets_manager=aws.url, aws_region=REGION)
    secret = secret_of(None, arn, settings)
    assert secret.value() == "first"
    aws.client("secretsmanager").put_secret_value(SecretId=arn, SecretString="second")
    assert secret.value() == "first"
    assert secret.after_refusal("first") == "second"


def test_a_secret_that_does_not_exist_is_said_so(aws: Emulator) -> None:
    with pytest.raises(SecretUnavailableError, match="ResourceNotFound"):
        read_secret(unique("nobody/knows"), region=REGION, endpoint=aws.url)


@pytest.mark.parametrize("action", ["secretsmanager:GetSecretValue", "secretsmanager:ListSecrets"])
def test_signature_and_permission_are_checked(
    aws_on_moto: Emulator, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    _, arn = kept(aws_on_moto, "kept")
    iam, user = aws_on_moto.client("iam"), unique("function")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}
    iam.put_user_policy(UserName=user, PolicyName="read", PolicyDocument=json.dumps(policy))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    with aws_on_moto.permissions():
        if action.endswith("GetSecretValue"):
            assert read_secret(arn, region=REGION, endpoint=aws_on_moto.url) == "kept"
        else:
            with pytest.raises(SecretUnavailableError, match="Secrets Manager answered 403"):
                read_secret(arn, region=REGION, endpoint=aws_on_moto.url)
