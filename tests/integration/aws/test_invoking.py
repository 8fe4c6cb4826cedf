"""LambdaInvoker against moto: a request that libcurl signed is understood by something that knows Lambda's API."""

import io
import zipfile

import pytest

from scheduler_core.invocation.lambda_invoker import InvocationError, LambdaInvoker
from scheduler_core.settings import InvocationSettings
from tests.emulators import REGION, Emulator, unique


def invoker(emulator: Emulator) -> LambdaInvoker:
    return LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda=emulator.url, aws_region=REGION))


def a_function(emulator: Emulator) -> str:
    """The ARN of a function."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("work.py", "def handler(event, context): return event")
    arn: str = emulator.client("lambda").create_function(
        FunctionName=unique("work"),
        Runtime="python3.12",
        Role=emulator.role("lambda.amazonaws.com"),
        Handler="work.handler",
        Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]
    return arn


def test_a_function_is_invoked_by_name_and_by_arn(aws_on_moto: Emulator) -> None:
    arn = a_function(aws_on_moto)
    for function in (arn, arn.rpartition(":")[2]):
        invoker(aws_on_moto).invoke_async(function, {"reason": "announced"})


def test_a_function_that_does_not_exist_is_an_error(aws_on_moto: Emulator) -> None:
    aws_on_moto.pretend_lambda(pretend=False)  # pretending, it does not look
    with pytest.raises(InvocationError, match="nowhere: Lambda answered 404"):
        invoker(aws_on_moto).invoke_async("nowhere")
    aws_on_moto.pretend_lambda(pretend=True)


@pytest.mark.parametrize("known", [True, False])
def test_the_signature_is_checked(aws_on_moto: Emulator, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    arn, iam, user = a_function(aws_on_moto), aws_on_moto.client("iam"), unique("function")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}]}'
    iam.put_user_policy(UserName=user, PolicyName="invoke", PolicyDocument=policy)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"] if known else "another")
    with aws_on_moto.permissions():
        if known:
            invoker(aws_on_moto).invoke_async(arn.rpartition(":")[2])
        else:
            with pytest.raises(InvocationError, match="Lambda answered 403"):
                invoker(aws_on_moto).invoke_async(arn.rpartition(":")[2])
