"""What a config asks of the plugins and none of them provides: for `check`, without a running
program. Device plugins are loaded in the probe process, as ever: they may hang or crash."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from core.config.problem import Problem, child, nearest, quote
from core.domain import Config, Program
from core.plugin_system import PluginManager
from core.probe_process import Limits, ProbeLost, ProbeProcess


@dataclass(frozen=True, slots=True)
class Provided:
    """Names as the plugins give them; `devices` is None where they could not be found out."""

    interfaces: Collection[str]
    engines: Collection[str]
    devices: Collection[str] | None


def unprovided(config: Config, provided: Provided) -> list[Problem]:
    """One warning for each name that no plugin knows."""
    warnings = []
    for model in config.models.values():
        path = child("$", model.key)
        asked: list[tuple[str, str, str, Collection[str] | None]] = [
            (child(path, "mode"), "interface", model.interface, provided.interfaces),
            (child(path, "engine"), "engine", model.engine, provided.engines),
        ]
        known = provided.devices if config.program.monitoring else None
        for variant in model.variants:
            place = child(child(path, variant.name), "required_devices")
            asked += [(place, "device", device, known) for device in variant.devices]
        warnings += [
            Problem(place, _words(kind, name, names))
            for place, kind, name, names in asked
            if names is not None and name.lower() not in {known.lower() for known in names}
        ]
    return warnings


def _words(kind: str, name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    meant = nearest(name, known)
    advice = f"did you mean {quote(meant)}?" if meant else f"known are {', '.join(known) or 'none'}"
    return f"no {kind} plugin provides {quote(name)}; {advice}"


def look(program: Program) -> Provided:
    """Load the plugins of these folders and tell what they provide."""
    plugins = PluginManager(
        interface_dir=program.interface_plugin_dir,
        engine_dir=program.engine_plugin_dir,
        kinds=("interfaces", "engines"),
    )
    plugins.load_all_plugins()
    modes = [plugin.interface_name for plugin in plugins.interfaces.values()]
    return Provided(modes, list(plugins.engines), asyncio.run(_devices(program)))


async def _devices(program: Program) -> list[str] | None:
    names = None
    try:
        async with asyncio.TaskGroup() as group:
            probe = await ProbeProcess.start(program.device_plugin_dir, group, Limits(load=10.0))
            try:
                async for answer in probe.ask("load", skip={}):
                    names = list(answer["loaded"]["names"])
            finally:
                await probe.end()
    except* (ProbeLost, OSError):
        names = None
    return names
