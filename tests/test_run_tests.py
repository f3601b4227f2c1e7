"""The order of `./llm-manager.sh test`, without running any of it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = Path(__file__).parent.parent / "scripts" / "run_tests.py"
    spec = importlib.util.spec_from_file_location("run_tests_script", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("LLM_MANAGER_TEST_ALL", "0")  # so that it is put back afterwards
    return module


def run(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str, failing: str = ""
) -> tuple[int, list[tuple[str, ...]]]:
    calls: list[tuple[str, ...]] = []

    def fake(*command: str) -> int:
        calls.append(command)
        return 5 if command[0] == failing else 0

    monkeypatch.setattr(runner, "run", fake)
    return runner.main(list(arguments)), calls


def test_quick_checks_first(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    status, calls = run(runner, monkeypatch, "test", "-k", "x")
    assert status == 0
    assert [call[0] for call in calls] == ["ruff", "ruff", "mypy", "pytest"]
    assert calls[-1][-2:] == ("-k", "x")
    assert os.environ["LLM_MANAGER_TEST_ALL"] == "0"


def test_the_first_failure_ends_the_run(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, calls = run(runner, monkeypatch, failing="mypy")
    assert status == 5
    assert calls[-1][0] == "mypy"


@pytest.mark.parametrize(("system", "more"), [("linux", ["tests.windows.run"]), ("darwin", [])])
def test_all_checks_every_system(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch, system: str, more: list[str]
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    _, calls = run(runner, monkeypatch, "--all")
    types = ["mypy", "mypy", "mypy"]
    assert [call[0] for call in calls] == ["ruff", "ruff", *types, "pytest", *more]


def test_all_forbids_skips(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = run(runner, monkeypatch, "--all", "-x")
    assert os.environ["LLM_MANAGER_TEST_ALL"] == "1"
    (pytest_call,) = [call for call in calls if call[0] == "pytest"]
    assert pytest_call[-1] == "-x"
