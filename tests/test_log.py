"""The program's log: nine runs, records that cannot be forged, and nothing can stop it."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import log
from core.log import KEPT_RUNS, OneLine, RunFile, set_up

ROOT = Path(__file__).parent.parent
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (INFO|WARNING|ERROR|DEBUG) +\S+: .*")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is one for the whole process: leave it as it was."""
    root = logging.getLogger()
    handlers, level, loud = list(root.handlers), root.level, logging.raiseExceptions
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.raiseExceptions = loud
    logging.getLogger("aiohttp.access").setLevel(logging.NOTSET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return set_up(tmp_path / "logs", "INFO", console=False)


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split("\n")[:-1]


say = logging.getLogger("tests.log")

# ---- records -----------------------------------------------------------------------------------

FORGERY = "x\n2026-01-01 00:00:00.000 ERROR   core.app: forged"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain 模型 é", "plain 模型 é"),
        (FORGERY, FORGERY.replace("\n", "\\n")),
        ("a\rb\r\nc", "a\\rb\\r\\nc"),
        ("\x1b[2J\x07\x9b\x85\x0b\x0c\x1e", "\\x1b[2J\\x07\\x9b\\x85\\x0b\\x0c\\x1e"),
        ("100 % sure", "100 % sure"),
    ],
)
def test_one_record_is_one_line(file: Path, text: str, told: str) -> None:
    say.info("%s", text)
    say.info(text)
    found = lines(file)
    assert [RECORD.fullmatch(line) is not None for line in found] == [True, True]
    assert [line.partition("tests.log: ")[2] for line in found] == [told, told]


def test_half_a_character_can_be_written(file: Path) -> None:
    """Written past pytest, whose reports cannot carry it between processes."""
    record = logging.LogRecord("tests.log", logging.INFO, "", 0, "half \ud800 a pair", None, None)
    (handler,) = [h for h in logging.getLogger().handlers if isinstance(h, RunFile)]
    handler.emit(record)
    assert lines(file)[-1].endswith("half \\ud800 a pair")


def test_a_traceback_cannot_forge_a_record_either(file: Path) -> None:
    try:
        raise ValueError(FORGERY + "\x1b[2J")
    except ValueError:
        say.exception("it failed")
    say.info("next", stack_info=True)
    found = lines(file)
    records = [line for line in found if RECORD.fullmatch(line)]
    assert len(records) == 2
    assert all(line.startswith("    ") for line in found if line not in records)
    assert any("forged\\x1b[2J" in line for line in found)
    assert not any("\x1b" in line for line in found)


def test_the_level(tmp_path: Path) -> None:
    file = set_up(tmp_path, "WARNING", console=False)
    say.info("quiet")
    say.warning("loud")
    assert len(lines(file)) == 1


def test_aiohttp_does_not_log_every_request(file: Path) -> None:
    logging.getLogger("aiohttp.access").info("GET / 200")
    assert lines(file) == []


# ---- the console -------------------------------------------------------------------------------


def test_the_console_gets_the_same_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.StringIO()
    monkeypatch.setattr(sys, "stderr", console)
    file = set_up(tmp_path, "INFO", console=True)
    say.info(FORGERY)
    assert console.getvalue().split("\n")[:-1] == lines(file)


def test_without_a_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pythonw has none."""
    monkeypatch.setattr(sys, "stderr", None)
    file = set_up(tmp_path, "INFO", console=True)
    say.info("here")
    assert len(lines(file)) == 1


def test_a_closed_console_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = io.StringIO()
    monkeypatch.setattr(sys, "stderr", console)
    file = set_up(tmp_path, "INFO", console=True)
    console.close()
    say.info("here")
    assert len(lines(file)) == 1


# ---- the disk ----------------------------------------------------------------------------------


def test_a_full_disk_costs_lines_only(file: Path) -> None:
    handler = next(h for h in logging.getLogger().handlers if isinstance(h, RunFile))

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    stream, handler.stream = handler.stream, Full()  # type: ignore[assignment]
    for _ in range(10):
        say.info("lost")
    assert handler.lost == 10
    handler.stream = stream
    say.info("found")
    assert len(lines(file)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: RLIMIT_FSIZE")
def test_a_really_full_disk_does_not_end_the_program(tmp_path: Path) -> None:
    code = f"""
import logging, resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from core.log import set_up
from core.output import ModelOutput
set_up(Path({str(tmp_path)!r}), "INFO", console=False)
out = ModelOutput("chat", Path({str(tmp_path)!r}) / "models")
for n in range(200):
    logging.getLogger("x").info("line %d of many, and %s", n, "x" * 80)
    out.feed(b"y" * 100 + b"\\n")
print(out.dropped > 100, out.tail(1) == ["y" * 100])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True True\n", done.stderr
    assert done.returncode == 0


# ---- nine runs ---------------------------------------------------------------------------------


def stamps(folder: Path) -> list[str]:
    return sorted(path.name[12:-4] for path in folder.glob("LLM-Manager_*.log"))


def old(folder: Path, *stamps: int) -> None:
    folder.mkdir(exist_ok=True)
    for stamp in stamps:
        (folder / f"LLM-Manager_{stamp}.log").touch()


def test_the_name_tells_the_start(tmp_path: Path) -> None:
    before = time.strftime("%Y%m%d%H%M%S")
    file = set_up(tmp_path / "a" / "b", "INFO", console=False)
    assert file.parent == tmp_path / "a" / "b"
    match = re.fullmatch(r"LLM-Manager_(\d{14})\.log", file.name)
    assert match is not None
    assert before <= match.group(1) <= time.strftime("%Y%m%d%H%M%S")


def test_the_newest_nine_are_kept(tmp_path: Path) -> None:
    old(tmp_path, *range(20250101000000, 20250101000020))
    file = set_up(tmp_path, "INFO", console=False)
    assert len(stamps(tmp_path)) == KEPT_RUNS == 9
    assert stamps(tmp_path)[0] == "20250101000012"
    assert stamps(tmp_path)[-1] == file.name[12:-4]


def test_ten_starts_within_a_second(tmp_path: Path) -> None:
    files = []
    for _ in range(12):
        files.append(set_up(tmp_path, "INFO", console=False))
        logging.getLogger().handlers[-1].close()  # Windows removes no file that is open
    assert len(set(files)) == 12
    assert files == sorted(files)
    assert [path.exists() for path in files] == [False] * 3 + [True] * 9


def test_a_clock_that_was_set_back_does_not_delete_this_run(tmp_path: Path) -> None:
    old(tmp_path, *range(20990101000000, 20990101000012))
    (tmp_path / "LLM-Manager_old.log").touch()
    file = set_up(tmp_path, "INFO", console=False)
    assert file.exists()
    assert file.name == "LLM-Manager_20990101000012.log"
    assert len(stamps(tmp_path)) == KEPT_RUNS + 1


@pytest.mark.parametrize("name", ["LLM-Manager_old.log", "LLM-Manager_1.log", "notes.log", "x.txt"])
def test_what_is_not_ours_is_left_alone(tmp_path: Path, name: str) -> None:
    old(tmp_path, *range(20250101000000, 20250101000020))
    (tmp_path / name).write_text("mine")
    set_up(tmp_path, "INFO", console=False)
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_that_somebody_holds_open_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(tmp_path, *range(20250101000000, 20250101000012))
    unlink = Path.unlink

    def held(path: Path, *args: Any) -> None:
        if path.name.endswith("00000.log"):
            raise PermissionError(errno.EACCES, "in use")
        unlink(path, *args)

    monkeypatch.setattr(Path, "unlink", held)
    set_up(tmp_path, "INFO", console=False)
    assert stamps(tmp_path)[:2] == ["20250101000000", "20250101000004"]


if sys.platform == "win32":

    def test_a_file_that_is_really_open_stays_until_a_later_run(tmp_path: Path) -> None:
        old(tmp_path, *range(20250101000000, 20250101000012))
        with (tmp_path / "LLM-Manager_20250101000000.log").open("rb"):
            set_up(tmp_path, "INFO", console=False)
            assert stamps(tmp_path)[:2] == ["20250101000000", "20250101000004"]
        set_up(tmp_path, "INFO", console=False)
        assert stamps(tmp_path)[0] == "20250101000005"


def test_a_folder_that_cannot_be_used_is_an_error_to_tell(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file is in the way")
    with pytest.raises(OSError, match="logs"):
        set_up(tmp_path / "logs", "INFO", console=False)


def test_the_formatter_is_on_every_handler(file: Path) -> None:
    mine = [h for h in logging.getLogger().handlers if isinstance(h, RunFile)]
    assert mine
    assert all(isinstance(h.formatter, OneLine) for h in mine)
    with contextlib.closing(mine[0]):
        assert os.fspath(file) == mine[0].baseFilename
    assert log.FORMAT.startswith("%(asctime)s")


# ---- the lines of requests ---------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFile]:
    """The run's file as the only handler, as in the program."""
    handler = RunFile(tmp_path / "run.log")
    handler.setFormatter(OneLine(log.FORMAT, log.DATES))
    root = logging.RootLogger(logging.INFO)  # pytest listens to the real one
    root.addHandler(handler)
    requests = logging.Logger(log.REQUESTS)
    requests.root = requests.parent = root  # type: ignore[misc]
    requests.manager = logging.Manager(root)
    monkeypatch.setattr(log, "_requests", requests)
    yield handler
    handler.close()


def finish_request(instance: str = "m#1") -> None:
    log.log_request(instance, "/v1/chat/completions", 200, "ok", 1.23456)


def test_the_line_of_a_request_looks_like_any_record(alone: RunFile, tmp_path: Path) -> None:
    finish_request()
    alone.write_out()
    alone.handle(
        logging.makeLogRecord(
            {
                "name": log.REQUESTS,
                "levelno": logging.INFO,
                "levelname": "INFO",
                "msg": "m#1 /v1/chat/completions 200 ok in 1.235 s",
            }
        )
    )
    quick, record = lines(tmp_path / "run.log")
    assert RECORD.fullmatch(quick)
    assert quick.split(" ", 2)[2] == record.split(" ", 2)[2]


def test_lines_of_requests_keep_their_place(alone: RunFile, tmp_path: Path) -> None:
    finish_request("first#1")
    assert lines(tmp_path / "run.log") == []
    alone.handle(logging.makeLogRecord({"name": "x", "msg": "second", "levelname": "WARNING"}))
    finish_request("third#1")
    alone.close()
    told = [line.split(": ")[1].split(" ")[0] for line in lines(tmp_path / "run.log")]
    assert told == ["first#1", "second", "third#1"]


def test_a_models_name_cannot_forge_a_record(alone: RunFile, tmp_path: Path) -> None:
    finish_request(FORGERY)
    finish_request("x\x1b[2J#1")
    alone.write_out()
    assert [bool(RECORD.fullmatch(line)) for line in lines(tmp_path / "run.log")] == [True, True]
    assert "\x1b[2J" not in (tmp_path / "run.log").read_text()


def test_no_line_where_only_warnings_are_wanted(alone: RunFile, tmp_path: Path) -> None:
    log._requests.root.setLevel(logging.WARNING)
    finish_request()
    alone.write_out()
    assert lines(tmp_path / "run.log") == []


def test_a_full_disk_costs_lines_of_requests_only(alone: RunFile) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "full")

    alone.close()
    alone.stream = Full()  # type: ignore[assignment]
    finish_request()
    finish_request()
    alone.write_out()
    assert alone.lost == 2


def test_another_listener_gets_a_record(alone: RunFile, tmp_path: Path) -> None:
    heard = io.StringIO()
    log._requests.root.addHandler(logging.StreamHandler(heard))
    finish_request()
    assert heard.getvalue() == "m#1 /v1/chat/completions 200 ok in 1.235 s\n"
