"""Which events become a notification."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from core.events import ConfigChanged, DevicesChanged, InstanceChanged
from core.states import State
from core.tray_notices import LONG_LOAD, QUIET, Choice, Notice, Notices
from core.tray_texts import Texts


class Story:
    """Events at the seconds that a test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.notices = Notices(Texts("en"), lambda: self.now)

    def enter(
        self, state: State, *, after: float = 0.0, instance: str = "m#1", reason: str = ""
    ) -> Notice | None:
        self.now += after
        return self.notices.of(InstanceChanged("m", instance, state, reason))


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.mark.parametrize("coming", [State.STARTING, State.WAKING])
def test_a_long_load_is_told_when_it_is_done(story: Story, coming: State) -> None:
    assert story.enter(coming) is None
    assert story.enter(coming, after=15) is None  # its stage moved on
    assert story.enter(State.READY, after=LONG_LOAD - 15) == Notice("m is ready", "Loaded in 20 s")
    assert story.enter(State.DRAINING, after=100) is None
    assert story.enter(State.READY, after=100) is None


def test_a_short_load_is_not_told(story: Story) -> None:
    story.enter(State.STARTING)
    assert story.enter(State.READY, after=LONG_LOAD - 0.1) is None


def test_a_load_that_was_called_off_is_forgotten(story: Story) -> None:
    story.enter(State.STARTING)
    assert story.enter(State.STOPPING, after=30) is None
    assert story.enter(State.STOPPED) is None
    story.enter(State.STARTING, instance="m#2")
    assert story.enter(State.READY, after=1, instance="m#2") is None


def test_a_chinese_desktop_is_told_in_chinese() -> None:
    notices = Notices(Texts("zh"), lambda: 0.0)
    reason = "the server ended by itself (exit code 3)"
    assert notices.of(InstanceChanged("m", "m#1", State.FAILED, reason)) == Notice(
        "m 失败", "服务器自行退出（退出码 3）"
    )


def test_a_failure_is_told_with_its_reason(story: Story) -> None:
    assert story.enter(State.FAILED, reason="exit code 3") == Notice("m failed", "exit code 3")


def test_a_server_that_crashes_in_circles_is_told_once_a_while(story: Story) -> None:
    assert story.enter(State.FAILED, reason="exit code 3")
    assert story.enter(State.FAILED, reason="exit code 3", after=QUIET - 1, instance="m#2") is None
    assert story.enter(State.FAILED, reason="exit code 4", instance="m#3")
    assert story.enter(State.FAILED, reason="exit code 3", after=1, instance="m#4")


def test_a_refused_config_is_told(story: Story) -> None:
    assert story.notices.of(ConfigChanged((), ("port: 0",))) == Notice(
        "Config file not applied", "port: 0"
    )
    assert story.notices.of(ConfigChanged(("m",))) is None
    assert story.notices.of(DevicesChanged()) is None


def test_a_notification_fits_every_system(story: Story) -> None:
    story.notices = Notices(Texts("zh"), lambda: 0.0)
    notice = story.notices.of(InstanceChanged("名" * 300, "m#1", State.FAILED, "因" * 3000))
    assert notice is not None
    assert (len(notice.title), len(notice.body)) == (63, 255)


# ---- the choice --------------------------------------------------------------------------------


def test_the_choice_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "tray.json"
    choice = Choice(file)
    assert choice.notifications
    choice.switch()
    assert not choice.notifications
    assert not Choice(file).notifications
    choice.switch()
    assert Choice(file).notifications


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"notifications": 1}'])
def test_a_strange_file_means_yes(tmp_path: Path, text: str) -> None:
    (tmp_path / "tray.json").write_text(text)
    assert Choice(tmp_path / "tray.json").notifications


def test_a_choice_that_cannot_be_written_counts_for_this_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    choice = Choice(tmp_path / "nowhere" / "tray.json")
    choice.switch()
    assert not choice.notifications
    assert "not remembered" in caplog.text
