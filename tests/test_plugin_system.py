from __future__ import annotations

import inspect
import json
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.plugin_loading import ROOT, PluginError
from core.plugin_system import PluginManager
from plugins.devices.Base_Class import DevicePlugin
from plugins.interfaces.Base_Class import InterfacePlugin
from tests.fakes import seed_plugins
from tests.test_plugin_loading import BODY, HEAD

DEVICE = HEAD + BODY


class Folders:
    """Three plugin folders that tests write into."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for kind in ("devices", "interfaces", "engines"):
            (root / kind).mkdir()

    def manager(self, **options: Any) -> PluginManager:
        names = ("devices", "interfaces", "engines")
        return PluginManager(*(self.root / name for name in names), **options)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.write_text(text, encoding="utf-8")
        return file


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def named(name: str) -> str:
    return DEVICE.replace('"d"', f'"{name}"')


def reason(manager: PluginManager, label: str) -> str | None:
    kind, _, name = label.partition("/")
    for each in manager.get_plugin_status()[kind]["plugins"]:
        if each["file"] == name:
            error = each["error"]
            assert error is None or isinstance(error, str)
            return error
    raise AssertionError(f"{label} is not in the status")


# What the first manual says


def test_the_four_examples_load_unchanged_and_work(folders: Folders) -> None:
    folders.write("devices/my_gpu.py", seed_plugins.MY_GPU)
    folders.write("devices/my_device.py", seed_plugins.MY_DEVICE)
    folders.write("interfaces/my_mode.py", seed_plugins.MY_MODE)
    folders.write("interfaces/my_interface.py", seed_plugins.MY_INTERFACE)
    manager = folders.manager()
    assert manager.load_all_plugins() == {
        "devices": ["my_device", "my_gpu"],
        "interfaces": ["MyInterface", "MyMode"],
        "engines": [],
    }
    assert manager.devices["my_gpu"].get_memory_info() == (16384, 8192, 8192)
    assert manager.endpoints() == {
        "/v1/mymode/completions": {"mymode"},
        "/v1/myinterface/completions": {"myinterface"},
    }
    mode = manager.interfaces["mymode"]
    assert mode.health_check("m", 1, 0.0, 1) == (True, "MyMode接口健康")
    assert mode.validate_request("v1/chat/completions", "m")[0] is False


def test_an_example_whose_package_is_missing_says_how_to_get_it(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    folders.write("interfaces/my_interface.py", seed_plugins.MY_INTERFACE)
    manager = folders.manager()
    assert manager.load_all_plugins()["interfaces"] == []
    assert "-m pip install openai" in str(reason(manager, "interfaces/my_interface.py"))
    monkeypatch.delitem(sys.modules, "openai")
    manager.reload_plugins()
    assert "myinterface" in manager.interfaces


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("pm = PluginManager(); print(pm.load_all_plugins())", "['Base', 'Chat', 'Embedding', "),
        ("print(PluginManager().get_plugin_status())", "'chat.py'"),
        ("print(PluginManager().reload_plugins())", "devices/cpu.py"),
        (
            "print(PluginManager().validate_plugin_structure('plugins/devices/cpu.py'))",
            "'valid': True",
        ),
    ],
)
def test_the_one_liners_of_the_manual(line: str, shown: str) -> None:
    text = f"from core.plugin_system import PluginManager; {line}"
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown in done.stdout
    assert done.stderr == ""


def test_importing_it_is_light() -> None:
    text = (
        "import sys, core.plugin_system\n"
        "sys.exit(' '.join({'aiohttp', 'asyncio', 'psutil', 'pynvml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_shipped_plugins_load_without_a_word_of_complaint(caplog: pytest.LogCaptureFixture) -> None:
    manager = PluginManager()
    names = manager.load_all_plugins()
    assert names["interfaces"] == ["Base", "Chat", "Embedding", "Reranker"]
    assert names["engines"] == ["script"]
    assert {"cpu", "rtx 4060", "v100"} <= set(names["devices"])
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


# The same classes, wherever a folder is


def test_a_plugin_elsewhere_inherits_from_the_program_s_own_class(folders: Folders) -> None:
    folders.write("devices/Base_Class.py", "raise SystemExit('not to be imported')")
    folders.write("devices/d.py", DEVICE)
    manager = folders.manager()
    manager.load_all_plugins()
    assert isinstance(manager.devices["d"], DevicePlugin)


def test_a_model_manager_is_given_to_those_who_take_one(folders: Folders) -> None:
    folders.write("interfaces/my_mode.py", seed_plugins.MY_MODE)
    folders.write("devices/d.py", DEVICE)
    owner = object()
    manager = folders.manager(model_manager=owner)
    manager.load_all_plugins()
    plugin = manager.interfaces["mymode"]
    assert isinstance(plugin, InterfacePlugin)
    assert plugin.model_manager is owner


def test_only_the_kinds_that_were_asked_for_are_loaded(folders: Folders) -> None:
    folders.write("devices/d.py", "raise SystemExit")
    manager = folders.manager(kinds=("interfaces", "engines"))
    assert manager.load_all_plugins() == {"interfaces": [], "engines": []}
    assert not manager.devices


# Changes


def test_added_changed_and_removed_files(folders: Folders) -> None:
    file = folders.write("devices/d.py", DEVICE)
    manager = folders.manager()
    assert manager.reload_plugins().loaded == ("devices/d.py",)
    first = manager.devices["d"]
    assert not manager.reload_plugins().changed
    assert manager.devices["d"] is first
    folders.write("devices/d.py", named("other"))
    assert manager.reload_plugins().loaded == ("devices/d.py",)
    assert list(manager.devices) == ["other"]
    file.rename(file.with_name("e.py"))
    result = manager.reload_plugins()
    assert (result.loaded, result.removed) == (("devices/e.py",), ("devices/d.py",))
    assert list(manager.devices) == ["other"]
    file.with_name("e.py").unlink()
    assert manager.reload_plugins().removed == ("devices/e.py",)
    assert not manager.devices


def test_a_change_of_the_same_size_in_the_same_instant_is_seen(folders: Folders) -> None:
    file = folders.write("devices/d.py", DEVICE)
    manager = folders.manager()
    manager.reload_plugins()
    before = file.stat()
    folders.write("devices/d.py", DEVICE.replace("3, 2, 1", "6, 5, 4"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    manager.reload_plugins()
    assert manager.devices["d"].get_memory_info() == (6, 5, 4)
    assert not (folders.root / "devices" / "__pycache__").exists()


def test_a_broken_file_changes_nothing_but_its_reason(folders: Folders) -> None:
    folders.write("devices/d.py", DEVICE)
    manager = folders.manager()
    manager.reload_plugins()
    works = manager.devices["d"]
    folders.write("devices/d.py", "def (")
    assert manager.reload_plugins().failed == ("devices/d.py",)
    assert manager.devices["d"] is works
    assert reason(manager, "devices/d.py") == "line 1: invalid syntax"
    assert not manager.reload_plugins().changed, "the same reason is not told twice"
    folders.write("devices/d.py", DEVICE)
    manager.reload_plugins()
    assert reason(manager, "devices/d.py") is None
    assert manager.devices["d"] is works


def test_a_folder_that_vanishes_changes_nothing(folders: Folders) -> None:
    folders.write("devices/d.py", DEVICE)
    manager = folders.manager()
    manager.reload_plugins()
    (folders.root / "devices").rename(folders.root / "away")
    assert manager.reload_plugins().failed == ("devices",)
    assert "d" in manager.devices
    assert "cannot read" in manager.get_plugin_status()["devices"]["error"]
    (folders.root / "away").rename(folders.root / "devices")
    assert not manager.reload_plugins().changed
    assert manager.get_plugin_status()["devices"]["error"] is None


def test_a_version_that_cannot_do_what_the_old_one_does_is_refused(folders: Folders) -> None:
    folders.write("devices/d.py", DEVICE)
    manager = folders.manager()
    manager.reload_plugins()
    folders.write("devices/d.py", DEVICE.replace("return 3, 2, 1", "ret"))
    assert manager.reload_plugins().failed == ("devices/d.py",)
    assert manager.devices["d"].get_memory_info() == (3, 2, 1)
    assert "NameError" in str(reason(manager, "devices/d.py"))


def test_where_the_old_version_fails_as_well_the_new_one_is_taken(folders: Folders) -> None:
    folders.write("devices/d.py", DEVICE.replace("return 3, 2, 1", "raise OSError('old')"))
    manager = folders.manager()
    assert manager.reload_plugins().loaded
    folders.write("devices/d.py", DEVICE.replace("return 3, 2, 1", "raise OSError('new')"))
    assert manager.reload_plugins().loaded
    with pytest.raises(OSError, match="new"):
        manager.devices["d"].get_memory_info()


@pytest.mark.parametrize(
    ("path", "text", "works"),
    [
        (
            "devices/d.py",
            (ROOT / "plugins/devices/cpu.py").read_text(encoding="utf-8"),
            lambda manager: manager.devices["cpu"].get_memory_info()[0] > 0,
        ),
        (
            "interfaces/i.py",
            (ROOT / "plugins/interfaces/chat.py").read_text(encoding="utf-8"),
            lambda manager: (
                manager.interfaces["chat"].validate_request("v1/chat/completions", "m")
                == (True, "")
                and manager.interfaces["chat"].health_check("m", 1, 0.0, 1)
                == (False, "connection refused")
            ),
        ),
    ],
    ids=["device", "interface"],
)
def test_300_truncations_break_nothing(
    folders: Folders, path: str, text: str, works: Callable[[PluginManager], bool]
) -> None:
    folders.write(path, text)
    manager = folders.manager()
    manager.reload_plugins()
    for length in random.Random(7).sample(range(len(text)), min(300, len(text))):
        folders.write(path, text[:length])
        manager.reload_plugins()
        assert works(manager), f"broken by its first {length} characters"


# Names


def test_of_two_files_with_one_name_the_first_counts_and_the_other_is_told(
    folders: Folders,
) -> None:
    folders.write("devices/b.py", named("Same"))
    manager = folders.manager()
    manager.reload_plugins()
    folders.write("devices/a.py", named("same"))
    assert manager.reload_plugins().failed == ("devices/b.py",)
    assert list(manager.devices) == ["same"]
    assert reason(manager, "devices/b.py") == "the name 'Same' is given by a.py already"
    (folders.root / "devices/a.py").unlink()
    manager.reload_plugins()
    assert reason(manager, "devices/b.py") is None
    assert "same" in manager.devices


DISCOVER = (
    DEVICE.replace("def __init__(self):", "def __init__(self, name):").replace('"d"', "name")
    + """
import pathlib
def discover():
    names = pathlib.Path(__file__).with_name("names.txt").read_text().split()
    return [D(name) for name in names]
"""
)


def test_discovered_devices_come_and_a_dedicated_file_goes_first(folders: Folders) -> None:
    names = folders.write("devices/names.txt", "one two")
    folders.write("devices/all.py", DISCOVER)
    folders.write("devices/two.py", named("two"))
    manager = folders.manager()
    manager.reload_plugins()
    assert set(manager.devices) == {"one", "two"}
    assert reason(manager, "devices/all.py") is None, "sharing is no mistake"
    assert "two.py" in inspect.getfile(type(manager.devices["two"]).get_memory_info)
    one = manager.devices["one"]
    names.write_text("two three")
    assert manager.reload_plugins().loaded == ("devices/all.py",)
    assert set(manager.devices) == {"one", "two", "three"}, "what is missed now is not gone"
    assert manager.devices["one"] is one
    assert not manager.reload_plugins().changed


def test_discovering_nothing_is_no_mistake(folders: Folders) -> None:
    folders.write("devices/names.txt", "")
    folders.write("devices/all.py", DISCOVER)
    manager = folders.manager()
    assert manager.reload_plugins().loaded == ("devices/all.py",)
    assert not manager.devices


# Around loading


def test_before_is_told_of_each_file_and_may_refuse(folders: Folders) -> None:
    folders.write("devices/a.py", named("a"))
    folders.write("devices/b.py", named("b"))
    told: list[str] = []

    def before(file: Path) -> None:
        told.append(file.name)
        if file.name == "a.py":
            raise PluginError("hung before")

    manager = folders.manager(before=before)
    assert manager.load_all_plugins()["devices"] == ["b"]
    assert told == ["a.py", "b.py"]
    assert reason(manager, "devices/a.py") == "hung before"


CLEANUP = (
    DEVICE + "    def cleanup(self):\n        self.files.append('cleaned up')\n    files = []\n"
)


def test_a_plugin_that_goes_cleans_up_first(folders: Folders) -> None:
    folders.write("devices/d.py", CLEANUP)
    manager = folders.manager()
    manager.reload_plugins()
    words = manager.devices["d"].files  # type: ignore[attr-defined]
    folders.write("devices/d.py", CLEANUP + "\n")
    manager.reload_plugins()
    assert words == ["cleaned up"]
    words = manager.devices["d"].files  # type: ignore[attr-defined]
    (folders.root / "devices/d.py").unlink()
    manager.reload_plugins()
    assert words == ["cleaned up"]


def test_a_cleanup_that_fails_costs_nothing(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    folders.write("devices/d.py", CLEANUP.replace("self.files.append('cleaned up')", "exit(3)"))
    folders.write("devices/e.py", named("e"))
    manager = folders.manager()
    manager.reload_plugins()
    (folders.root / "devices/d.py").unlink()
    assert manager.reload_plugins().removed == ("devices/d.py",)
    assert list(manager.devices) == ["e"]
    assert "cleanup() of plugin D" in caplog.text
    manager.close()


def test_modules_do_not_pile_up(folders: Folders) -> None:
    before = set(sys.modules)
    manager = folders.manager()
    for number in range(5):
        folders.write("devices/d.py", f"{DEVICE}# {number}\n")
        manager.reload_plugins()
    assert len(set(sys.modules) - before) == 1


def test_readers_in_other_threads_see_the_old_plugins_or_the_new(folders: Folders) -> None:
    folders.write("devices/d.py", DEVICE)
    manager = folders.manager()
    manager.reload_plugins()
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(len(manager.devices))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        folders.write("devices/d.py", f"{DEVICE}# {number}\n")
        manager.reload_plugins()
    done.set()
    reader.join()
    assert set(seen) == {1}


def test_endpoints_of_a_plugin_that_fails_later_are_left_out(folders: Folders) -> None:
    folders.write("interfaces/my_mode.py", seed_plugins.MY_MODE)
    manager = folders.manager()
    manager.reload_plugins()
    manager.interfaces["mymode"].get_supported_endpoints = lambda: None  # type: ignore[method-assign,assignment,return-value]
    assert manager.endpoints() == {}


def test_each_load_is_logged_with_its_digest(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folders.write("devices/d.py", DEVICE)
    manager = folders.manager()
    manager.reload_plugins()
    digest = manager.get_plugin_status()["devices"]["plugins"][0]["sha256"]
    assert f"plugin devices/d.py loaded, sha256 {digest}" in caplog.text


# Telling


def test_the_status_is_json_and_says_why(folders: Folders) -> None:
    folders.write("devices/d.py", DEVICE)
    folders.write("interfaces/i.py", "import no_such_package")
    status = json.loads(json.dumps(folders.manager().get_plugin_status()))
    assert status["devices"]["directory"] == str(folders.root / "devices")
    device, interface = (status[kind]["plugins"][0] for kind in ("devices", "interfaces"))
    assert (device["file"], device["names"], device["loaded"]) == ("d.py", ["d"], True)
    assert (interface["names"], interface["loaded"]) == ([], False)
    assert "pip install no_such_package" in interface["error"]


@pytest.mark.parametrize("kind", ["devices", "interfaces"])
def test_validating_finds_the_kind_and_changes_nothing(folders: Folders, kind: str) -> None:
    text = {"devices": DEVICE, "interfaces": seed_plugins.MY_MODE}[kind]
    inside = folders.write(f"{kind}/x.py", text)
    outside = folders.write("x.py", text)
    manager = folders.manager()
    for path in (inside, str(outside)):
        result = manager.validate_plugin_structure(path)
        assert (result["valid"], result["kind"], len(result["plugins"])) == (True, kind, 1)
    assert not manager.devices
    assert not manager.interfaces


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("devices/none.py", "cannot be read"),
        ("devices/broken.py", "lacks get_memory_info()"),
        ("devices/_hidden.py", "begins with no _"),
        ("devices/Base_Class.py", "is not Base_Class.py"),
    ],
)
def test_validating_says_what_is_wrong(folders: Folders, path: str, words: str) -> None:
    folders.write("devices/broken.py", DEVICE.replace("get_memory_info", "get_memory"))
    result = folders.manager().validate_plugin_structure(folders.root / path)
    assert result["valid"] is False
    assert words in " ".join(result["errors"])
