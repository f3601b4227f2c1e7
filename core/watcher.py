"""Sees that plugin files or the config file changed, and waits until the change is over.

The system's events (watchdog) only say *when* to look; *what* changed is found by looking at a few
dozen files. It looks now and then without an event as well, because events get lost: on network
drives, in containers, when a folder comes and goes, when a limit of the system is reached.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.bridge import Bridge
from core.plugin_loading import is_plugin_file

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two looks while no event comes."""
GAP = 0.05
"""Seconds at least between two looks, however many events come."""
SETTLE = 0.3
"""Seconds without a further change after which a change is over."""
LONGEST = 5.0
"""Seconds after which a change counts as over although it goes on."""

CHANGES = frozenset({"created", "modified", "moved", "deleted"})
"""Events that matter; being read is one as well, and looking is reading."""

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
        self._folders = {config_file.parent, *plugin_folders}
        self._stopping = False
        self._look_now = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """To be called in the loop: there is no callback after this. The thread ends by itself.

        It is not waited for: the events of Windows take a second to end.
        """
        self._stopping = True
        self._look_now.set()

    def _run(self) -> None:
        observer = _observe(self._folders, self._look_now.set)
        try:
            self._look_around()
        finally:
            observer.stop()

    def _look_around(self) -> None:
        pause = INTERVAL
        while not self._stopping:  # its wake-up may have been cleared with that of an event
            self._look_now.wait(pause)
            if self._stopping:
                return
            time.sleep(GAP)
            self._look_now.clear()
            pause = INTERVAL
            for look, settling, callback in self._watches:
                try:
                    over = settling.is_over(look(), time.monotonic())
                except Exception:
                    log.exception("cannot look for changed files")
                    continue
                if settling.waiting:
                    pause = SETTLE / 3
                    self._look_now.clear()
                if over:
                    self._bridge.call(self._tell, callback)

    def _tell(self, callback: Callable[[], object]) -> None:
        if not self._stopping:
            callback()


def _observe(folders: Iterable[Path], tell: Callable[[], None]) -> BaseObserver:
    """Have `tell` called at every event in the folders, as far as the system offers events."""
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type in CHANGES:
                tell()

    observer = Observer()
    observer.daemon = True
    try:
        observer.start()
        for folder in folders:
            if folder.is_dir():
                observer.schedule(Handler(), str(folder))
    except Exception as error:  # each system has its own ways to refuse
        log.info("no file events (%s): looking every %g s instead", error, INTERVAL)
    return observer


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
