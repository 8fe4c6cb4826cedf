"""What a run has cost: memory and processor time of processes, what PostgreSQL wrote, what Redis was asked."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import redis

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_TABLES: Final = "^(jobs|leases|executions|throughput)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a database has written since it was made."""

    wal_bytes: int
    inserts: int
    updates: int
    hot_updates: int
    transactions: int

    @property
    def row_versions(self) -> int:
        return self.inserts + self.updates

    def since(self, before: "Counters") -> "Counters":
        """The difference."""
        return Counters(
            wal_bytes=self.wal_bytes - before.wal_bytes,
            inserts=self.inserts - before.inserts,
            updates=self.updates - before.updates,
            hot_updates=self.hot_updates - before.hot_updates,
            transactions=self.transactions - before.transactions,
        )


def end_idle_sessions(url: str, name: str) -> None:
    """Those of this application name: what an open one has to tell of itself is up to ten seconds late."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s AND state = 'idle'",
            (name,),
        )


def database_counters(url: str) -> Counters:
    """As PostgreSQL's statistics have them, without what open sessions have not told yet."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            """
            SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn,
                (SELECT sum(n_tup_ins) FROM pg_stat_user_tables WHERE relname ~ %(tables)s),
                (SELECT sum(n_tup_upd) FROM pg_stat_user_tables WHERE relname ~ %(tables)s),
                (SELECT sum(n_tup_hot_upd) FROM pg_stat_user_tables WHERE relname ~ %(tables)s),
                (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database())
            """,
            {"tables": _TABLES},
        ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM answers one row
    wal, inserts, updates, hot, transactions = (int(value or 0) for value in row)
    return Counters(wal_bytes=wal, inserts=inserts, updates=updates, hot_updates=hot, transactions=transactions)


def redis_commands(url: str) -> int:
    """How many commands Redis has served."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("stats")["total_commands_processed"])


def peak_memory(pid: int) -> int:
    """The most memory that a process has had resident, in bytes; 0 where it is gone or the system does not say."""
    return _status(pid, "VmHWM:")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(value) for value in fields[11:15]) / _TICKS


def family(pid: int) -> list[int]:
    """A process and its children, such as PostgreSQL's backends."""
    found = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def _status(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1_024 for line in lines if line.startswith(name)), 0)
