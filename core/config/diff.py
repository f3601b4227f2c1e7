"""What a new config means for a program that runs with the old one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from core.domain import Config, Model, Program

RESTART, UPDATE = "restart", "update"
LIVE, LATER = "live", "after restart"

MODEL_EFFECT: Mapping[str, str] = MappingProxyType(
    {
        # what the process was started with, or how it is spoken to
        **dict.fromkeys(("name", "interface", "variants", "port", "engine", "env"), RESTART),
        # how it is found
        **dict.fromkeys(("key", "aliases", "upstream_model"), UPDATE),
        # when it comes and goes
        **dict.fromkeys(("auto_start", "alive_time", "start_timeout", "stop_timeout"), UPDATE),
        **dict.fromkeys(("pinned", "priority", "concurrency", "queue_limit"), UPDATE),
    }
)
"""What a change of each field of a Model asks for."""

PROGRAM_EFFECT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("host", "port"), LATER),
        **dict.fromkeys(("device_plugin_dir", "interface_plugin_dir", "engine_plugin_dir"), LATER),
        **dict.fromkeys(("alive_time", "monitoring", "log_level"), LIVE),
        **dict.fromkeys(("allowed_hosts", "cors_origins"), LIVE),
    }
)
"""When a change of each field of the Program takes effect."""


@dataclass(frozen=True, slots=True)
class Change:
    """Primary names of models, in file order, and field names of Program; false if empty."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    """Their running instances no longer are what the config says."""
    updated: tuple[str, ...] = ()
    """Only policy changed: running instances go on."""
    program: tuple[str, ...] = ()
    """Settings that are in force at once."""
    after_restart: tuple[str, ...] = ()
    """Settings that wait for the next start of the program."""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that it touches."""
        return self.added + self.removed + self.restart + self.updated


def diff(old: Config, new: Config) -> Change:
    """Compare two configs; a model is the same one as long as its primary name is."""
    kept = [name for name in new.models if name in old.models]
    effects = {name: _effect(old.models[name], new.models[name]) for name in kept}
    settings = _changed(old.program, new.program)
    return Change(
        added=tuple(name for name in new.models if name not in old.models),
        removed=tuple(name for name in old.models if name not in new.models),
        restart=tuple(name for name in kept if effects[name] == RESTART),
        updated=tuple(name for name in kept if effects[name] == UPDATE),
        program=tuple(name for name in settings if PROGRAM_EFFECT[name] == LIVE),
        after_restart=tuple(name for name in settings if PROGRAM_EFFECT[name] == LATER),
    )


def _effect(old: Model, new: Model) -> str | None:
    effects = {MODEL_EFFECT[name] for name in _changed(old, new)}
    return RESTART if RESTART in effects else UPDATE if effects else None


def _changed(old: Model | Program, new: Model | Program) -> list[str]:
    names = [field.name for field in fields(old)]
    return [name for name in names if getattr(old, name) != getattr(new, name)]
