"""The tray on Windows' own shell: an icon, a click, a menu, a switch in the registry, an end."""

from __future__ import annotations

import ctypes
import os
import sys
import winreg
from collections.abc import Iterator
from ctypes import wintypes
from pathlib import Path

import pytest

from core import autostart
from core.tray_windows import WM_ENDSESSION, WM_QUERYENDSESSION
from tests.fakes.program import HOME
from tests.fakes.tray_program import TrayProgram
from tests.fakes.waiting import until_sync

assert sys.platform == "win32"
pytestmark = pytest.mark.timeout(120)

user = ctypes.WinDLL("user32", use_last_error=True)
for function in (user.PostMessageW, user.GetClassNameW, user.EnumWindows):
    function.restype = wintypes.BOOL
user.PostMessageW.argtypes = (wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM)
Callback = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HWND, wintypes.LPARAM)

OF_THE_ICON = 0x0400 + 11
"""The message by which pystray asks the shell to tell it of the mouse."""
LEFT_UP, RIGHT_UP, KEY_DOWN = 0x0202, 0x0205, 0x0100
UP, ENTER = 0x26, 0x0D
IN_MENU = 0x4


class ThreadInfo(ctypes.Structure):
    """GUITHREADINFO."""

    _fields_ = (
        ("size", wintypes.DWORD),
        ("flags", wintypes.DWORD),
        ("windows", wintypes.HWND * 6),
        ("caret", wintypes.RECT),
    )


class Icon:
    """The two windows behind the icon of a program, of which one heeds the mouse."""

    def __init__(self, pid: int) -> None:
        self._windows = until_sync(lambda: windows(pid))
        self._thread = user.GetWindowThreadProcessId(wintypes.HWND(self._windows[0]), None)

    def click(self, button: int) -> None:
        """As the shell tells of it."""
        for window in self._windows:
            assert user.PostMessageW(window, OF_THE_ICON, 0, button)

    def choose(self, up: int) -> None:
        """Open the menu and take the line that is so many above its end."""
        self.click(RIGHT_UP)
        until_sync(self.has_open_menu)
        for key in (*(UP,) * up, ENTER):
            assert user.PostMessageW(self._windows[0], KEY_DOWN, key, 0)

    def has_open_menu(self) -> bool:
        info = ThreadInfo(size=ctypes.sizeof(ThreadInfo))
        user.GetGUIThreadInfo(self._thread, ctypes.byref(info))
        return bool(info.flags & IN_MENU)


def windows(pid: int) -> list[int]:
    """The windows of a program that belong to icons of pystray's."""
    found: list[int] = []

    def look(window: int, _: int) -> bool:
        owner, name = wintypes.DWORD(), ctypes.create_unicode_buffer(256)
        user.GetWindowThreadProcessId(wintypes.HWND(window), ctypes.byref(owner))
        user.GetClassNameW(wintypes.HWND(window), name, 256)
        if owner.value == pid and name.value.endswith("SystemTrayIcon"):
            found.append(window)
        return True

    user.EnumWindows(Callback(look), 0)
    return found


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name: Windows limits the length of a command that it starts at logon."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def shown(folder: Path) -> Path:
    """What the browser was given last."""
    return folder / "shown.txt"


@pytest.fixture
def program(folder: Path, shown: Path) -> Iterator[TrayProgram]:
    browser = folder / "browser.bat"
    browser.write_bytes(f'@echo off\r\necho %1>"{shown}"\r\n'.encode())
    try:
        with TrayProgram(folder, {**os.environ, "BROWSER": str(browser)}) as running:
            running.until_tray("on")
            yield running
    finally:
        autostart.RunValue("").switch(False)


def test_a_click_opens_the_dashboard_and_the_menu_ends_the_program(
    program: TrayProgram, shown: Path
) -> None:
    icon = Icon(program.process.pid)
    icon.click(LEFT_UP)
    url = until_sync(lambda: shown.exists() and shown.read_text().strip())
    assert url == f"http://127.0.0.1:{program.port}/"

    assert not autostart_value()
    icon.choose(up=2)  # "start with the system"
    assert str(HOME / "main.py") in until_sync(autostart_value)
    icon.choose(up=2)
    until_sync(lambda: not autostart_value())

    icon.choose(up=1)  # "quit"
    assert program.wait() == 0
    assert not windows(program.process.pid)
    assert "Traceback" not in program.log()


def test_a_logoff_ends_the_program_in_order(program: TrayProgram) -> None:
    for window in windows(program.process.pid):
        assert user.SendMessageW(wintypes.HWND(window), WM_QUERYENDSESSION, 0, 0)
    for window in windows(program.process.pid):
        user.PostMessageW(window, WM_ENDSESSION, 1, 0)
    assert program.wait() == 0
    assert program.log().rstrip().endswith("ended")


def autostart_value() -> str:
    with winreg.OpenKey(winreg.HKEY_CURRENT_USER, autostart.RUN_KEY) as key:
        try:
            return str(winreg.QueryValueEx(key, autostart.NAME)[0])
        except OSError:
            return ""
