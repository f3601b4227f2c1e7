"""A screen with a panel, a message bus and a notification daemon, all of its own, without a window
manager; clicks and keys by xdotool."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fakes.waiting import until_sync

PROGRAMS = ("Xvfb", "dbus-daemon", "trayer", "dunst", "xdotool", "xwininfo", "xprop", "scrot")
ICON = "LLM-Manager"

Place = tuple[int, int, int, int]
"""Width, height, left, top."""


def missing() -> str:
    """What is not installed here, in words; tests/setup-debian.sh installs it."""
    return ", ".join(name for name in PROGRAMS if shutil.which(name) is None)


class Screen:
    """`env` shows a child process the way to it."""

    def __init__(self, stack: contextlib.ExitStack, home: Path, *, panel: bool = True) -> None:
        self._stack = stack
        self.home = home
        self.notifications: list[str] = []
        reading, writing = os.pipe()
        self._x = self._start(
            "Xvfb", "-displayfd", str(writing), "-screen", "0", "1024x600x24",
            "-nolisten", "tcp", "-noreset", pass_fds=(writing,), env=dict(os.environ),
        )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as pipe:
            display = ":" + pipe.readline().strip()
        self.env = {
            **{k: v for k, v in os.environ.items() if k not in ("WAYLAND_DISPLAY", "LANGUAGE")},
            "DISPLAY": display,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_RUNTIME_DIR": str(home),
            "LC_ALL": "C.UTF-8",
            "NO_AT_BRIDGE": "1",
            "PYSTRAY_BACKEND": "gtk",
        }
        bus = self._start(
            "dbus-daemon", "--session", "--nofork", "--print-address=1", stdout=subprocess.PIPE
        )
        assert bus.stdout is not None
        self._stack.callback(bus.stdout.close)
        self.env["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().decode().strip()
        dunst = self._start("dunst", "-print", stdout=subprocess.PIPE)
        threading.Thread(target=self._read, args=(dunst,), daemon=True).start()
        if panel:
            self.start_panel()

    def start_panel(self) -> None:
        self._start(
            "trayer", "--edge", "top", "--align", "left", "--widthtype", "request",
            "--height", "32", "--tint", "0x303030", "--transparent", "false",
        )  # fmt: skip

    def end(self) -> None:
        """The desktop session is over."""
        self._x.kill()
        self._x.wait()

    def _start(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        settings = {"env": getattr(self, "env", None), "stdout": subprocess.DEVNULL, **more}
        process: subprocess.Popen[bytes] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **settings
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process

    def _read(self, dunst: subprocess.Popen[bytes]) -> None:
        assert dunst.stdout is not None
        with dunst.stdout as output:
            for line in output:
                self.notifications.append(line.decode("utf-8", "replace").strip())

    # ---- looking and clicking ------------------------------------------------------------------

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def windows(self) -> list[tuple[str, Place]]:
        """Every window of the screen: its description and where it is."""
        found = []
        for line in self.run("xwininfo", "-root", "-tree").splitlines():
            if match := re.search(r"(\d+)x(\d+)\+-?\d+\+-?\d+\s+\+(-?\d+)\+(-?\d+)$", line):
                width, height, left, top = (int(number) for number in match.groups())
                found.append((line.strip(), (width, height, left, top)))
        return found

    def icon(self) -> Place | None:
        """Where the panel shows our icon."""
        for line, place in self.windows():
            if ICON.lower() in line.lower() and 8 < place[0] < 64 and place[1] < 64:
                return place
        return None

    def menus(self) -> int:
        """How many menus are open: a submenu counts as one more."""
        ids = self.run("xdotool", "search", "--onlyvisible", "--class", "main.py").split()
        kinds = (self.run("xprop", "-id", window, "_NET_WM_WINDOW_TYPE") for window in ids)
        return sum("_POPUP_MENU" in kind or "_DROPDOWN_MENU" in kind for kind in kinds)

    def click(self, button: int) -> None:
        """One click on the icon; just after docking it may be lost."""
        place = until_sync(self.icon)
        assert place is not None
        width, height, left, top = place
        x, y = str(left + width // 2), str(top + height // 2)
        self.run("xdotool", "mousemove", x, y, "sleep", ".1", "click", str(button))

    def keys(self, *keys: str) -> None:
        self.run("xdotool", "key", "--delay", "40", *keys)

    def picture(self, file: Path) -> None:
        self.run("scrot", "--overwrite", str(file))


@contextlib.contextmanager
def screen(home: Path, *, panel: bool = True) -> Iterator[Screen]:
    home.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        yield Screen(stack, home, panel=panel)
