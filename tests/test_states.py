"""The table of a life, held to the drawing in the architecture."""

from __future__ import annotations

from core.states import COMING, FINAL, LEAVING, NEXT, State

S = State


def test_every_state_has_its_row() -> None:
    assert set(NEXT) == set(State)


def test_the_words_that_users_see() -> None:
    words = "starting ready draining sleeping waking stopping stopped failed"
    assert [state.value for state in State] == words.split()


def test_the_steps() -> None:
    steps = {(a, b) for a, after in NEXT.items() for b in after}
    assert steps == {
        (S.STARTING, S.READY),
        (S.STARTING, S.STOPPING),
        (S.READY, S.DRAINING),
        (S.READY, S.STOPPING),
        (S.DRAINING, S.READY),
        (S.DRAINING, S.SLEEPING),
        (S.DRAINING, S.STOPPING),
        (S.SLEEPING, S.WAKING),
        (S.SLEEPING, S.STOPPING),
        (S.WAKING, S.READY),
        (S.WAKING, S.STOPPING),
        (S.STOPPING, S.STOPPED),
        (S.STOPPING, S.FAILED),
    }


def test_every_life_can_end_and_the_end_is_final() -> None:
    assert FINAL == {S.STOPPED, S.FAILED}
    for state in set(State) - FINAL - {S.STOPPING}:
        assert S.STOPPING in NEXT[state]  # bury first: the memory is held until the tree is dead
        assert not NEXT[state] & FINAL


def test_groups() -> None:
    assert COMING == {S.STARTING, S.WAKING}
    assert LEAVING == {S.DRAINING, S.STOPPING}
