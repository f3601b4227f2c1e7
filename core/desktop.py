"""Opens pages and folders with the programs of this desktop; never waits for them."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import webbrowser
from pathlib import Path

log = logging.getLogger(__name__)


def open_page(url: str) -> None:
    """Show the page in the user's browser."""
    _in_background(_open_page, url)


def open_folder(folder: Path) -> None:
    """Show the folder in the file manager."""
    _in_background(_open_folder, str(folder))


def open_page_and_wait(url: str) -> None:
    """The same for a program that ends right afterwards: returns when the browser has the page."""
    _open_page(url)


def show_message(text: str) -> None:
    """Windows: show it in a window and return when it was read; nothing elsewhere."""
    if sys.platform == "win32":
        import ctypes

        warning = 0x30
        ctypes.windll.user32.MessageBoxW(None, text, "LLM-Manager", warning)


def _in_background(function: object, *args: str) -> None:
    # Some browsers are started in the foreground: the thread ends when they do.
    threading.Thread(target=function, args=args, name="desktop", daemon=True).start()  # type: ignore[arg-type]


def _open_page(url: str) -> None:
    try:
        if not webbrowser.open(url):
            log.warning("no browser was found to show %s", url)
    except (OSError, webbrowser.Error) as error:
        log.warning("%s cannot be shown: %s", url, error)


def _open_folder(folder: str) -> None:
    try:
        if sys.platform == "win32":
            import os

            os.startfile(folder)
        else:
            opener = "open" if sys.platform == "darwin" else "xdg-open"
            subprocess.run(
                [opener, folder],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("the folder %s cannot be shown: %s", folder, error)
