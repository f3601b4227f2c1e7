from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import core.watcher
from core.bridge import Bridge
from core.watcher import LONGEST, SETTLE, Settling, Watcher, file_snapshot, plugin_snapshot
from tests.fakes.waiting import DEADLINE, until, until_sync

# Settling: when a change is over


def test_a_change_is_told_once_when_it_has_come_to_rest() -> None:
    settling = Settling({"a": (1,)})
    assert not settling.is_over({"a": (1,)}, 0.0)
    assert not settling.waiting
    assert not settling.is_over({"a": (2,)}, 1.0)
    assert settling.waiting
    assert not settling.is_over({"a": (3,)}, 1.0 + SETTLE)
    assert not settling.is_over({"a": (3,)}, 1.0 + SETTLE * 1.9)
    assert settling.is_over({"a": (3,)}, 1.0 + SETTLE * 2)
    assert not settling.is_over({"a": (3,)}, 9.0)
    assert not settling.waiting


def test_what_is_as_before_after_all_is_not_told() -> None:
    settling = Settling({"a": (1,)})
    assert not settling.is_over({"a": None}, 1.0)
    assert not settling.is_over({"a": (1,)}, 1.1)
    assert not settling.is_over({"a": (1,)}, 2.0)
    assert not settling.waiting


def test_a_change_that_never_rests_is_told_now_and_then() -> None:
    settling = Settling({})
    numbers = itertools.count()
    told = sum(settling.is_over({"a": (next(numbers),)}, tick / 10) for tick in range(600))
    assert told == pytest.approx(60 / LONGEST, abs=1)


# Snapshots: what counts as a change


def test_only_plugin_files_and_the_rights_of_their_folder_count(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    before = plugin_snapshot([tmp_path])
    for name in ("b.txt", "_b.py", ".b.py", ".b.py.swp", "b.py~", "Base_Class.py", "4913"):
        (tmp_path / name).touch()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.py").touch()
    (tmp_path / "a.py").read_bytes()
    assert plugin_snapshot([tmp_path]) == before
    (tmp_path / "b.py").touch()
    assert plugin_snapshot([tmp_path]) != before


@pytest.mark.skipif(os.name != "posix", reason="POSIX only: mode bits")
def test_rights_count(tmp_path: Path) -> None:
    before = plugin_snapshot([tmp_path])
    tmp_path.chmod(0o750)
    assert plugin_snapshot([tmp_path]) != before


def test_a_change_of_the_same_size_and_time_counts(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("1")
    before, stat = file_snapshot(file), file.stat()
    (tmp_path / "new").write_text("2")
    (tmp_path / "new").replace(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_snapshot(file) != before


@pytest.mark.skipif(os.name != "posix", reason="POSIX only: links without a privilege")
def test_another_target_of_a_link_counts(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("22")
    link = tmp_path / "config.json"
    link.symlink_to("one")
    before = file_snapshot(link)
    link.unlink()
    link.symlink_to("two")
    assert file_snapshot(link) != before


def test_a_missing_folder_and_file_are_a_state_like_others(tmp_path: Path) -> None:
    assert plugin_snapshot([tmp_path / "none"]) == {str(tmp_path / "none"): None}
    assert file_snapshot(tmp_path / "none") == {str(tmp_path / "none"): None}


# The thread


class Told:
    """Counts the callbacks, and what the watched file held at each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plugins: list[dict[str, str]] = []
        self.config: list[str | None] = []
        self.threads: set[int] = set()

    def watcher(self, bridge: Bridge, *plugin_folders: Path) -> Watcher:
        """Of these folders and the config file, not yet started."""
        return Watcher(
            bridge,
            plugin_folders=plugin_folders,
            config_file=self.root / "config.json",
            on_plugins=self.on_plugins,
            on_config=self.on_config,
        )

    def on_plugins(self) -> None:
        self.threads.add(threading.get_ident())
        folder = self.root / "plugins"
        files = folder.glob("*.py") if folder.exists() else ()
        self.plugins.append({file.name: file.read_text() for file in files})

    def on_config(self) -> None:
        file = self.root / "config.json"
        self.config.append(file.read_text() if file.exists() else None)

    async def until(self, fact: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not fact():
            assert time.monotonic() < deadline, (self.plugins, self.config)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(root: Path) -> AsyncIterator[Told]:
    told = Told(root)
    watcher = told.watcher(Bridge(asyncio.get_running_loop()), root / "plugins")
    watcher.start()
    try:
        yield told
    finally:
        watcher.stop()


OLD, NEW = "old = 1\n", "new = 22\n"


def in_place(file: Path) -> None:
    """nano, notepad."""
    file.write_text(NEW)


def slowly(file: Path) -> None:
    """A half-written file can be seen for a moment."""
    with file.open("w") as handle:
        handle.write(NEW[:3])
        handle.flush()
        handle.write(NEW[3:])


def replaced(file: Path) -> None:
    """VS Code, gedit, this program itself."""
    fresh = file.with_name(".fresh.tmp")
    fresh.write_text(NEW)
    fresh.replace(file)


def moved_away(file: Path) -> None:
    """vim: the old file becomes the backup, a new one is written, the backup goes."""
    backup = file.with_name(file.name + "~")
    file.rename(backup)
    file.write_text(NEW)
    backup.unlink()


def deleted(file: Path) -> None:
    """Some editors on Windows: away with the old one, then the new one comes."""
    fresh = file.with_name("x.tmp")
    fresh.write_text(NEW)
    file.unlink()
    fresh.rename(file)


@pytest.mark.parametrize("save", [in_place, slowly, replaced, moved_away, deleted])
async def test_one_save_is_told_once_however_it_is_made(
    tmp_path: Path, save: Callable[[Path], None]
) -> None:
    (tmp_path / "plugins").mkdir()
    plugin, config = tmp_path / "plugins" / "a.py", tmp_path / "config.json"
    plugin.write_text(OLD)
    config.write_text(OLD)
    async with watching(tmp_path) as told:
        save(plugin)
        await told.until(lambda: told.plugins)
        assert told.config == []
        save(config)
        await told.until(lambda: told.config)
        assert told.plugins == [{"a.py": NEW}]
        assert told.config == [NEW]
        assert told.threads == {threading.get_ident()}


async def test_added_renamed_and_removed_files_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    async with watching(tmp_path) as told:
        (folder / "a.py").write_text(NEW)
        await told.until(lambda: told.plugins)
        (folder / "a.py").rename(folder / "b.py")
        await told.until(lambda: len(told.plugins) == 2)
        (folder / "b.py").unlink()
        await told.until(lambda: len(told.plugins) == 3)
        assert told.plugins == [{"a.py": NEW}, {"b.py": NEW}, {}]


async def test_folders_and_the_config_may_come_and_go(tmp_path: Path) -> None:
    folder, config = tmp_path / "plugins", tmp_path / "config.json"
    async with watching(tmp_path) as told:
        folder.mkdir()
        (folder / "a.py").write_text(OLD)
        config.write_text(OLD)
        await told.until(lambda: told.plugins == [{"a.py": OLD}] and told.config == [OLD])
        folder.rename(tmp_path / "away")
        config.unlink()
        await told.until(lambda: len(told.plugins) == 2 and told.config == [OLD, None])
        (tmp_path / "away").rename(folder)
        (folder / "a.py").write_text(NEW)
        config.write_text(NEW)
        await told.until(lambda: told.plugins[-1] == {"a.py": NEW} and told.config[-1] == NEW)


async def test_a_stopped_watcher_is_silent_and_may_be_stopped_unstarted(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    async with watching(tmp_path) as told:
        pass
    await until(lambda: "watcher" not in [thread.name for thread in threading.enumerate()])
    assert told.plugins == []
    told.watcher(Bridge(asyncio.get_running_loop()), tmp_path).stop()


@pytest.mark.parametrize("changes", [False, True])
def test_a_stop_in_the_middle_of_a_look_is_not_slept_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: bool
) -> None:
    """Forgetting the events of a look must not forget the wish to end that came with them."""
    monkeypatch.setattr(core.watcher, "INTERVAL", 3600.0)
    monkeypatch.setattr(core.watcher, "SETTLE", 3 * 3600.0)
    loop = asyncio.new_event_loop()
    loop.close()
    told = Told(tmp_path)
    watcher = told.watcher(Bridge(loop))
    looking, go_on = threading.Event(), threading.Event()

    def look() -> dict[str, tuple[int, ...] | None]:
        looking.set()
        go_on.wait(DEADLINE)
        return {"a": (1,)} if changes else {}

    watcher._watches = [(look, Settling({}), told.on_plugins)]
    watcher.start()
    watcher._look_now.set()  # as an event does
    assert looking.wait(DEADLINE)
    watcher.stop()
    go_on.set()
    watcher._thread.join(DEADLINE)
    assert not watcher._thread.is_alive()


def test_what_was_seen_before_the_stop_is_not_told_after_it(tmp_path: Path) -> None:
    asked: list[Callable[[], object]] = []

    class Later(Bridge):
        def call(self, function: Callable[..., object], *args: object) -> None:
            asked.append(partial(function, *args))

    loop = asyncio.new_event_loop()
    loop.close()
    told = Told(tmp_path)
    watcher = told.watcher(Later(loop))
    (tmp_path / "config.json").write_text("new")
    watcher.start()
    until_sync(lambda: asked)
    watcher.stop()
    asked[0]()
    assert told.config == []


async def test_a_closed_loop_is_nobody_to_tell(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    (tmp_path / "plugins").mkdir()
    told = Told(tmp_path)
    watcher = told.watcher(Bridge(loop), tmp_path / "plugins")
    watcher._watches[0][1].is_over({}, -LONGEST)
    watcher.start()
    await told.until(lambda: not watcher._watches[0][1].waiting)
    watcher.stop()
    assert told.plugins == []


async def test_an_event_of_the_system_makes_it_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With looks an hour apart only an event can bring the news."""
    observed = threading.Event()
    observe = core.watcher._observe

    def told_when_observing(*given: Any) -> Any:
        observer = observe(*given)
        observed.set()
        return observer

    monkeypatch.setattr("core.watcher.INTERVAL", 3600.0)
    monkeypatch.setattr("core.watcher._observe", told_when_observing)
    (tmp_path / "plugins").mkdir()
    async with watching(tmp_path) as told:
        await told.until(observed.is_set)
        (tmp_path / "config.json").write_text(NEW)
        await told.until(lambda: told.config == [NEW])


async def test_without_events_it_finds_out_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.watcher.CHANGES", frozenset())
    (tmp_path / "plugins").mkdir()
    async with watching(tmp_path) as told:
        (tmp_path / "config.json").write_text(NEW)
        await told.until(lambda: told.config == [NEW])
