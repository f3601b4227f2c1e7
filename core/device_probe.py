"""Child process in which device plugins run: a driver that hangs or crashes costs only it.

    python -m core.device_probe FOLDER

It speaks JSON lines. Commands on stdin: {"op": "load", "skip": {file: reason}} looks at the folder,
{"op": "read", "names": [...]} reads devices in that order. Answers on stdout: {"step": [op, what]}
before each file and each device, so that the parent knows who hung; {"loaded": ...} or
{"reading": ...}; {"done": true} at the end of every answer. The end of stdin ends the process.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import math
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.plugin_loading import PluginError, is_online, memory_of, reason_of
from core.plugin_system import PluginManager
from plugins.devices.Base_Class import DevicePlugin

LAST_WORDS = 0.3
"""Seconds for `cleanup()` of all plugins once the parent is gone."""
STUCK = 300
"""Seconds after which the kernel ends a step that nobody else can end: the parent is dead and a
native call holds the interpreter."""


class Probe:
    """Answers the commands, one after the other."""

    def __init__(self, folder: Path, say: Callable[[dict[str, Any]], None]) -> None:
        self._say = say
        self._skip: Mapping[str, str] = {}
        self._plugins = PluginManager(device_dir=folder, kinds=("devices",), before=self._announce)

    def answer(self, command: Mapping[str, Any]) -> None:
        if command["op"] == "load":
            self._skip = command["skip"]
            self._load()
        else:
            for name in command["names"]:
                self._say({"step": ["read", name]})
                plugin = self._plugins.devices.get(name)
                if plugin is not None:
                    self._say({"reading": read(name, plugin)})
        self._say({"done": True})

    def close(self) -> None:
        self._plugins.close()

    def _announce(self, file: Path) -> None:
        if file.name in self._skip:
            raise PluginError(self._skip[file.name])
        self._say({"step": ["load", file.name]})

    def _load(self) -> None:
        self._plugins.reload_plugins()
        status = self._plugins.get_plugin_status()["devices"]
        self._say({"loaded": {"names": list(self._plugins.devices), "status": status}})


def read(name: str, plugin: DevicePlugin) -> dict[str, Any]:
    """The reading as the parent wants it; whatever the plugin raises makes it offline."""
    try:
        if not is_online(plugin):
            return {"name": name, "online": False, "error": str(plugin.offline_reason or "offline")}
        total, available, used = memory_of(plugin)
    except BaseException as error:  # also SystemExit, KeyboardInterrupt, RecursionError
        source = getattr(sys.modules.get(type(plugin).__module__), "__file__", None) or ""
        return {"name": name, "online": False, "error": reason_of(error, Path(source))}
    return {
        "name": name,
        "online": True,
        "total_mb": total,
        "available_mb": available,
        "used_mb": used,
        "index": _extra(plugin.visible_index, lambda index: index if index is None else int(index)),
        "metrics": _extra(plugin.get_metrics, _numbers) or {},
    }


def _extra(ask: Callable[[], Any], shape: Callable[[Any], Any]) -> Any:
    """What is only shown must not cost the reading."""
    try:
        return shape(ask())
    except BaseException:
        return None


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    values = {str(name): round(float(value), 1) for name, value in metrics.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def main() -> None:
    """Serve until the end of stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent, which ends us
    faulthandler.enable()
    _job = _contain_what_plugins_start()
    commands, say = _take_over_stdio()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(levelname)s:%(name)s:%(message)s"
    )
    probe = Probe(Path(sys.argv[1]), say)
    while (line := commands.get()) is not None:
        _alarm(STUCK)
        probe.answer(json.loads(line))
        _alarm(0)
    probe.close()
    os._exit(0)


def _take_over_stdio() -> tuple[queue.SimpleQueue[bytes | None], Callable[[dict[str, Any]], None]]:
    """Keep both pipes for the protocol: a plugin prints to stderr and reads nothing."""
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    commands: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in source:
            commands.put(line)
        commands.put(None)
        threading.Timer(LAST_WORDS, _end_at_once).start()  # also out of a hung plugin

    def say(message: dict[str, Any]) -> None:
        try:
            sink.write(json.dumps(message).encode() + b"\n")
            sink.flush()
        except OSError:
            os._exit(0)  # the parent is gone

    threading.Thread(target=listen, name="commands", daemon=True).start()
    return commands, say


def _end_at_once() -> None:
    """Leave nothing that a plugin started: it may wait for a vendor's tool that hangs."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _contain_what_plugins_start() -> object:
    """Windows: what keeps them, until the end of this process. Elsewhere its group does."""
    if sys.platform != "win32":
        return None
    from core.launchers import job

    try:
        container = job.Job()
        container.take_this_process()
    except OSError:
        return None  # a very strict sandbox: they may outlive us
    return container


def _alarm(seconds: int) -> None:
    if sys.platform != "win32":
        signal.alarm(seconds)


if __name__ == "__main__":
    main()
