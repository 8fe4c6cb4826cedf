"""The stack's data folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev import processes
from dev.folder import DataFolder
from dev.processes import ServerError


def test_a_second_stack_in_one_folder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with (
        DataFolder(tmp_path).locked(),
        pytest.raises(ServerError, match=str(os.getpid())),
        DataFolder(tmp_path).locked(),
    ):
        pass


def test_a_folder_can_be_held_again_after_its_holder_left(tmp_path: Path) -> None:
    for _ in range(2):
        with DataFolder(tmp_path).locked():
            pass


def test_what_is_told_is_for_our_user_only_and_gone_with_the_stack(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with folder.locked():
        folder.tell({"pid": 1})
        folder.tell({"pid": 2})
        told = tmp_path / "stack.json"
        assert json.loads(told.read_text()) == {"pid": 2}
        assert told.stat().st_mode & 0o777 == 0o600
    assert not told.exists()


def test_orphans_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen([*sleeping, "hosting.runtime"]) as orphan, subprocess.Popen(sleeping) as stranger:
        assert processes.wait_until(lambda: "hosting.runtime" in processes.command_of(orphan.pid), 5)
        folder.note_process(orphan.pid)
        folder.note_process(stranger.pid)
        assert folder.end_orphans() == 1
        assert orphan.wait(timeout=5) != 0
        assert processes.lives(stranger.pid)
        stranger.kill()
    assert folder.end_orphans() == 0
