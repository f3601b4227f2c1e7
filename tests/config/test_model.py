from __future__ import annotations

import os
from typing import Any

import pytest

from core.config.files import Files
from core.config.model import read_model
from core.config.problem import Report
from core.domain import Model
from tests.config.examples import model, variant


def read(raw: object, key: str = "m", existing: bool = True) -> tuple[Model | None, Report]:
    report = Report()
    files = Files(os.path.abspath("/srv"), "linux", lambda _: existing)
    return read_model(key, raw, 3600.0, files, report), report


def made(raw: object, key: str = "m") -> Model:
    value, report = read(raw, key)
    assert value is not None, report
    return value


def test_defaults_are_those_of_the_manual() -> None:
    one = made({"mode": "chat", "CPU": variant()}, key="the key")
    assert (one.name, one.key, one.aliases) == ("the key", "the key", ("the key",))
    assert (one.interface, one.engine, one.port, one.auto_start) == ("chat", "script", None, False)
    assert (one.alive_time, one.start_timeout, one.stop_timeout) == (3600.0, 300.0, 10.0)
    assert (one.pinned, one.priority, one.concurrency, one.queue_limit) == (False, 0, 0, 0)
    assert (one.upstream_model, dict(one.env)) == (None, {})


@pytest.mark.parametrize(
    ("option", "value", "field", "read_as"),
    [
        ("port", 10001, "port", 10001),
        ("alive_time", 2, "alive_time", 120.0),
        ("alive_time", 0, "alive_time", None),
        ("alive_time", None, "alive_time", 3600.0),
        ("stop_timeout", 0, "stop_timeout", 0.0),
        ("priority", -3, "priority", -3),
        ("pinned", True, "pinned", True),
        ("concurrency", 4, "concurrency", 4),
        ("queue_limit", 5, "queue_limit", 5),
        ("upstream_model", "x", "upstream_model", "x"),
        ("env", {"A": "1\n2"}, "env", {"A": "1\n2"}),
        ("engine", "vllm", "engine", "vllm"),
        ("mode", " Chat ", "interface", "Chat"),
        ("aliases", ["a", "b", "a"], "aliases", ("a", "b")),
    ],
)
def test_options(option: str, value: object, field: str, read_as: object) -> None:
    assert getattr(made(model("a", **{option: value})), field) == read_as


def test_variants_stay_in_file_order_with_devices_in_lower_case() -> None:
    big = variant(required_devices=[" RTX 4060", "V100", "v100"], memory_mb={"V100 ": 5})
    one = made(model("a", Big=big))
    assert [each.name for each in one.variants] == ["CPU", "Big"]
    assert one.variants[1].devices == ("rtx 4060", "v100")
    assert dict(one.variants[1].memory) == {"v100": 5}
    assert one.variants[0].script.name == "chat.sh"


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        ({"alises": []}, "$.m.alises", 'did you mean "aliases"?'),
        ({"envs": {"A": "1"}}, "$.m.envs", 'did you mean "env"?'),
        ({"bat_path": "x.bat"}, "$.m.bat_path", "belongs into a variant"),
        ({"gpu_mem_mb": {"v100": 1}}, "$.m.gpu_mem_mb", "migrate"),
        ({"V": {}}, "$.m.V.required_devices", "is missing"),
        ({"V": variant(memory=1)}, "$.m.V.memory", 'did you mean "memory_mb"?'),
        ({"V": variant(script_path="x.sh")}, "$.m.V", "give one of them"),
        ({"V": variant(bat_path=None)}, "$.m.V.bat_path", "is missing"),
        ({"V": variant(bat_path="../x.sh")}, "$.m.V.bat_path", "script_dirs"),
        ({"V": variant(bat_path="s\test.bat")}, "$.m.V.bat_path", "control characters"),
        ({"V": variant(bat_path=3)}, "$.m.V.bat_path", "found 3"),
        ({"V": variant(memory_mb={"v": 1, "V": 2})}, "$.m.V.memory_mb.V", "twice"),
        ({"V\n": variant()}, '$.m["V\\n"]', "no control characters"),
        ({"V": {"required_gpus": ["v100"]}}, "$.m.V.required_gpus", "migrate"),
        ({"CPU": 3}, "$.m.CPU", "unknown key"),
    ],
)
def test_one_fault(changes: dict[str, Any], path: str, said: str) -> None:
    value, report = read(model("a") | changes)
    assert value is None
    found = [problem for problem in report.problems if problem.path == path]
    assert any(said in problem.message for problem in found), report


def test_a_model_without_variant_is_told_how_one_looks() -> None:
    value, report = read({"mode": "Chat"})
    assert value is None
    assert "required_devices, bat_path and memory_mb" in str(report.problems[0])


@pytest.mark.parametrize("raw", [None, 3, [], "x"])
def test_a_model_is_an_object(raw: object) -> None:
    assert "expected an object with a model" in str(read(raw)[1].problems[0])


def test_doubts_are_warnings() -> None:
    value, report = read(model("a", CPU=variant(memory_mb={"gpu": 1})), existing=False)
    assert value is not None
    lines = sorted(map(str, report.warnings))
    assert lines[0].startswith("$.m.CPU.bat_path: there is no file ")
    assert lines[1] == '$.m.CPU.memory_mb.gpu: "gpu" is not in required_devices'
    assert lines[2] == '$.m.CPU.memory_mb: says nothing of "cpu": 0 MB are reserved there'
