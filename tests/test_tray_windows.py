"""The icon on Windows, with a stand-in for its window: who does what in which order."""

from __future__ import annotations

import ctypes
import logging
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from core import tray_windows
from core.tray_windows import (
    POST,
    WM_ENDSESSION,
    WM_QUERYENDSESSION,
    WM_RBUTTONUP,
    icon_class,
)
from tests.fakes.waiting import until_sync

NIM_MODIFY, NIF_MESSAGE = 1, 1
WM_NOTIFY, WM_LBUTTONUP = 0x0400 + 11, 0x0202


class Window:
    """What pystray's win32 icon is made of, as far as it matters here."""

    def __init__(self, story: list[str]) -> None:
        self.story = story
        self._hwnd: int | None = None
        self._visible = False
        self._message_handlers: dict[int, Callable[[int, int], Any]] = {WM_NOTIFY: self._on_notify}
        self.while_open: Callable[[], None] = lambda: None

    @property
    def visible(self) -> bool:
        return self._visible

    @visible.setter
    def visible(self, value: bool) -> None:
        if value != self._visible:
            self._show()
            self.story.append("shown")
            self._visible = value

    def _show(self) -> None:
        """What the taskbar answers is lost here."""

    def _hide(self) -> None:
        self.story.append("hidden")

    def _update_icon(self) -> None:
        self.story.append("icon")

    def _update_title(self) -> None:
        self.story.append("title")

    def _update_menu(self) -> None:
        self.story.append("menu made")

    def _on_notify(self, wparam: int, lparam: int) -> None:
        if lparam == WM_RBUTTONUP:
            self.story.append("menu open")
            self.while_open()
            self._update_menu()  # as after every choice
            self.story.append("menu closed")
        else:
            self.story.append("clicked")


@pytest.fixture
def story() -> list[str]:
    return []


class Data(ctypes.Structure):
    """NOTIFYICONDATAW."""

    _fields_ = (
        ("cbSize", ctypes.c_uint32),
        ("hWnd", ctypes.c_void_p),
        ("uFlags", ctypes.c_uint32),
        ("uCallbackMessage", ctypes.c_uint32),
    )


@pytest.fixture
def taskbar() -> list[bool]:
    """Whether it has the icon, at one question after the other; it has it at the end."""
    return []


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch, taskbar: list[bool]) -> list[tuple[int, ...]]:
    """What was posted to the window."""
    posted: list[tuple[int, ...]] = []

    def notify(order: int, data: Data) -> bool:
        assert (order, data.cbSize, data.hWnd) == (NIM_MODIFY, ctypes.sizeof(Data), 5)
        assert (data.uFlags, data.uCallbackMessage) == (NIF_MESSAGE, WM_NOTIFY)
        return taskbar.pop(0) if taskbar else True

    win32 = types.SimpleNamespace(
        NIM_MODIFY=NIM_MODIFY,
        NIF_MESSAGE=NIF_MESSAGE,
        WM_NOTIFY=WM_NOTIFY,
        NOTIFYICONDATAW=Data,
        PostMessage=lambda *message: posted.append(message),
        Shell_NotifyIcon=notify,
    )
    for name in ("pystray", "pystray._util"):
        module = types.ModuleType(name)
        module.win32 = win32  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(tray_windows, "PAUSE", 0.001)
    monkeypatch.setattr(tray_windows, "PATIENCE", 0.001)
    return posted


@pytest.fixture
def icon(messages: list[tuple[int, ...]], story: list[str]) -> Any:
    return icon_class(Window, story.append, lambda: story.append("end"))(story)


def test_the_menu_is_made_when_it_opens_and_left_alone_while_it_is_open(
    icon: Any, story: list[str]
) -> None:
    icon.while_open = icon._update_menu
    icon._message_handlers[WM_NOTIFY](0, WM_RBUTTONUP)
    assert story == ["menu made", "menu open", "menu closed"]
    icon._message_handlers[WM_NOTIFY](0, WM_RBUTTONUP)
    assert story == ["menu made", "menu open", "menu closed"] * 2


def test_a_left_click_makes_no_menu(icon: Any, story: list[str]) -> None:
    icon._message_handlers[WM_NOTIFY](0, WM_LBUTTONUP)
    assert story == ["clicked"]


def test_what_is_posted_runs_in_the_windows_thread(
    icon: Any, story: list[str], messages: list[tuple[int, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    icon.post(lambda: story.append("early"))
    assert messages == []  # there is no window yet
    icon._hwnd = 7
    icon.post(lambda: 1 / 0)
    icon.post(lambda: story.append("late"))
    assert messages == [(7, POST, 0, 0)] * 2
    assert story == []
    icon._message_handlers[POST](0, 0)
    icon._message_handlers[POST](0, 0)
    assert story == ["early", "late"]
    assert "ZeroDivisionError" in caplog.text


def test_a_taskbar_that_comes_late_is_waited_for(
    icon: Any, story: list[str], taskbar: list[bool]
) -> None:
    icon._hwnd = 5
    taskbar += [False, False, True]
    icon.appear()
    assert story == ["off (no taskbar: it did not take the icon)"] * 2 + ["shown", "on"]


def test_a_taskbar_that_never_comes_is_given_up(
    icon: Any, story: list[str], taskbar: list[bool]
) -> None:
    icon._hwnd = 5
    taskbar += [False] * 99
    icon.appear()
    assert set(story) == {"off (no taskbar: it did not take the icon)"}


def test_an_icon_shows_what_changed_while_it_was_put_up(icon: Any, story: list[str]) -> None:
    icon._hwnd = 5
    icon.appear()
    icon._message_handlers[POST](0, 0)
    assert story == ["shown", "on", "icon", "title"]


def test_an_explorer_that_starts_again_gets_the_icon_however_late_it_takes_it(
    icon: Any, story: list[str], taskbar: list[bool]
) -> None:
    icon._hwnd = 5
    taskbar += [True, False]
    icon.appear()
    icon._on_taskbarcreated(0, 0)
    until_sync(lambda: story.count("on") == 2)
    assert story == ["shown", "on", "off (no taskbar: it did not take the icon)", "shown", "on"]


def test_an_icon_is_put_up_again_in_another_size_if_it_is_there(
    icon: Any, story: list[str]
) -> None:
    icon._hwnd = 5
    icon._on_display_change(0, 0)
    assert story == []
    icon.appear()
    icon._on_display_change(0, 0)
    until_sync(lambda: story.count("on") == 2)
    assert story == ["shown", "on", "hidden", "shown", "on"]


def test_a_logoff_may_happen_and_is_the_end(icon: Any, story: list[str]) -> None:
    assert icon._message_handlers[WM_QUERYENDSESSION](0, 0) == 1
    icon._message_handlers[WM_ENDSESSION](0, 0)  # somebody stopped it
    assert story == []
    icon._message_handlers[WM_ENDSESSION](1, 0)
    assert story == ["end", "end"]
