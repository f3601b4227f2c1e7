"""The entry that starts the program with the system: its text on each, its file on this one."""

from __future__ import annotations

import configparser
import plistlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from core import autostart as module
from core.autostart import (
    EntryFile,
    absolute,
    autostart,
    desktop_entry,
    desktop_folder,
    launch_agent,
    run_value,
)

AWKWARD = 'a b"c$d`e\\f%g;h&i 模型'
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: the entry is a file")


def _entry(content: bytes) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(content.decode())
    return dict(parser["Desktop Entry"])


def _exec_words(value: str) -> list[str]:
    """As the specification reads it: the string's escapes first, then quotes and field codes."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', value.replace("\\\\", "\\"))
    return [re.sub("%(.?)", _field, re.sub(r"\\(.)", r"\1", word)) for word in words]


def _field(code: re.Match[str]) -> str:
    assert code[1] == "%", f"{code[0]} would be replaced by files or names"
    return "%"


@pytest.mark.parametrize("word", ["/plain", "/with space", AWKWARD])
def test_a_desktop_entry_runs_the_very_command(word: str) -> None:
    command = ["/usr/bin/python3", word, "--port", "9000"]
    entry = _entry(desktop_entry(command, PurePosixPath("/opt/llm manager")))
    assert entry["Type"] == "Application"
    assert entry["Path"] == "/opt/llm manager"
    assert entry["Terminal"] == "false"
    assert _exec_words(entry["Exec"]) == command


def test_a_launch_agent_runs_the_very_command() -> None:
    command = ["/usr/bin/python3", AWKWARD, "<&>"]
    agent = plistlib.loads(launch_agent(command, PurePosixPath("/opt/x")))
    assert agent["ProgramArguments"] == command
    assert agent["WorkingDirectory"] == "/opt/x"
    assert agent["RunAtLoad"] is True
    assert agent["Label"] == module.MAC_LABEL


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ((r"C:\py\pythonw.exe", r"C:\llm\main.py"), r'"C:\py\pythonw.exe" "C:\llm\main.py"'),
        (
            (r"C:\My Py\pythonw.exe", r"C:\模型 & more\main.py", "--logs", r"D:\my logs"),
            r'"C:\My Py\pythonw.exe" "C:\模型 & more\main.py" --logs "D:\my logs"',
        ),
    ],
)
def test_a_run_value_quotes_both_paths(command: tuple[str, ...], value: str) -> None:
    assert run_value(command) == value


def test_paths_among_the_arguments_hold_in_any_folder(tmp_path: Path) -> None:
    given = ["serve", "--config", "my.json", "--logs=out", "--port", "9000", "--config"]
    assert absolute(given, tmp_path) == [
        "serve", "--config", str(tmp_path / "my.json"), f"--logs={tmp_path / 'out'}",
        "--port", "9000", "--config",
    ]  # fmt: skip
    kept = str(tmp_path / "other" / "c.json")
    assert absolute(["--config", kept], tmp_path) == ["--config", kept]


@pytest.mark.parametrize("value", [None, "", "relative"])
def test_the_desktop_folder_without_a_choice(
    value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    env = {} if value is None else {"XDG_CONFIG_HOME": value}
    assert desktop_folder(env) == tmp_path / ".config" / "autostart"


@posix
def test_the_switch_of_this_system_writes_a_file_that_starts_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    main = tmp_path / 'it\'s "my" $main.py'
    main.write_text("import sys; print(sys.argv[1:])")
    switch = autostart(main, ["--port", "9 000"])
    assert isinstance(switch, EntryFile)
    assert not switch.enabled()
    switch.switch(False)
    switch.switch(True)
    assert switch.enabled()
    assert [path.name for path in switch.path.parent.iterdir()] == [switch.path.name]
    if sys.platform.startswith("linux"):
        assert switch.path == tmp_path / "config" / "autostart" / "LLM-Manager.desktop"
        command = _exec_words(_entry(switch.path.read_bytes())["Exec"])
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "['--port', '9 000']"
    switch.switch(False)
    assert not switch.enabled()
    assert not switch.path.exists()


def test_an_entry_of_another_copy_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "LLM-Manager.desktop"
    path.write_bytes(b"another copy")
    switch = EntryFile(path, b"this one")
    assert not switch.enabled()
    switch.switch(True)
    assert switch.enabled()


def test_a_folder_that_cannot_be_written_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):  # noqa: PT011
        EntryFile(tmp_path / "file" / "x.desktop", b"").switch(True)


if sys.platform == "win32":
    import winreg

    from core.autostart import RunValue

    @pytest.fixture
    def switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunValue]:
        monkeypatch.setattr(module, "NAME", "LLM-Manager-Test")
        value = RunValue(run_value([sys.executable, r"C:\x y\main.py"]))
        yield value
        value.switch(False)

    def test_the_run_value_is_written_and_removed(switch: RunValue) -> None:
        switch.switch(True)
        assert switch.enabled()
        assert not RunValue("another").enabled()
        switch.switch(False)
        assert not switch.enabled()
        switch.switch(False)

    @pytest.mark.parametrize(("note", "on"), [(b"\3\0", False), (b"\2\0", True), (b"", True)])
    def test_what_the_task_manager_switched_off_is_off_until_it_is_switched_on(
        switch: RunValue, note: bytes, on: bool
    ) -> None:
        switch.switch(True)
        with winreg.CreateKey(winreg.HKEY_CURRENT_USER, module.APPROVED_KEY) as key:
            winreg.SetValueEx(key, module.NAME, 0, winreg.REG_BINARY, note)
        assert switch.enabled() is on
        switch.switch(True)
        assert switch.enabled()

    def test_a_command_that_windows_would_not_start_is_refused() -> None:
        switch = RunValue(run_value([sys.executable, "x" * 260]))
        with pytest.raises(OSError, match="more than 260 characters"):
            switch.switch(True)
        assert not switch.enabled()

    def test_a_python_of_the_store_cannot_be_started_at_logon(
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert autostart(Path("main.py"), []) is not None
        monkeypatch.setattr(sys, "base_prefix", r"C:\Program Files\WindowsApps\Python.3.11_x64")
        assert autostart(Path("main.py"), []) is None
