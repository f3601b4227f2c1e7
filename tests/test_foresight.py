"""What a start would set off, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.domain import Variant
from core.foresight import Foresight, foresee, model_of
from core.scheduling.world import Action, Demand, Hold, Reject, Release, Start, Waiting

DEMAND = Demand(0, "m", 0.0)
VARIANT = Variant("A", ("gpu",), {"gpu": 1}, Path("a.sh"))


@pytest.mark.parametrize(
    ("actions", "foresight"),
    [
        ([], Foresight()),
        ([Start(DEMAND, VARIANT)], Foresight(variant="A")),
        (
            [Release("x#1", "why"), Release("y#z#2", "why"), Waiting(DEMAND, "room")],
            Foresight(unloads=("x", "y#z"), waits="room"),
        ),
        ([Hold("x#1", DEMAND), Release("x#1", "why")], Foresight(unloads=("x",))),
        ([Reject(DEMAND, "no_device", "none")], Foresight(refused="none")),
    ],
)
def test_actions_become_a_foresight(actions: list[Action], foresight: Foresight) -> None:
    assert foresee(actions) == foresight


def test_an_instance_is_named_after_its_model() -> None:
    assert model_of("a#b#12") == "a#b"
