"""The command line as a person types it."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from core import cli as module
from core import commands
from core.cli import cli, main, say
from core.commands import complain
from tests.config.examples import model, text

ROOT = Path(__file__).parent.parent
GOOD = text({"chat": model("chat")})


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "HOST", "PORT", "ALIVE_TIME", "LOG_LEVEL"):
        monkeypatch.delenv(f"LLM_MANAGER_{name}", raising=False)


class Result(NamedTuple):
    exit_code: int
    output: str
    """Of both streams."""


def typed(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """The exit code of `main.py ARGS`."""
    monkeypatch.setattr(sys, "argv", ["main.py", *args])
    return main()


def run(*args: str) -> Result:
    """What `main.py ARGS` says."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", said)
        patch.setattr(sys, "stderr", said)
        return Result(typed(patch, *args), said.getvalue())


# ---- which command -----------------------------------------------------------------------------


def test_help_lists_every_command() -> None:
    for flag in ("--help", "-h"):
        result = run(flag)
        assert result.exit_code == 0
        listed = set(re.findall(r"^  (\w+)  ", result.output, re.MULTILINE))
        expected = "serve info ps start stop logs devices check migrate".split()
        assert set(expected) <= listed
        assert listed == set(cli.commands)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert cli.commands[name].help
    if name != "serve":
        assert "--json" in result.output


@pytest.mark.parametrize(
    ("args", "given"),
    [
        ([], {}),
        (["serve"], {}),
        (["--port", "9000"], {"port": 9000}),
        (["--port=0", "--headless"], {"port": 0, "headless": True}),
        (["serve", "--host", "::1"], {"host": "::1"}),
        (["--config", "x.json", "--logs", "y"], {"config": Path("x.json"), "logs": Path("y")}),
    ],
)
def test_serve_is_the_default(
    monkeypatch: pytest.MonkeyPatch, args: list[str], given: dict[str, Any]
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(cli.commands["serve"], "callback", lambda **more: seen.update(more) or 7)
    assert typed(monkeypatch, *args) == 7
    nothing = {"config": None, "host": None, "port": None, "headless": False, "logs": None}
    assert seen == {**nothing, **given}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["--port", "70000"], "70000"),
        (["--port", "x"], "x"),
        (["start"], "Missing argument"),
        (["check", "a", "b"], "extra argument"),
    ],
)
def test_what_cannot_be_understood(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    words: str,
) -> None:
    assert typed(monkeypatch, *args) == 2
    assert words in capsys.readouterr().err


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("LLM-Manager, version 2")


@pytest.mark.parametrize(
    ("error", "code"),
    [(click.ClickException("no"), 1), (click.UsageError("no"), 2), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    def fail(**more: Any) -> None:
        raise error

    monkeypatch.setattr(cli.commands["ps"], "callback", fail)
    assert typed(monkeypatch, "ps") == code


def test_not_running(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, "ps", "--url", "127.0.0.1:1") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("Error: LLM-Manager is not running at http://127.0.0.1:1")


def test_without_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """pythonw has neither stdout nor stderr: a complaint is shown in a window."""
    shown: list[str] = []
    monkeypatch.setattr(commands, "show_message", shown.append)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert typed(monkeypatch, "ps", "--url", "127.0.0.1:1") == 1
    say("nobody hears it")
    assert shown == []
    complain("somebody reads it")
    assert shown == ["somebody reads it"]


def test_a_console_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed terminal, or `| head`: a word that nobody hears must not end the program."""
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as gone:
        os.close(reader)
        monkeypatch.setattr(sys, "stdout", gone)
        for _ in range(3):
            say("nobody hears it")
    monkeypatch.setattr(sys, "stdout", gone)  # closed
    say("nobody hears it")


# ---- check -------------------------------------------------------------------------------------


def test_check_says_valid(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(GOOD)
    result = run("check", str(path))
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == f"{path}: valid, 1 models"
    assert "warning  " in result.output  # the script is not there
    told = json.loads(run("check", str(path), "--json").output)
    assert told["config"] == str(path)
    assert told["problems"] == []
    assert len(told["warnings"]) == 1


def test_check_names_what_no_plugin_provides(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    variant = {"required_devices": ["v 100"], "bat_path": "x.bat", "memory_mb": {"v 100": 1}}
    path.write_text(json.dumps({"chat": {"mode": "Chet", "V": variant}}))
    result = run("check", str(path))
    assert result.exit_code == 0, "the others can be used"
    assert '$.chat.mode: no interface plugin provides "Chet"; did you mean "Chat"?' in result.output
    assert 'no device plugin provides "v 100"; did you mean "v100"?' in result.output
    assert len(json.loads(run("check", str(path), "--json").output)["warnings"]) == 3


def test_check_says_every_problem_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"program": {"prot": 1}, "chat": {"aliases": [], "mode": "Chat"}}')
    result = run("check", str(path))
    assert result.exit_code == 1
    errors = [line for line in result.output.splitlines() if line.startswith("error    ")]
    assert len(errors) >= 2
    assert any("prot" in line and "port" in line for line in errors)
    assert result.output.splitlines()[-1] == f"{path}: not valid"
    as_json = run("check", str(path), "--json")
    assert as_json.exit_code == 1
    assert len(json.loads(as_json.output)["problems"]) == len(errors)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_check_of_no_config(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    assert run("check", str(path)).exit_code == 1
    assert run("check", str(path), "--json").exit_code == 1


def test_check_of_nothing(tmp_path: Path) -> None:
    result = run("check", str(tmp_path / "gone.json"))
    assert result.exit_code == 1
    assert "There is no config file" in result.output


def test_check_takes_the_usual_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOME", tmp_path)
    (tmp_path / "config.json").write_text(GOOD)
    assert str(tmp_path / "config.json") in run("check").output


# ---- migrate -----------------------------------------------------------------------------------


def old_config(folder: Path) -> Path:
    path = folder / "old.json"
    path.write_text(GOOD)
    return path


def test_migrate_writes_and_overwrites_nothing(tmp_path: Path) -> None:
    old, new = old_config(tmp_path), tmp_path / "new.json"
    result = run("migrate", str(old), str(new))
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == f"written: {new}"
    assert run("check", str(new)).exit_code == 0
    new.write_text("mine")
    refused = run("migrate", str(old), str(new))
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert new.read_text() == "mine"
    forced = run("migrate", str(old), str(new), "--force", "--json")
    assert forced.exit_code == 0
    assert json.loads(forced.output)["written"] == str(new)
    assert run("check", str(new)).exit_code == 0


def test_migrate_of_nothing(tmp_path: Path) -> None:
    result = run("migrate", str(tmp_path / "gone.json"))
    assert result.exit_code == 1
    assert "gone.json" in result.output


# ---- serve, before it serves -------------------------------------------------------------------


def test_serve_tells_every_problem_of_the_config(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"program": {"prot": 1, "hots": 2}}')
    result = run("serve", "--config", str(path), "--headless")
    assert result.exit_code == 1
    assert "prot" in result.output
    assert "hots" in result.output
    assert "Traceback" not in result.output


def test_serve_tells_who_has_the_port(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run(
            "--config", str(path), "--host", "127.0.0.1", "--port", str(port), "--headless"
        )
    assert result.exit_code == 1
    assert f"port {port} is taken by" in result.output


def test_serve_needs_a_folder_for_its_log(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(GOOD)
    result = run(
        *("--config", str(path), "--host", "127.0.0.1", "--port", "0"),
        *("--headless", "--logs", str(path)),
    )
    assert result.exit_code == 1
    assert "the log folder cannot be used" in result.output


# ---- as a process ------------------------------------------------------------------------------


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("args", "code"), [(["--version"], 0), (["check", "gone.json"], 1), (["nonsense"], 2)]
)
def test_the_exit_code_reaches_the_shell(args: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "main.py", *args], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(180)
def test_output_in_any_code_page() -> None:
    """A Windows console of another language must not end a command with a traceback."""
    done = subprocess.run(
        [sys.executable, "main.py", "check", "没有.json"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        env={"PATH": "", "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 1
    assert b"\\u6ca1" in done.stderr
    assert b"Traceback" not in done.stderr
