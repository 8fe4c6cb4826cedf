"""Lambda's Invoke API, as functions and boto3 use it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from scheduler_core.invocation.lambda_invoker import InvocationError, LambdaInvoker
from scheduler_core.settings import InvocationSettings
from tests.integration.hosting.parts import parts, until


def test_the_layers_own_invoker_wakes_a_function(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts() as p:
            invoker = LambdaInvoker(InvocationSettings(aws_endpoint_url_lambda=p.invoke_url))
            event: dict[str, object] = {"do": "count", "file": str(tmp_path / "woken"), "until": 1}
            for name in ("stub", "arn:aws:lambda:us-east-1:123456789012:function:stub"):
                await asyncio.to_thread(invoker.invoke_async, name, event)
            await until(lambda: (tmp_path / "woken").exists() and len((tmp_path / "woken").read_text().split()) == 2)
            with pytest.raises(InvocationError, match="404"):
                await asyncio.to_thread(invoker.invoke_async, "nobody", {})

    asyncio.run(scenario())


def test_boto3_gets_results_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with parts() as p:
            client = boto3.client(
                "lambda",
                region_name="us-east-1",
                endpoint_url=p.invoke_url,
                aws_access_key_id="local",
                aws_secret_access_key="local",
                config=Config(retries={"total_max_attempts": 1}, proxies={}),
            )

            def invoke(payload: dict[str, Any], **options: Any) -> Any:
                return client.invoke(FunctionName="stub", Payload=json.dumps(payload).encode(), **options)

            good = await asyncio.to_thread(invoke, {"hello": "world"})
            assert good["StatusCode"] == 200
            assert json.loads(good["Payload"].read())["echo"] == {"hello": "world"}
            bad = await asyncio.to_thread(invoke, {"do": "fail"})
            assert bad["FunctionError"] == "Unhandled"
            assert json.loads(bad["Payload"].read())["errorType"] == "RuntimeError"
            later = await asyncio.to_thread(invoke, {}, InvocationType="Event")
            assert later["StatusCode"] == 202
            client.close()

    asyncio.run(scenario())


def test_what_is_no_invocation_is_refused() -> None:
    async def scenario() -> None:
        async with parts() as p, httpx.AsyncClient(base_url=p.invoke_url, trust_env=False) as client:
            path = "/2015-03-31/functions/stub/invocations"
            assert (await client.get(path)).status_code == 404
            assert (await client.post("/elsewhere")).status_code == 404
            assert (await client.post(path, content=b"{")).status_code == 400
            assert (await client.post(path, headers={"x-amz-invocation-type": "DryRun"})).status_code == 204

    asyncio.run(scenario())


def test_more_than_a_thousand_waiting_invocations_are_refused() -> None:
    async def scenario() -> None:
        async with parts(caps={"stub": 1}, timeout_seconds=60) as p:
            p.invoker.invoke_async("stub", {"do": "sleep", "seconds": 30})
            headers = {"x-amz-invocation-type": "Event"}
            async with httpx.AsyncClient(base_url=p.invoke_url, trust_env=False) as client:
                await until(lambda: p.invoker.pools["stub"].pids != [])
                for _ in range(1_000):
                    p.invoker.invoke_async("stub", {})
                response = await client.post("/2015-03-31/functions/stub/invocations", headers=headers)
            assert response.status_code == 429

    asyncio.run(scenario())
