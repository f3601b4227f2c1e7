"""Opening pages and folders with the programs of the desktop."""

from __future__ import annotations

import logging
import sys
import webbrowser
from pathlib import Path

import pytest

from core import desktop
from tests.fakes.waiting import until_sync

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="POSIX only: xdg-open")


def test_a_page_is_shown_without_waiting_for_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def show(url: str) -> bool:
        shown.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", show)
    desktop.open_page("http://127.0.0.1:1/")
    until_sync(lambda: shown == ["http://127.0.0.1:1/"])


@pytest.mark.parametrize("failure", [False, OSError("none"), webbrowser.Error("none")])
def test_no_browser_is_a_line_in_the_log(
    failure: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(url: str) -> bool:
        if isinstance(failure, Exception):
            raise failure
        return False

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(webbrowser, "open", fail)
    desktop.open_page("http://127.0.0.1:1/")
    until_sync(lambda: "http://127.0.0.1:1/" in caplog.text)


@linux
def test_a_folder_is_handed_to_the_file_manager(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1" > "{told}.new"; mv "{told}.new" "{told}"\n')
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    desktop.open_folder(tmp_path / "the logs")
    until_sync(told.exists)
    assert told.read_text().strip() == str(tmp_path / "the logs")


@linux
@pytest.mark.parametrize("there", [True, False])
def test_no_file_manager_is_a_line_in_the_log(
    there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    if there:
        (tmp_path / "xdg-open").write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / "xdg-open").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    desktop.open_folder(tmp_path)
    until_sync(lambda: "cannot be shown" in caplog.text)
