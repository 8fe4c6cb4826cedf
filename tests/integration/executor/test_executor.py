"""What one invocation of the executor does with what is due."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial, partialmethod
from io import StringIO
from logging import StreamHandler
from typing import Any
from uuid import UUID

import psycopg
import pytest
from redis import Redis
from standardwebhooks import Webhook

from dev.redis import RedisServer
from executor import executor, handler, merchant_book, recorder
from executor.merchant_book import MerchantBook
from executor.recorder import Recorder
from scheduler_core.clock import utc_now
from scheduler_core.domain.errors import DatabaseUnavailableError, QueueUnavailableError
from scheduler_core.domain.jobs import Hint, MerchantLimits
from scheduler_core.observability.log import logger
from scheduler_core.queueing.ready_set import Progress, ReadySet
from scheduler_core.security.signing import merchant_secret, shown_secret
from scheduler_core.settings import QueueSettings
from scheduler_core.storage import claims
from scheduler_core.storage.database import Database, Role
from tests.builders import (
    ended_attempts,
    http_target,
    job_row,
    lease_expiry,
    new_id,
    rows,
    seconds,
    store_jobs,
    store_merchant,
)
from tests.conftest import BreakablePostgres
from tests.executors import forget_what_is_kept
from tests.integration.executor.conftest import Scene
from tests.integration.queueing.conftest import until_listening
from tests.receivers import Received, Receiver


def outcomes(scene: Scene, job_id: UUID) -> list[str]:
    return ended_attempts(scene.database_url, job_id)


def held_until(scene: Scene, job_id: UUID) -> datetime:
    expiry = lease_expiry(scene.database_url, job_id)
    assert expiry is not None
    return expiry


def test_a_due_job_is_delivered_and_completed(scene: Scene) -> None:
    [job] = scene.jobs(payload='{"n": 1.10}')
    report = scene.invoke()
    [request] = scene.receiver.deliveries()
    assert (request.method, request.body, request.webhook_id) == ("POST", b'{"n": 1.10}', str(job))
    assert request.headers["x-scheduler-attempt"] == "1"
    row = job_row(scene.database_url, job)
    assert (row["status"], row["attempt"], row["last_error"]) == ("completed", 1, None)
    assert (report["claimed"], report["reason"]) == (1, "idle")


def test_a_delivery_carries_a_signature_that_the_receiver_can_verify(scene: Scene) -> None:
    scene.jobs(payload='{"n": 1}')
    scene.invoke()
    [request] = scene.receiver.deliveries()
    secret = shown_secret(merchant_secret(b"k" * 32, scene.merchant, 1))
    assert Webhook(secret).verify(request.body, request.headers) == {"n": 1}


def test_a_job_is_sent_on_time_and_never_early(scene: Scene) -> None:
    dues = [utc_now() + timedelta(milliseconds=700 + 37 * step) for step in range(20)]
    ids = [scene.jobs(due=due)[0] for due in dues]
    scene.invoke()
    arrived = {request.webhook_id: request.at for request in scene.receiver.deliveries()}
    late = sorted((arrived[str(job)] - due).total_seconds() for job, due in zip(ids, dues, strict=True))
    assert late[0] > 0
    assert late[len(late) // 2] < 0.03


def test_a_failure_is_retried_until_it_succeeds(scene: Scene) -> None:
    [job] = scene.jobs("/fail-first/2", initial=0.01)
    scene.invoke()
    assert outcomes(scene, job) == ["retried", "retried", "completed"]
    assert [request.headers["x-scheduler-attempt"] for request in scene.receiver.deliveries()] == ["1", "2", "3"]
    assert {request.webhook_id for request in scene.receiver.deliveries()} == {str(job)}


def test_exhausted_retries_end_as_a_dead_letter(scene: Scene) -> None:
    [job] = scene.jobs("/status/503", initial=0.01, max_retries=2)
    scene.invoke()
    assert outcomes(scene, job) == ["retried", "retried", "failed"]
    assert job_row(scene.database_url, job)["last_error"] == "the target answered 503"


def test_a_permanent_failure_is_not_retried(scene: Scene) -> None:
    [job] = scene.jobs("/status/404")
    scene.invoke()
    assert outcomes(scene, job) == ["failed"]


def test_a_polling_job_is_asked_until_it_is_done(scene: Scene) -> None:
    [job] = scene.jobs("/poll/2", schedule_type="polling", interval_seconds=1, max_attempts=5)
    scene.invoke()
    assert outcomes(scene, job) == ["not_yet", "not_yet", "completed"]
    first, second, third = (request.at for request in scene.receiver.deliveries())
    assert second - first >= seconds(1)
    assert third - second >= seconds(1)


def test_a_job_past_its_expiry_is_not_sent(scene: Scene) -> None:
    now = utc_now()
    [job] = scene.jobs(due=now - seconds(5), expires_at=now - seconds(1))
    scene.invoke()
    assert scene.receiver.deliveries() == []
    assert job_row(scene.database_url, job)["status"] == "expired"


def test_a_forbidden_address_is_refused_for_good(scene: Scene) -> None:
    [job] = scene.jobs(target='{"type": "http", "url": "http://10.0.0.1/", "method": "POST", "headers": {}}')
    scene.invoke()
    row = job_row(scene.database_url, job)
    assert row["status"] == "failed"
    assert "10.0.0.1" in row["last_error"]


def test_gone_pauses_the_template(scene: Scene) -> None:
    template = new_id()
    with psycopg.connect(scene.database_url) as connection:
        connection.execute(
            "INSERT INTO templates (id, merchant_id, name, interval_seconds, target, metadata, retry_initial_seconds, "
            "retry_max_seconds, retry_multiplier, next_nominal_at, created_at, updated_at) "
            "VALUES (%s, %s, 'gone', 60, '{}', '{}', 1, 60, 2, now(), now(), now())",
            (template, scene.merchant),
        )
    scene.jobs("/status/410", template_id=template, schedule_type="recurring")
    scene.invoke()
    [row] = rows(scene.database_url, "SELECT active, paused_reason FROM templates")
    assert (row["active"], row["paused_reason"]) == (False, "its target answered 410 Gone")


def test_many_jobs_are_each_delivered_once(scene: Scene) -> None:
    ids = scene.jobs(count=1_500)
    scene.invoke()
    assert Counter(request.webhook_id for request in scene.receiver.deliveries()) == Counter(str(job) for job in ids)
    [row] = rows(scene.database_url, "SELECT count(*) AS n FROM jobs WHERE status = 'completed'")
    assert row["n"] == 1_500


def test_the_last_results_are_not_kept_waiting_for_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "BUSY_RESULTS", 1)
    monkeypatch.setattr(recorder, "GATHER_SECONDS", 5.0)
    scene.jobs()
    [job] = scene.jobs(due=utc_now() + seconds(0.5))
    scene.invoke()
    row = job_row(scene.database_url, job)
    assert row["updated_at"] - row["due_at"] < seconds(2)


def test_more_jobs_than_the_ready_set_holds_are_on_time_whichever_were_announced_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READY_SET_MAX", "1000")
    first, before = utc_now() + seconds(3), scene.queue
    ids: dict[str, datetime] = {}
    with ReadySet.connect(QueueSettings(redis_url=scene.redis_url, ready_set_max=1_000)) as scene.queue:
        for step in reversed(range(50)):
            due = first + seconds(step * 0.06)
            ids |= {str(job): due for job in scene.jobs(count=50, due=due)}
    scene.queue = before
    scene.invoke()
    arrived = scene.receiver.deliveries()
    assert Counter(request.webhook_id for request in arrived) == Counter([*ids])
    assert max(request.at - ids[request.webhook_id] for request in arrived) < seconds(1)


def test_a_filling_that_redis_breaks_off_is_made_up_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had taken over is known nowhere else by then, and nothing more can be said in Redis."""
    monkeypatch.setenv("READY_SET_MAX", "1000")
    due, before = utc_now() + seconds(1), scene.queue
    with ReadySet.connect(QueueSettings(redis_url=scene.redis_url, ready_set_max=1_000)) as scene.queue:
        ids = scene.jobs(count=1_500, due=due)
    scene.queue = before
    to_break = ["fill", "end_filling"]  # the second by the same filling as the first

    def broken(call: Callable[..., Any], queue: ReadySet, *args: Any, **options: Any) -> Any:
        if threading.current_thread().name == "refiller" and to_break[:1] == [call.__name__]:
            raise QueueUnavailableError(f"{to_break.pop(0)} is broken off")
        return call(queue, *args, **options)

    for name in tuple(to_break):
        monkeypatch.setattr(ReadySet, name, partialmethod(partial(broken, getattr(ReadySet, name))))
    scene.invoke()
    assert not to_break
    assert {request.webhook_id for request in scene.receiver.deliveries()} == {str(job) for job in ids}


def one_job_each(scene: Scene, count: int, *, due: datetime | None = None) -> tuple[list[UUID], list[UUID]]:
    """So many new merchants, and their jobs."""
    merchants, ids = list[UUID](), list[UUID]()
    for _ in range(count):
        scene.merchant = store_merchant(scene.database_url)
        merchants.append(scene.merchant)
        ids += scene.jobs(due=due)
    return merchants, ids


def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[tuple[datetime, list[UUID]]]:
    """When merchants are looked up from now on, and which."""
    look_up, asked = MerchantBook.look_up, list[tuple[datetime, list[UUID]]]()

    def noted(book: MerchantBook, now: datetime, merchant_ids: list[UUID]) -> list[tuple[MerchantLimits, bool]]:
        asked.append((now, merchant_ids))
        return look_up(book, now, merchant_ids)

    monkeypatch.setattr(MerchantBook, "look_up", noted)
    return asked


def test_merchants_that_only_the_ready_set_knows_are_looked_up_together(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another executor has told it their terms; one by one they took longer than all the rest."""
    merchants, ids = one_job_each(scene, 30)
    scene.queue.set_terms([(MerchantLimits(merchant_id=each), True) for each in merchants])
    asked = look_ups(monkeypatch)
    scene.invoke()
    assert {request.webhook_id for request in scene.receiver.deliveries()} == {str(job) for job in ids}
    assert sorted(each for _, group in asked for each in group) == sorted(merchants)
    assert len(asked) <= 3


def test_merchants_are_looked_up_before_their_jobs_are_due(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, a few at a time: at midnight there are thousands of them, and no time for it."""
    due = utc_now() + seconds(1.5)
    merchants, ids = one_job_each(scene, 5, due=due)
    scene.queue.mark_filled(utc_now(), Progress())
    asked = look_ups(monkeypatch)
    monkeypatch.setattr(executor, "MEET_AT_ONCE", 2)
    scene.invoke()
    assert {request.webhook_id for request in scene.receiver.deliveries()} == {str(job) for job in ids}
    assert sorted(each for _, group in asked for each in group) == sorted(merchants)
    assert [len(group) for _, group in asked] == [2, 2, 1]
    assert max(now for now, _ in asked) < due - seconds(1)


def test_whoever_is_known_stays_so_while_others_are_looked_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merchant_book, "MOST_KNOWN", 1)  # beyond that all that is known is forgotten
    merchants, nobody = [store_merchant(database_url) for _ in range(3)], new_id()
    with closing(Database(database_url, Role.WORKER)) as database:
        book = MerchantBook(database, b"k" * 32, {})
        assert set(book.entries(utc_now(), merchants[:2])) == {each.int for each in merchants[:2]}
        assert set(book.entries(utc_now(), [*merchants, nobody])) == {each.int for each in merchants}


def test_the_next_invocation_knows_the_merchants_of_the_last(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.jobs()
    scene.invoke()
    ids = scene.jobs(count=2)
    monkeypatch.setattr(merchant_book, "merchant_terms", None)  # to ask PostgreSQL would fail
    scene.invoke()
    assert {request.webhook_id for request in scene.receiver.deliveries()} >= {str(job) for job in ids}


def backends(scene: Scene) -> set[int]:
    """PostgreSQL's processes for the scheduler's connections."""
    with psycopg.connect(scene.database_url) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'task-scheduler' AND datname = current_database()"
        )
        return {row[0] for row in found}


def clients(scene: Scene) -> set[str]:
    """Redis' clients, but for whoever asks, once nobody listens."""
    until_listening(scene.redis_url, 0)
    with Redis.from_url(scene.redis_url) as client:
        return {each["id"] for each in client.client_list()} - {str(client.client_id())}


def test_the_next_invocation_uses_the_connections_of_the_last(scene: Scene) -> None:
    scene.jobs()
    scene.invoke()
    ours, theirs = backends(scene), clients(scene)
    assert len(ours) == 3  # who claims, who fills the set, who records
    scene.jobs("/slow/0.5")
    scene.invoke()
    assert backends(scene) > ours  # and the heartbeat
    assert clients(scene) == theirs


def test_who_has_ended_does_not_listen(scene: Scene) -> None:
    """Or it would count as awake."""
    scene.jobs()
    scene.invoke()
    until_listening(scene.redis_url, 0)


def test_connections_that_were_cut_between_two_invocations_are_made_anew(
    scene: Scene, postgres: BreakablePostgres
) -> None:
    scene.jobs()
    scene.invoke()
    postgres.restart()
    with Redis.from_url(scene.redis_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    [job] = scene.jobs()
    scene.invoke()
    assert outcomes(scene, job) == ["completed"]
    row = job_row(scene.database_url, job)
    assert row["last_run_at"] - row["due_at"] < seconds(1)


def test_an_invocation_that_fails_leaves_no_connection_behind(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.jobs()
    others = clients(scene)
    scene.invoke()
    scene.jobs()
    with monkeypatch.context() as broken:
        broken.setattr(MerchantBook, "entries", None)
        with pytest.raises(TypeError):
            scene.invoke()
    assert backends(scene) == set()
    assert clients(scene) == others
    [job] = scene.jobs()
    scene.invoke()
    assert outcomes(scene, job) == ["completed"]


def test_a_connection_whose_thread_has_not_ended_is_not_used_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.jobs()
    scene.invoke()
    ours = backends(scene)
    with monkeypatch.context() as hung:
        hung.setattr(Recorder, "close", lambda *_: False)
        scene.invoke(reason="stay", seconds=2)
    assert backends(scene) < ours
    [job] = scene.jobs()
    scene.invoke()
    assert outcomes(scene, job) == ["completed"]


def test_a_merchant_that_is_gone_is_forgotten_after_its_minute(database_url: str) -> None:
    merchant, now = store_merchant(database_url), utc_now()
    with closing(Database(database_url, Role.WORKER)) as database:
        book = MerchantBook(database, b"k" * 32, {})
        assert set(book.entries(now, [merchant])) == {merchant.int}
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM merchants WHERE id = %s", (merchant,))
        assert set(book.entries(now + seconds(60), [merchant])) == {merchant.int}
        assert not book.entries(now + seconds(61), [merchant])


def test_a_cancelled_delivery_is_cut_off(scene: Scene) -> None:
    [job] = scene.jobs("/slow/20")
    executor = scene.invoke_beside()
    scene.receiver.wait_for(1)
    with psycopg.connect(scene.database_url) as connection:
        connection.execute(
            "UPDATE jobs SET status = 'cancelled', dead = true, lease_id = NULL, completed_at = now() WHERE id = %s",
            (job,),
        )
    cancelled_at = time.monotonic()
    scene.queue.announce_cancelled(utc_now(), [job])
    executor.join()
    assert time.monotonic() - cancelled_at < 3
    assert job_row(scene.database_url, job)["status"] == "cancelled"


def test_the_heartbeat_keeps_a_slow_job_alive_beyond_its_lease(scene: Scene) -> None:
    [job] = scene.jobs("/slow/3")
    executor = scene.invoke_beside()
    time.sleep(2.6)
    assert held_until(scene, job) > utc_now()
    executor.join()
    assert outcomes(scene, job) == ["completed"]


def test_a_watcher_is_asked_for_when_nobody_watches(scene: Scene) -> None:
    scene.jobs("/slow/0.6")
    scene.invoke()
    assert "watcher" in scene.receiver.invoked()


def test_no_watcher_is_asked_for_when_one_is_on_duty(scene: Scene) -> None:
    scene.queue.take_duty("watch", "somebody", seconds=60)
    scene.jobs("/slow/0.6")
    scene.invoke()
    assert scene.receiver.invoked() == []


def test_an_invocation_that_runs_out_of_time_gives_jobs_back_and_asks_for_a_successor(scene: Scene) -> None:
    [job] = scene.jobs("/slow/20")
    started = time.monotonic()
    report = scene.invoke(seconds=7)
    assert time.monotonic() - started < 7
    assert (report["released"], report["reason"]) == (1, "time")
    row = job_row(scene.database_url, job)
    assert (row["status"], row["retries"]) == ("retrying", 0)
    assert "executor" in scene.receiver.invoked()


def test_an_executor_with_nothing_to_do_leaves_at_once(scene: Scene) -> None:
    scene.invoke()  # the first one fills the empty set
    started = time.monotonic()
    assert scene.invoke(reason="tick")["reason"] == "idle"
    assert time.monotonic() - started < 0.5


def test_a_second_executor_is_not_needed_beside_an_idle_one(scene: Scene) -> None:
    scene.queue.pop(utc_now(), executor="somebody", token="t", most=1)
    assert scene.invoke(reason="tick")["reason"] == "not needed"


def test_i1_a_flush_while_jobs_wait_loses_none(scene: Scene) -> None:
    due = utc_now() + seconds(2)
    ids = scene.jobs(count=50, due=due)
    executor = scene.invoke_beside()
    time.sleep(0.5)
    with Redis.from_url(scene.redis_url) as client:
        client.flushall()
    flushed_at = time.monotonic()
    while scene.queue.depth(utc_now()).size < 50:
        assert time.monotonic() - flushed_at < 2
        time.sleep(0.01)
    executor.join()
    arrived = scene.receiver.deliveries()
    assert Counter(request.webhook_id for request in arrived) == Counter(str(job) for job in ids)
    assert max(request.at for request in arrived) - due < seconds(1)


def test_i1_a_flush_repeats_nothing_that_is_recorded(scene: Scene) -> None:
    scene.jobs(count=20)
    scene.invoke()
    with Redis.from_url(scene.redis_url) as client:
        client.flushall()
    scene.invoke()
    assert len(scene.receiver.deliveries()) == 20


def test_i4_a_database_restart_loses_nothing(scene: Scene, postgres: BreakablePostgres) -> None:
    ids = scene.jobs("/slow/0.3", count=200, due=utc_now() + seconds(0.5))
    executor = scene.invoke_beside()
    scene.receiver.wait_for(20)
    postgres.restart()
    executor.join()
    states = rows(scene.database_url, "SELECT status, count(*) AS n FROM jobs GROUP BY status")
    assert {request.webhook_id for request in scene.receiver.deliveries()} == {str(job) for job in ids}
    assert [(row["status"], row["n"]) for row in states] == [("completed", 200)]


def test_a_slow_merchant_does_not_stop_another(scene: Scene) -> None:
    scene.jobs("/slow/2", count=900)
    executor = scene.invoke_beside()
    scene.receiver.wait_for(500)
    other = store_merchant(scene.database_url)
    posted_at = utc_now()
    [job] = store_jobs(
        scene.database_url,
        other,
        now=posted_at,
        target=f'{{"type": "http", "url": "{scene.receiver.url}/ok", "method": "POST", "headers": {{}}}}',
    )
    scene.queue.announce(posted_at, [Hint(other, job, posted_at, 0)])
    executor.join()
    [arrived] = [request.at for request in scene.receiver.deliveries() if request.webhook_id == str(job)]
    assert arrived - posted_at < seconds(1.5)


def test_a_newcomers_job_goes_before_the_batch_that_was_popped_beside_it(scene: Scene) -> None:
    [first] = scene.jobs()
    executor = scene.invoke_beside(reason="stay", seconds=8)
    scene.receiver.wait_for(1)
    due = utc_now()
    target = http_target(scene.receiver.url + "/ok")
    newcomer = store_merchant(scene.database_url)
    [job] = store_jobs(scene.database_url, newcomer, now=due, target=target, next_run_at=due)
    many = store_jobs(scene.database_url, scene.merchant, 999, now=due, target=target, next_run_at=due)
    scene.queue.announce(due, [*(Hint(scene.merchant, each, due, 0) for each in many), Hint(newcomer, job, due, 0)])
    scene.receiver.wait_for(1_001, 30)
    executor.join()
    order = [request.webhook_id for request in scene.receiver.deliveries()]
    assert order[0] == str(first)
    assert order.index(str(job)) < 100


def test_what_is_announced_while_a_newcomer_is_looked_up_is_claimed_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = MerchantBook.look_up

    def slowly(book: MerchantBook, now: datetime, merchant_ids: list[UUID]) -> list[tuple[MerchantLimits, bool]]:
        if not later:
            time.sleep(0.2)
            later.extend(scene.jobs())
        return look_up(book, now, merchant_ids)

    scene.jobs()
    scene.invoke()  # fills the set: whatever is lost after this is not found again
    later: list[UUID] = []
    scene.merchant = store_merchant(scene.database_url)
    monkeypatch.setattr(MerchantBook, "look_up", slowly)
    [first] = scene.jobs()
    scene.invoke()
    came = [request.webhook_id for request in scene.receiver.deliveries()[1:]]
    assert len(later) == 1
    assert sorted(came) == sorted(str(job) for job in (first, *later))


def failing(times: float, what: Callable[..., Any]) -> Callable[..., Any]:
    """As `what`, but PostgreSQL goes away before the first `times` answers are heard."""
    left = [times]

    def fails(*args: Any, **more: Any) -> Any:
        answer = what(*args, **more)
        left[0] -= 1
        if left[0] >= 0:
            raise DatabaseUnavailableError("away")
        return answer

    return fails


def test_i2_a_claim_whose_answer_is_lost_is_asked_for_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was done; that must be known before its lease runs out."""
    monkeypatch.setattr(claims, "claim", failing(2, claims.claim))
    ids = scene.jobs(count=3)
    report = scene.invoke(seconds=15)
    assert (report["popped"], report["claimed"]) == (3, 3)
    assert sorted(request.webhook_id for request in scene.receiver.deliveries()) == sorted(map(str, ids))
    for job_id in ids:
        row = job_row(scene.database_url, job_id)
        assert (row["status"], row["attempt"]) == ("completed", 1)
        assert row["last_run_at"] - row["due_at"] < seconds(1.5)  # the lease takes 2 s, what was popped 5 s


def test_a_batch_that_postgresql_gives_up_holds_nobody_else_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone keeps a row locked: its batch comes back when the statement's time is up, and the next is claimed."""
    monkeypatch.setenv("DATABASE_STATEMENT_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("LEASE_SECONDS", "25")  # for so long it would be asked for again, were the server away
    forget_what_is_kept()
    [held] = scene.jobs(due=utc_now() - seconds(10))
    with psycopg.connect(scene.database_url) as someone:
        someone.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", (held,))
        running = scene.invoke_beside()
        time.sleep(0.5)
        others = scene.jobs(count=3)
        scene.receiver.wait_for(3)
    running.join()
    assert {request.webhook_id for request in scene.receiver.deliveries()[:3]} == {str(job) for job in others}


def test_i4_a_retry_is_announced_though_the_answer_is_lost_to_the_statement_that_wrote_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the next tick."""
    monkeypatch.setattr(claims, "record", failing(1, claims.record))
    [job] = scene.jobs("/fail-first/1", initial=0.1)
    scene.invoke(seconds=15)
    assert outcomes(scene, job) == ["retried", "completed"]


def test_i4_nor_does_it_wait_where_its_executor_is_about_to_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as awake no longer when the delivery ends, so it brings a successor."""
    monkeypatch.setattr(handler, "LAST_SECONDS", 1.0)
    monkeypatch.setattr(claims, "record", failing(1, claims.record))
    answer = Receiver.answer

    def slowly(receiver: Receiver, request: Received) -> tuple[int, dict[str, str]]:
        if "webhook-id" in request.headers:
            time.sleep(3)
        return answer(receiver, request)

    monkeypatch.setattr(Receiver, "answer", slowly)
    [job] = scene.jobs("/fail-first/1", initial=0.1)
    assert scene.invoke(seconds=5)["more"] is False
    assert outcomes(scene, job) == ["retried"]
    assert scene.receiver.invoked().count("executor") == 1
    scene.invoke(seconds=15)
    assert outcomes(scene, job) == ["retried", "completed"]


def test_jobs_whose_merchant_cannot_be_looked_up_are_delivered_as_soon_as_it_can(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL goes away between a claim and the look-up."""
    monkeypatch.setattr(MerchantBook, "entries", failing(1, MerchantBook.entries))
    [job] = scene.jobs()
    scene.invoke(seconds=15)
    [request] = scene.receiver.deliveries()
    assert request.webhook_id == str(job)
    assert job_row(scene.database_url, job)["attempt"] == 1


def test_jobs_whose_merchant_cannot_be_looked_up_for_long_are_left_to_their_lease(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody delivers them here, so nobody may hold them."""
    monkeypatch.setattr(MerchantBook, "entries", failing(math.inf, MerchantBook.entries))
    [lost] = scene.jobs()
    scene.invoke(seconds=8)
    assert held_until(scene, lost) - job_row(scene.database_url, lost)["last_run_at"] <= seconds(4)
    assert scene.receiver.deliveries() == []


def test_what_falls_due_while_postgresql_is_away_is_delivered_at_once_on_its_return(
    scene: Scene, postgres: BreakablePostgres
) -> None:
    """What is popped and cannot be claimed is kept, for in the set it would be seen again after 5 s only."""
    scene.jobs()
    scene.invoke()  # its merchant is known
    due = utc_now() + seconds(1)
    ids = [job for at in range(10) for job in scene.jobs(due=due + at * seconds(0.1))]
    running = scene.invoke_beside()
    postgres.stop()
    time.sleep(max(0.0, (due + seconds(1.2) - utc_now()).total_seconds()))
    postgres.start()
    back = utc_now()
    running.join()
    runs = [job_row(scene.database_url, job_id) for job_id in ids]
    assert {row["status"] for row in runs} == {"completed"}
    assert max(row["last_run_at"] for row in runs) - back < seconds(2)


@pytest.mark.parametrize("most", [1, 3])
def test_a_concurrency_limit_is_kept(scene: Scene, most: int) -> None:
    with psycopg.connect(scene.database_url) as connection:
        connection.execute("UPDATE merchants SET max_concurrency = %s", (most,))
    scene.queue.set_terms([(MerchantLimits(merchant_id=scene.merchant, max_concurrency=most), True)])
    scene.jobs("/slow/0.2", count=9)
    started = time.monotonic()
    scene.invoke()
    arrived = sorted(request.at for request in scene.receiver.deliveries())
    assert len(arrived) == 9
    for first, later in zip(arrived, arrived[most:], strict=False):
        assert later - first > seconds(0.19)
    assert time.monotonic() - started < 9 / most * 0.2 + 2


def test_i9_nothing_secret_is_logged(scene: Scene) -> None:
    written = StringIO()
    [output] = logger.handlers
    assert isinstance(output, StreamHandler)
    before = output.setStream(written)
    target = (
        f'{{"type": "http", "url": "{scene.receiver.url}/status/500?token=hidden-query", "method": "POST", '
        '"headers": {"authorization": "Bearer hidden-header"}}'
    )
    scene.jobs(target=target, payload='"hidden-payload"', max_retries=0)
    scene.invoke()
    output.setStream(before)
    assert "job.ended" in written.getvalue()
    assert "hidden" not in written.getvalue()


def test_an_executor_waits_for_a_redis_that_is_away_as_long_as_it_may(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.jobs()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    forget_what_is_kept()
    started = time.monotonic()
    assert scene.invoke(seconds=3)["reason"] == "time"
    assert time.monotonic() - started < 3


def unannounced(scene: Scene) -> list[UUID]:
    """A job that the ready set, whole for all it knows, has not heard of."""
    return store_jobs(
        scene.database_url,
        scene.merchant,
        1,
        now=utc_now(),
        target=http_target(scene.receiver.url + "/ok"),
        next_run_at=utc_now(),
    )


def away_once(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The first of each of these calls finds Redis away."""
    for name in names:
        call, failed = getattr(ReadySet, name), list[str]()

        def first_fails(
            queue: ReadySet, *args: Any, of: Callable[..., Any] = call, before: list[str] = failed, **options: Any
        ) -> Any:
            if not before:
                before.append("failed")
                raise QueueUnavailableError("away for a moment")
            return of(queue, *args, **options)

        monkeypatch.setattr(ReadySet, name, first_fails)


@pytest.mark.parametrize(
    ("reason", "away"),
    [
        ("unannounced", []),
        ("unannounced", ["distrust"]),
        ("unannounced", ["distrust", "pop"]),
        ("announced", ["arrive"]),
        ("stay", ["pop"]),
    ],
)
def test_i1_what_was_not_announced_while_redis_was_away_is_delivered_at_once_on_its_return(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, reason: str, away: list[str]
) -> None:
    scene.queue.mark_filled(utc_now(), Progress())
    [job] = unannounced(scene)
    away_once(monkeypatch, *away)
    scene.invoke(reason=reason, seconds=8)
    [request] = scene.receiver.deliveries()
    assert request.webhook_id == str(job)
    assert not scene.queue.pop(utc_now(), executor="one", token="t", most=1).must_rebuild


def test_i1_what_is_popped_is_delivered_though_redis_goes_away_before_it_is_claimed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise QueueUnavailableError("away")

    scene.jobs()
    scene.invoke()  # its merchant is known
    [job] = scene.jobs()
    one_job_each(scene, 1, due=utc_now())  # of somebody who is not, and Redis is told of him before the claim
    for name in ("set_terms", "distrust"):
        monkeypatch.setattr(ReadySet, name, away)
    scene.invoke(seconds=4)
    _, request = scene.receiver.deliveries()
    assert request.webhook_id == str(job)


def test_i1_nor_does_it_wait_where_others_leave_redis_alone_a_while_longer(scene: Scene) -> None:
    scene.queue.mark_filled(utc_now(), Progress())
    executor = scene.invoke_beside(reason="unannounced")
    time.sleep(1.5)
    assert scene.queue.is_whole()
    [job] = unannounced(scene)
    executor.join()
    [request] = scene.receiver.deliveries()
    assert request.webhook_id == str(job)


@pytest.mark.parametrize("due_in", [None, 3_600])
def test_with_redis_away_and_nothing_due_soon_in_the_database_an_executor_goes_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, due_in: float | None
) -> None:
    if due_in is not None:
        scene.jobs(due=utc_now() + seconds(due_in))
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    forget_what_is_kept()
    assert scene.invoke(reason="tick")["reason"] == "idle"


def test_with_both_stores_away_an_executor_goes_and_fails_not(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://x@127.0.0.1:1/x")
    forget_what_is_kept()
    assert scene.invoke(reason="tick")["reason"] == "idle"


def test_i1_a_set_that_was_emptied_is_filled_by_the_next_tick(scene: Scene) -> None:
    scene.jobs(due=utc_now() + seconds(80))
    with Redis.from_url(scene.redis_url) as client:
        client.flushall()
    assert scene.invoke(reason="tick")["popped"] == 0
    assert scene.queue.depth(utc_now()).size == 1
    assert scene.invoke(reason="tick")["reason"] == "idle"


def test_jobs_given_back_are_in_the_ready_set_for_the_successor(scene: Scene) -> None:
    [job] = scene.jobs("/slow/20")
    assert scene.invoke(seconds=7)["released"] == 1
    [(_, hinted)] = scene.queue.pop(utc_now(), executor="next", token="t", most=5).hints
    assert hinted == job.hex


def test_i1_jobs_given_back_while_redis_was_away_are_found_by_the_successor(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.queue.mark_filled(utc_now(), Progress())
    [job] = scene.jobs("/slow/20")
    away_once(monkeypatch, "announce")
    assert scene.invoke(seconds=7)["released"] == 1
    [asked] = [each for each in scene.receiver.received if "/executor/" in each.path]
    assert asked.json() == {"reason": "unannounced"}
    monkeypatch.setattr(Receiver, "answer", lambda *_: (200, {}))
    scene.invoke(reason="unannounced", seconds=15)
    assert outcomes(scene, job) == ["lost", "completed"]


def test_a_backlog_that_is_left_when_time_is_up_goes_to_a_successor(scene: Scene) -> None:
    scene.jobs(due=utc_now() + seconds(30))
    assert scene.invoke(seconds=3)["more"] is True
    assert scene.receiver.invoked() == ["executor"]


def test_a_job_whose_merchant_is_gone_fails(scene: Scene) -> None:
    [job] = scene.jobs()
    with psycopg.connect(scene.database_url) as connection:
        connection.execute("DELETE FROM merchants")
    scene.queue.set_terms([(MerchantLimits(merchant_id=scene.merchant), True)])
    scene.invoke()
    assert job_row(scene.database_url, job)["last_error"] == "its merchant is gone"


def test_an_inactive_merchants_job_waits(scene: Scene) -> None:
    [job] = scene.jobs()
    with psycopg.connect(scene.database_url) as connection:
        connection.execute("UPDATE merchants SET active = false")
    scene.invoke()
    assert job_row(scene.database_url, job)["status"] == "pending"


def test_i3_a_result_whose_lease_was_taken_away_is_dropped(scene: Scene) -> None:
    [job] = scene.jobs("/slow/1")
    executor = scene.invoke_beside()
    scene.receiver.wait_for(1)
    with psycopg.connect(scene.database_url) as connection:
        connection.execute("UPDATE jobs SET attempt = 7 WHERE id = %s", (job,))
    executor.join()
    row = job_row(scene.database_url, job)
    assert (row["status"], row["attempt"]) == ("running", 7)


def test_a_cancellation_that_was_taken_back_does_not_cut_the_new_attempt_off(scene: Scene) -> None:
    [job] = scene.jobs("/slow/1")
    executor = scene.invoke_beside()
    scene.receiver.wait_for(1)
    scene.queue.announce_cancelled(utc_now(), [job])  # what is left of a cancellation before the redrive
    executor.join()
    assert outcomes(scene, job) == ["completed"]


def test_leases_are_kept_while_redis_is_away(
    scene: Scene, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    forget_what_is_kept()
    [job] = scene.jobs("/slow/4")
    executor = scene.invoke_beside(seconds=12)
    scene.receiver.wait_for(1)
    redis_server.stop()
    time.sleep(2.5)  # longer than a lease
    assert held_until(scene, job) > utc_now()
    executor.join()
    assert outcomes(scene, job) == ["completed"]


def test_an_executor_that_is_to_stay_waits_for_work_until_its_time_is_up(scene: Scene) -> None:
    staying = scene.invoke_beside(seconds=8, reason="stay")
    time.sleep(1.5)
    assert scene.queue.depth(utc_now()).executors == 1, "it is awake with nothing to do"
    (job_id,) = scene.jobs()
    scene.receiver.wait_for(1)
    assert "executor" not in scene.receiver.invoked()
    staying.join(timeout=15)
    assert job_row(scene.database_url, job_id)["status"] == "completed"
    assert scene.queue.depth(utc_now()).executors == 0
