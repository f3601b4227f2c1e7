"""Sees that plugin files or the config file changed, and waits until the change is over.

It looks at a few dozen files twice a second, which costs 0.01 % of a core, rather than asking the
system for events: that works the same on every platform, on network drives and in containers, with
folders that come and go, and however an editor saves.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from core.bridge import Bridge
from core.plugin_loading import is_plugin_file

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks while nothing happens."""
SETTLE = 0.3
"""Seconds without a further change after which a change is over."""
LONGEST = 5.0
"""Seconds after which a change counts as over although it goes on."""

Snapshot = dict[str, tuple[int, ...] | None]


class Settling:
    """Tells once for each change of a snapshot that it is over."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._told = self._last = snapshot
        self._began: float | None = None
        self._moved = 0.0

    @property
    def waiting(self) -> bool:
        return self._began is not None

    def is_over(self, snapshot: Snapshot, now: float) -> bool:
        """Whether `snapshot` differs from the last one told of, and has come to rest."""
        if snapshot != self._last:
            self._last, self._moved = snapshot, now
            if self._began is None:
                self._began = now
        if self._began is None or (now - self._moved < SETTLE and now - self._began < LONGEST):
            return False
        self._began = None
        changed = self._last != self._told
        self._told = self._last
        return changed


class Watcher:
    """A daemon thread that calls back in the loop; the first look is taken when it is built."""

    def __init__(
        self,
        bridge: Bridge,
        *,
        plugin_folders: Iterable[Path],
        config_file: Path,
        on_plugins: Callable[[], object],
        on_config: Callable[[], object],
    ) -> None:
        self._bridge = bridge
        looks: tuple[tuple[Callable[[], Snapshot], Callable[[], object]], ...] = (
            (partial(plugin_snapshot, tuple(plugin_folders)), on_plugins),
            (partial(file_snapshot, config_file), on_config),
        )
        self._watches = [(look, Settling(look()), callback) for look, callback in looks]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No callback is asked for after this; returns within a second."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        pause = INTERVAL
        while not self._stopping.wait(pause):
            pause = INTERVAL
            for look, settling, callback in self._watches:
                try:
                    over = settling.is_over(look(), time.monotonic())
                except Exception:
                    log.exception("cannot look for changed files")
                    continue
                if settling.waiting:
                    pause = SETTLE / 3
                if over and not self._stopping.is_set():
                    self._bridge.call(callback)


def plugin_snapshot(folders: Iterable[Path]) -> Snapshot:
    """Signatures of all plugin files, and the rights of their folders, which decide as well."""
    snapshot: Snapshot = {}
    for folder in folders:
        try:
            snapshot[str(folder)] = (folder.stat().st_mode,)
            names = [name for name in os.listdir(folder) if is_plugin_file(name)]
        except OSError:
            snapshot[str(folder)] = None
            continue
        for name in names:
            snapshot.update(file_snapshot(folder / name))
    return snapshot


def file_snapshot(file: Path) -> Snapshot:
    """The signature of one file; of its target, if it is a link."""
    try:
        stat = os.stat(file)
    except OSError:
        return {str(file): None}
    return {str(file): (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)}
