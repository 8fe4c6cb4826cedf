"""The launchers of the embedded servers."""

import os
import signal
from pathlib import Path

import psycopg
import redis

from dev import processes
from dev.postgres import PostgresServer
from dev.redis import RedisServer


def test_a_fresh_migrated_database_is_handed_out(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


def test_postgres_keeps_its_data_and_its_port_over_a_restart(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False)
    server.start()
    try:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        before = server.url
        server.restart()
        assert server.url == before
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    finally:
        server.stop()


def test_an_orphan_of_an_earlier_run_is_ended_and_its_data_are_served_again(tmp_path: Path) -> None:
    lost = PostgresServer(tmp_path, durable=False)
    lost.start()
    try:
        with psycopg.connect(lost.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        orphan = lost.pid
        assert orphan is not None
        found = PostgresServer(tmp_path, durable=False)
        found.start()
        try:
            assert not processes.lives(orphan)
            assert found.url == lost.url
            with psycopg.connect(found.url) as connection:
                assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
        finally:
            found.stop()
    finally:
        lost.stop()


def test_a_pid_file_that_names_a_stranger_harms_nobody(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False)
    server.start()
    server.stop()
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    server.start()
    try:
        assert server.pid is not None
    finally:
        server.stop()


def test_a_redis_orphan_is_ended(tmp_path: Path) -> None:
    lost = RedisServer(tmp_path)
    lost.start()
    orphan = lost.pid
    assert orphan is not None
    found = RedisServer(tmp_path)
    found.start()
    try:
        assert not processes.lives(orphan)
        with redis.Redis.from_url(found.url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    finally:
        found.stop()
        lost.stop()


def test_a_killed_redis_comes_back_empty_on_the_same_port(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("a", "b")
        before = redis_server.url
        redis_server.kill()
        redis_server.start()
        assert redis_server.url == before
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.get("a") is None


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stubborn = processes.start(["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"], log=log)
    assert processes.wait_until(lambda: "deaf" in processes.tail(log), 5)
    processes.end(stubborn.pid, signal.SIGTERM, patience_seconds=0.3)
    assert stubborn.wait(timeout=2) == -signal.SIGKILL
