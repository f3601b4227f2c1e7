"""Statuses of models for whoever shows them."""

from __future__ import annotations

from typing import Any

from core.domain import ModelStatus
from core.states import State


def status(name: str = "chat", state: State = State.STOPPED, **changed: Any) -> ModelStatus:
    """The status of a model in this state, with the usual values but for those named."""
    values: dict[str, Any] = {
        "name": name,
        "aliases": (name,),
        "mode": "Chat",
        "state": state,
        "state_seconds": 0.0,
        "stage": "",
        "last_line": "",
        "pending": 0,
        "waiting": 0,
        "variant": None,
        "port": None,
        "pid": None,
        "memory_mb": {},
        "idle_seconds": 0.0,
        "idle_limit": None,
        "starts": 0,
        "failure": None,
        "startable": None,
        "usual_load_seconds": None,
        "pinned": False,
    }
    return ModelStatus(**{**values, **changed})
