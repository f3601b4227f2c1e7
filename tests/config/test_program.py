from __future__ import annotations

import os
from typing import Any

import pytest

from core.config.files import Files
from core.config.problem import Report
from core.config.program import OVERRIDES, read_program
from core.domain import Program


def read(raw: object, **env: str) -> tuple[Program | None, Report]:
    report = Report()
    return read_program(raw, env, Files(os.path.abspath("/srv"), "linux", None), report), report


def program(raw: object, **env: str) -> Program:
    made, report = read(raw, **env)
    assert made is not None, report
    return made


def test_defaults_are_those_of_the_manual() -> None:
    made = program({})
    assert (made.host, made.port, made.alive_time) == ("0.0.0.0", 8080, 3600.0)
    assert (made.monitoring, made.log_level) == (True, "INFO")
    assert made.device_plugin_dir.parts[-2:] == ("plugins", "devices")
    assert made.interface_plugin_dir.parts[-2:] == ("plugins", "interfaces")
    assert made.engine_plugin_dir.parts[-2:] == ("plugins", "engines")
    assert made.device_plugin_dir.is_absolute()
    assert (made.allowed_hosts, made.cors_origins) == ((), ())


@pytest.mark.parametrize(
    ("raw", "field", "value"),
    [
        ({"alive_time": 0.5}, "alive_time", 30.0),
        ({"alive_time": 0}, "alive_time", None),
        ({"alive_time": -1}, "alive_time", None),
        ({"Disable_GPU_monitoring": True}, "monitoring", False),
        ({"log_level": "debug"}, "log_level", "DEBUG"),
        ({"cors_origins": ["app://x"]}, "cors_origins", ("app://x",)),
    ],
)
def test_settings(raw: dict[str, Any], field: str, value: object) -> None:
    assert getattr(program(raw), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("LLM_MANAGER_HOST", "127.0.0.1", "127.0.0.1"),
        ("LLM_MANAGER_PORT", " 9000 ", 9000),
        ("LLM_MANAGER_ALIVE_TIME", "1.5", 90.0),
        ("LLM_MANAGER_ALIVE_TIME", "-1", None),
        ("LLM_MANAGER_LOG_LEVEL", "warning", "WARNING"),
    ],
)
def test_the_environment_wins(variable: str, text: str, value: object) -> None:
    assert (
        getattr(program({"port": 1, "alive_time": 1}, **{variable: text}), OVERRIDES[variable])
        == value
    )


def test_an_empty_variable_is_none() -> None:
    assert program({"port": 1}, LLM_MANAGER_PORT=" ").port == 1


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("LLM_MANAGER_PORT", "x"),
        ("LLM_MANAGER_PORT", "70000"),
        ("LLM_MANAGER_ALIVE_TIME", "nan"),
        ("LLM_MANAGER_LOG_LEVEL", "loud"),
        ("LLM_MANAGER_HOST", "a\nb"),
    ],
)
def test_a_bad_variable_is_a_problem_beside_those_of_the_file(variable: str, text: str) -> None:
    for raw in ({}, {"host": 7}):
        made, report = read(raw, **{variable: text})
        assert made is None
        assert [problem.path for problem in report.problems] == [
            *("$.program.host" for _ in raw),
            f"${variable}",
        ]


def test_a_file_stays_wrong_when_the_environment_hides_it() -> None:
    assert read({"port": "x"}, LLM_MANAGER_PORT="1")[0] is None


def test_token_tracker_of_the_seed_only_warns() -> None:
    made, report = read({"TokenTracker": ["Chat"]})
    assert made is not None
    assert [warning.path for warning in report.warnings] == ["$.program.TokenTracker"]
