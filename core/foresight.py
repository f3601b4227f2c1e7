"""What a start would set off, in words for a person; made of the scheduler's own answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.scheduling.world import Action, Hold, Reject, Release, Start, Waiting


@dataclass(frozen=True, slots=True)
class Foresight:
    """The next step of a start. Nothing of it is done."""

    variant: str | None = None
    """It would be started at once, as this variant."""
    unloads: tuple[str, ...] = ()
    """Models that would give their memory back for it."""
    waits: str | None = None
    """Why it would have to wait."""
    refused: str | None = None
    """Why it would be refused."""

    def as_json(self) -> dict[str, Any]:
        return {
            "variant": self.variant,
            "unloads": list(self.unloads),
            "waits": self.waits,
            "refused": self.refused,
        }


def foresee(actions: Iterable[Action]) -> Foresight:
    """Read the actions that `ModelController.preview` gives."""
    variant: str | None = None
    unloads: list[str] = []
    waits: str | None = None
    refused: str | None = None
    for action in actions:
        match action:
            case Start(_, chosen):
                variant = chosen.name
            case Release(instance, _, _) | Hold(instance, _):
                unloads.append(model_of(instance))
            case Waiting(_, why, _):
                waits = why
            case Reject(_, _, reason, _):
                refused = reason
    return Foresight(variant, tuple(dict.fromkeys(unloads)), waits, refused)


def model_of(instance: str) -> str:
    """The model's name in an instance id ("qwen3#2")."""
    return instance.rpartition("#")[0]
