from __future__ import annotations

import builtins
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.device_probe import Probe, read
from core.plugin_loading import ROOT
from plugins.devices.Base_Class import DevicePlugin
from tests.fakes.waiting import DEADLINE
from tests.test_plugin_loading import BODY, HEAD

DEVICE = HEAD + BODY

ERRORS = [
    each
    for each in vars(builtins).values()
    if isinstance(each, type)
    and issubclass(each, BaseException)
    and not issubclass(each, UnicodeError | BaseExceptionGroup)
]


class Fake(DevicePlugin):
    """Answers what it was given, or raises it."""

    def __init__(self, **answers: Any) -> None:
        super().__init__("fake")
        self.answers = {"online": True, "memory": (30, 20, 10), "metrics": {}, "index": None}
        self.answers |= answers

    def give(self, what: str) -> Any:
        answer = self.answers[what]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def is_online(self) -> bool:
        return bool(self.give("online"))

    def get_memory_info(self) -> tuple[int, int, int]:
        return self.give("memory")  # type: ignore[no-any-return]

    def get_metrics(self) -> dict[str, float]:
        return self.give("metrics")  # type: ignore[no-any-return]

    def visible_index(self) -> int | None:
        return self.give("index")  # type: ignore[no-any-return]


def test_a_reading_is_whole() -> None:
    plugin = Fake(metrics={"power_w": 55.55, "nan": float("nan")}, index=1)
    assert read("fake", plugin) == {
        "name": "fake",
        "online": True,
        "total_mb": 30,
        "available_mb": 20,
        "used_mb": 10,
        "index": 1,
        "metrics": {"power_w": 55.5},
    }


def test_an_offline_device_says_why_if_it_knows() -> None:
    plugin = Fake(online=False)
    assert read("fake", plugin) == {"name": "fake", "online": False, "error": "offline"}
    plugin.offline_reason = "unplugged"
    assert read("fake", plugin)["error"] == "unplugged"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("what", ["online", "memory"])
def test_whatever_a_plugin_raises_makes_it_offline(error: type[BaseException], what: str) -> None:
    reading = read("fake", Fake(**{what: error("words")}))
    assert reading["online"] is False
    assert error.__name__ in reading["error"]
    assert "words" in reading["error"]


@pytest.mark.parametrize("bad", [SystemExit(), None, 5, {"x": "y"}])
def test_what_is_only_shown_does_not_cost_the_reading(bad: object) -> None:
    reading = read("fake", Fake(metrics=bad, index=bad if bad != 5 else "x"))
    assert (reading["online"], reading["metrics"], reading["index"]) == (True, {}, None)


def test_steps_are_announced_and_files_may_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(DEVICE)
    (tmp_path / "b.py").write_text(DEVICE)
    said: list[dict[str, Any]] = []
    probe = Probe(tmp_path, said.append)
    probe.answer({"op": "load", "skip": {"a.py": "hung"}})
    probe.answer({"op": "read", "names": ["d", "gone"]})
    status = said[1]["loaded"]["status"]
    assert [(each["file"], each["error"]) for each in status["plugins"]] == [
        ("a.py", "hung"),
        ("b.py", None),
    ]
    assert said[0] == {"step": ["load", "b.py"]}
    assert said[1]["loaded"]["names"] == ["d"]
    assert said[2:4] == [{"done": True}, {"step": ["read", "d"]}]
    assert said[4]["reading"]["total_mb"] == 3
    assert said[5:] == [{"step": ["read", "gone"]}, {"done": True}]
    probe.close()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "core.device_probe", str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        yield child
        child.kill()


def ask(child: subprocess.Popen[bytes], **command: Any) -> list[dict[str, Any]]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(command).encode() + b"\n")
    child.stdin.flush()
    answers = []
    for line in child.stdout:
        answers.append(json.loads(line))
        if "done" in answers[-1]:
            break
    return answers


NOISY = DEVICE.replace(
    "return 3, 2, 1",
    """
        import os, sys
        print("printed")
        sys.__stdout__.write("written")
        sys.__stdout__.flush()
        os.write(1, b"raw")
        os.system("echo from a child")
        assert sys.stdin.read() == os.read(0, 9).decode() == ""
        return 3, 2, 1
""",
)


def test_what_a_plugin_prints_goes_to_stderr_and_it_reads_nothing(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "d.py").write_text(NOISY)
    ask(child, op="load", skip={})
    answers = ask(child, op="read", names=["d"])
    assert answers[1]["reading"]["online"], answers
    assert len(answers) == 3
    _, stderr = child.communicate(timeout=DEADLINE)
    for words in (b"printed", b"written", b"raw", b"from a child"):
        assert words in stderr


def test_it_ends_with_its_stdin_and_cleans_up(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "d.py").write_text(
        f"{DEVICE}    def cleanup(self):\n        print('cleaned up', flush=True)\n"
    )
    ask(child, op="load", skip={})
    _, stderr = child.communicate(timeout=DEADLINE)
    assert child.returncode == 0
    assert b"cleaned up" in stderr


SLEEP = "import time; time.sleep(1000)"


@pytest.mark.parametrize(
    "hang",
    ["time.sleep(1e9)", "subprocess.run([sys.executable, '-c', SLEEP])"],
    ids=["self", "child"],
)
def test_it_ends_with_its_stdin_even_out_of_a_hung_plugin(
    tmp_path: Path, child: subprocess.Popen[bytes], hang: str
) -> None:
    text = f"import os, subprocess, sys, time\nSLEEP = {SLEEP!r}\n{DEVICE}"
    (tmp_path / "d.py").write_text(text.replace("return 3, 2, 1", hang))
    ask(child, op="load", skip={})
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b'{"op": "read", "names": ["d"]}\n')
    child.stdin.flush()
    assert json.loads(child.stdout.readline()) == {"step": ["read", "d"]}
    child.stdin.close()
    assert child.wait(timeout=DEADLINE) in (0, -9)
    assert child.stderr is not None
    child.stderr.read()  # ends when nobody is left who could write to it


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: a signal from outside")
def test_ctrl_c_is_not_for_it(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    (tmp_path / "d.py").write_text(DEVICE)
    ask(child, op="load", skip={})
    child.send_signal(signal.SIGINT)
    assert len(ask(child, op="read", names=["d"])) == 3
