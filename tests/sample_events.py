"""The sample events of `events/`, and what functions answer to them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).parents[1] / "events"

Accepted = Callable[[Any], bool]
ANSWERS: dict[str, Accepted] = {
    "api": lambda answer: answer["statusCode"] == 200 and len(json.loads(answer["body"])["items"]) == 3,
    "authorizer": lambda answer: answer == {"isAuthorized": False},
    "executor": lambda answer: answer["claimed"] == 0,
    "migrator": lambda answer: answer == {"applied": []},
    "populator": lambda answer: answer["complete"] is True,
    "recurrence": lambda answer: answer["complete"] is True,
    "watcher": lambda answer: answer["passes"] >= 1,
}
"""What each function says to its event on an empty installation; the authorizer's key is nobody's."""


def event(name: str) -> Any:
    """The sample event of a function."""
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
