"""What Lambda is to functions, over real processes."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from dev import processes
from tests.integration.hosting.parts import parts, until


def test_a_handler_gets_its_event_and_its_answer_comes_back() -> None:
    async def scenario() -> None:
        async with parts() as p:
            result = await p.invoker.invoke("stub", {"a": ["ä", 1, None]})
            assert result.error is None
            assert result.answer["echo"] == {"a": ["ä", 1, None]}
            assert result.answer["pid"] in p.invoker.pools["stub"].pids
            assert result.answer["pid"] != os.getpid()

    asyncio.run(scenario())


def test_the_context_is_that_of_lambda() -> None:
    async def scenario() -> None:
        async with parts() as p:
            context = (await p.invoker.invoke("stub", {"do": "context"})).answer
            assert context["name"] == "stub"
            assert context["memory"] == "256"
            assert context["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:stub"
            assert context["group"] == "/aws/lambda/stub"
            assert 1_000 < context["remaining_ms"] <= 2_000
            assert len(context["request_id"]) == 36

    asyncio.run(scenario())


def test_a_process_serves_one_invocation_after_another() -> None:
    async def scenario() -> None:
        async with parts() as p:
            pids = {(await p.invoker.invoke("stub", {})).answer["pid"] for _ in range(5)}
            assert len(pids) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("deed", "kind"), [("fail", "RuntimeError"), ("unspeakable", "TypeError"), ("crash", "Runtime.ExitError")]
)
def test_a_failure_is_lambdas_error_and_the_next_invocation_works(deed: str, kind: str) -> None:
    async def scenario() -> None:
        async with parts() as p:
            error = (await p.invoker.invoke("stub", {"do": deed})).error
            assert error is not None
            assert error["errorType"] == kind
            assert (await p.invoker.invoke("stub", {})).error is None

    asyncio.run(scenario())


def test_a_crash_says_how_the_process_ended() -> None:
    async def scenario() -> None:
        async with parts() as p:
            killed = (await p.invoker.invoke("stub", {"do": "crash"})).error
            left = (await p.invoker.invoke("stub", {"do": "exit"})).error
            assert killed is not None
            assert "signal: SIGKILL" in killed["errorMessage"]
            assert left is not None
            assert "exit status 3" in left["errorMessage"]
            await until(lambda: len(p.heard.named("process.ended")) == 2)

    asyncio.run(scenario())


def test_an_invocation_that_takes_too_long_is_killed() -> None:
    async def scenario() -> None:
        async with parts(timeout_seconds=1) as p:
            error = (await p.invoker.invoke("stub", {"do": "sleep", "seconds": 30})).error
            assert error is not None
            assert error["errorType"] == "Sandbox.Timedout"
            assert "1.00 seconds" in error["errorMessage"]
            await until(lambda: p.invoker.pools["stub"].pids == [])

    asyncio.run(scenario())


def test_a_handler_that_cannot_be_imported_is_an_error_of_every_invocation() -> None:
    async def scenario() -> None:
        async with parts() as p:
            for _ in range(2):
                error = (await p.invoker.invoke("broken", {})).error
                assert error is not None
                assert error["errorMessage"] == "broken on purpose"

    asyncio.run(scenario())


def test_processes_are_added_up_to_the_cap_and_no_further() -> None:
    async def scenario() -> None:
        async with parts(caps={"stub": 2}, timeout_seconds=20) as p:
            sleeps = [p.invoker.invoke("stub", {"do": "sleep", "seconds": 0.5}) for _ in range(6)]
            results = await asyncio.gather(*sleeps)
            assert all(result.error is None for result in results)
            assert len({result.answer["pid"] for result in results}) == 2

    asyncio.run(scenario())


def test_as_many_processes_are_made_ready_beforehand_as_are_asked_for_up_to_the_cap() -> None:
    async def scenario() -> None:
        async with parts(caps={"stub": 3}) as p:
            pool = p.invoker.pools["stub"]
            for asked, there in ((1, 1), (2, 2), (1, 2), (9, 3)):
                await pool.warm(asked)
                assert len(pool.pids) == there
            assert not pool.busy

    asyncio.run(scenario())


def test_idle_processes_beyond_the_first_are_ended() -> None:
    async def scenario() -> None:
        async with parts(caps={"stub": 3}, idle_seconds=0.0) as p:
            pool = p.invoker.pools["stub"]
            await asyncio.gather(*(p.invoker.invoke("stub", {"do": "sleep", "seconds": 0.4}) for _ in range(3)))
            assert len(pool.pids) > 1
            pool.reap_idle()
            await until(lambda: len(pool.pids) == 1)
            assert (await p.invoker.invoke("stub", {})).error is None

    asyncio.run(scenario())


def test_an_idle_process_that_is_killed_is_replaced() -> None:
    async def scenario() -> None:
        async with parts() as p:
            first = (await p.invoker.invoke("stub", {})).answer["pid"]
            os.kill(first, signal.SIGKILL)
            second = await p.invoker.invoke("stub", {})
            if second.error is not None:  # the death was noticed only by this one
                second = await p.invoker.invoke("stub", {})
            assert second.answer["pid"] != first

    asyncio.run(scenario())


def test_an_asynchronous_invocation_is_tried_again_as_often_as_the_template_says(tmp_path: Path) -> None:
    def runs(name: str) -> int:
        file = tmp_path / name
        return len(file.read_text().split()) if file.exists() else 0

    async def scenario() -> None:
        async with parts() as p:
            p.invoker.invoke_async("stub", {"do": "count", "file": str(tmp_path / "never"), "until": 99})
            p.invoker.invoke_async("stub", {"do": "count", "file": str(tmp_path / "second"), "until": 2})
            # The first is given up while the second's other run still waits or is being done.
            await until(lambda: len(p.heard.named("invocation.dropped")) == 1 and runs("second") == 2)
            assert len(p.heard.named("invocation.retried")) == 2
            assert runs("never") == 2

    asyncio.run(scenario())


def test_an_asynchronous_invocation_survives_the_crash_of_its_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts() as p:
            p.invoker.invoke_async("stub", {"do": "crash"})
            await until(lambda: p.heard.named("invocation.retried") != [])
            assert "SIGKILL" in p.heard.named("invocation.retried")[0]["error"]

    asyncio.run(scenario())


def test_what_a_handler_prints_is_passed_on() -> None:
    async def scenario() -> None:
        async with parts() as p:
            await p.invoker.invoke("stub", {"do": "noisy"})
            await until(lambda: len(p.heard.lines) == 2)
            assert sorted(p.heard.lines) == [("stub", "on stderr"), ("stub", "on stdout")]

    asyncio.run(scenario())


def test_a_handler_with_an_ending_of_its_own_is_given_time_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(timeout_seconds=60) as p:
            p.invoker.invoke_async("stub", {"do": "last_words", "file": str(tmp_path / "words")})
            await until((tmp_path / "words").exists)
            await asyncio.sleep(0.05)
        assert (tmp_path / "words").read_text() == "finished"

    asyncio.run(scenario())


def test_a_handler_that_will_not_end_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with parts(timeout_seconds=60) as p:
            p.invoker.invoke_async("stub", {"do": "deaf", "file": str(tmp_path / "deaf")})
            await until((tmp_path / "deaf").exists)
            (pid,) = p.invoker.pools["stub"].pids
        assert not processes.lives(pid)

    asyncio.run(scenario())
