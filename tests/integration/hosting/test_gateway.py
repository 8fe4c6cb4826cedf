"""The gateway over real HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.integration.hosting.parts import Parts, parts

Scenario = Callable[[httpx.AsyncClient, Parts], Awaitable[None]]


def _with_gateway(scenario: Scenario, **options: Any) -> None:
    async def run() -> None:
        async with parts(**options) as p, httpx.AsyncClient(base_url=p.url, trust_env=False) as client:
            await scenario(client, p)

    asyncio.run(run())


def _is_problem(response: httpx.Response, status: int) -> bool:
    problem = response.headers["content-type"] == "application/problem+json" and response.json()["status"] == status
    return response.status_code == status and problem


def test_a_function_sees_the_request_and_the_authorizers_word() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        response = await client.get("/things/7?a=1&a=2", headers={"X-Api-Key": "good"})
        event = response.json()["event"]
        assert event["routeKey"] == "GET /things/{id}"
        assert event["pathParameters"] == {"id": "7"}
        assert event["queryStringParameters"] == {"a": "1,2"}
        assert event["headers"]["x-api-key"] == "good"
        told = event["requestContext"]["authorizer"]["lambda"]
        assert told["key"] == "good"
        asked = told["event"]
        assert asked["type"] == "REQUEST"
        assert asked["identitySource"] == ["good"]
        assert asked["routeArn"].endswith("/GET/things/7")

    _with_gateway(scenario)


def test_the_authorizer_is_asked_once_for_each_key() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        for key, asked in (("good1", 1), ("good1", 1), ("good2", 2), ("good1", 1)):
            response = await client.get("/things/7", headers={"x-api-key": key})
            assert response.json()["event"]["requestContext"]["authorizer"]["lambda"]["asked"] == asked

    _with_gateway(scenario)


def test_without_a_key_it_is_401_and_with_a_bad_one_403() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        assert _is_problem(await client.get("/things/7"), 401)
        assert _is_problem(await client.get("/things/7", headers={"x-api-key": ""}), 401)
        assert _is_problem(await client.get("/things/7", headers={"x-api-key": "bad"}), 403)
        assert (await client.get("/open")).status_code == 200

    _with_gateway(scenario)


@pytest.mark.parametrize("key", ["odd", "fail"])
def test_an_authorizer_that_fails_lets_nobody_pass(key: str) -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        assert _is_problem(await client.get("/things/7", headers={"x-api-key": key}), 503)

    _with_gateway(scenario)


def test_an_unknown_path_is_404_and_an_unknown_method_405() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        assert _is_problem(await client.get("/nowhere"), 404)
        assert _is_problem(await client.get("/things/7/"), 404)
        response = await client.put("/things")
        assert _is_problem(response, 405)
        assert response.headers["allow"] == "POST"

    _with_gateway(scenario)


def test_a_binary_answer_comes_through_with_its_cookies() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        response = await client.get("/things/binary", headers={"x-api-key": "good"})
        assert response.status_code == 201
        assert response.content == b"\x00\x01\x02\xff"
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["x-one"] == "1"
        assert response.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]

    _with_gateway(scenario)


def test_an_answer_without_content_has_none() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        response = await client.get("/things/nothing", headers={"x-api-key": "good"})
        assert (response.status_code, response.content) == (204, b"")
        assert "content-length" not in response.headers

    _with_gateway(scenario)


@pytest.mark.parametrize("thing", ["fail", "crash", "odd"])
def test_a_function_that_fails_is_a_500_without_its_reasons(thing: str) -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        response = await client.get(f"/things/{thing}", headers={"x-api-key": "good"})
        assert _is_problem(response, 500)
        assert "as told" not in response.text
        assert p.heard.named("gateway.failed")

    _with_gateway(scenario)


def test_a_function_that_takes_too_long_is_a_503() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        await client.get("/things/1", headers={"x-api-key": "good"})
        response = await client.get("/things/slow?seconds=5", headers={"x-api-key": "good"}, timeout=10)
        assert _is_problem(response, 503)
        assert "retry-after" in response.headers

    _with_gateway(scenario, timeout_seconds=20, integration_timeout_seconds=0.8)


def test_a_body_beyond_ten_megabytes_is_413() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        megabytes = b"x" * (10 * 1024 * 1024 + 1)
        response = await client.post("/things", content=megabytes, headers={"x-api-key": "good"}, timeout=20)
        assert _is_problem(response, 413)

    _with_gateway(scenario)


def test_many_requests_at_once_are_all_answered() -> None:
    async def scenario(client: httpx.AsyncClient, p: Parts) -> None:
        asked = [client.get(f"/things/{n}", headers={"x-api-key": "good"}, timeout=30) for n in range(60)]
        answers = await asyncio.gather(*asked)
        assert [a.json()["event"]["pathParameters"]["id"] for a in answers] == [str(n) for n in range(60)]

    _with_gateway(scenario, timeout_seconds=20, caps={"stub": 2})
