"""The states of an Instance and the steps between them; everything else about a life is derived."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """One word of the life of an Instance; the value is what users, logs and the API see."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    SLEEPING = "sleeping"
    WAKING = "waking"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


NEXT: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.READY, State.STOPPING}),
    State.READY: frozenset({State.DRAINING, State.STOPPING}),
    State.DRAINING: frozenset({State.READY, State.SLEEPING, State.STOPPING}),
    State.SLEEPING: frozenset({State.WAKING, State.STOPPING}),
    State.WAKING: frozenset({State.READY, State.STOPPING}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED}),
    State.STOPPED: frozenset(),
    State.FAILED: frozenset(),
}
"""What may follow what. A failure goes through STOPPING as well: the process tree is ended and its
memory stays reserved until it is dead."""

FINAL = frozenset(state for state, after in NEXT.items() if not after)
COMING = frozenset({State.STARTING, State.WAKING})
LEAVING = frozenset({State.DRAINING, State.STOPPING})
