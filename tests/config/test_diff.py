from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from core.config.diff import MODEL_EFFECT, PROGRAM_EFFECT, Change, diff
from core.config.load import load
from core.domain import Config, Model, Program
from tests.config.examples import PATH, model, text, variant


def config(written: str) -> Config:
    made = load(written, PATH).config
    assert made is not None
    return made


OLD = {"a": model("a", "a2"), "b": model("b"), "c": model("c")}


def test_every_field_has_an_effect() -> None:
    assert set(MODEL_EFFECT) == {field.name for field in fields(Model)}
    assert set(PROGRAM_EFFECT) == {field.name for field in fields(Program)}


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ({}, Change()),
        ({"alive_time": 5}, Change(updated=("b",))),
        ({"priority": 5}, Change(updated=("b",))),
        ({"pinned": True}, Change(updated=("b",))),
        ({"concurrency": 2}, Change(updated=("b",))),
        ({"queue_limit": 2}, Change(updated=("b",))),
        ({"auto_start": True}, Change(updated=("b",))),
        ({"upstream_model": "x"}, Change(updated=("b",))),
        ({"aliases": ["b", "b2"]}, Change(updated=("b",))),
        ({"aliases": ["B"]}, Change(added=("B",), removed=("b",))),
        ({"mode": "Base"}, Change(restart=("b",))),
        ({"port": 10002}, Change(restart=("b",))),
        ({"engine": "vllm"}, Change(restart=("b",))),
        ({"env": {"A": "1"}}, Change(restart=("b",))),
        ({"CPU": variant(memory_mb={"cpu": 301})}, Change(restart=("b",))),
        ({"CPU": variant(bat_path="x.bat")}, Change(restart=("b",))),
        ({"GPU": variant()}, Change(restart=("b",))),
        ({"GPU": variant(), "pinned": True}, Change(restart=("b",))),
    ],
)
def test_one_model_changed(changes: dict[str, Any], change: Change) -> None:
    new = OLD | {"b": model("b") | changes}
    found = diff(config(text(OLD)), config(text(new)))
    assert found == change
    assert bool(found) == bool(changes)


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"port": 9000, "host": "::1"}, Change(after_restart=("host", "port"))),
        ({"device_plugin_dir": "x"}, Change(after_restart=("device_plugin_dir",))),
        ({"log_level": "DEBUG"}, Change(program=("log_level",))),
        ({"Disable_GPU_monitoring": True}, Change(program=("monitoring",))),
        ({"allowed_hosts": ["x"]}, Change(program=("allowed_hosts",))),
        ({"alive_time": 1}, Change(program=("alive_time",), updated=("a", "b", "c"))),
    ],
)
def test_the_program_changed(settings: dict[str, Any], change: Change) -> None:
    assert diff(config(text(OLD)), config(text(OLD, **settings))) == change


def test_models_come_go_and_move() -> None:
    new = {"d": model("d"), "c": OLD["c"], "a": OLD["a"]}
    found = diff(config(text(OLD)), config(text(new)))
    assert found == Change(added=("d",), removed=("b",))
    assert found.models == ("d", "b")


def test_another_layout_of_the_same_file_is_no_change() -> None:
    old = config(text(OLD))
    assert not diff(old, config(json.dumps(json.loads(text(OLD)))))
    renamed = {"key of a": OLD["a"], "b": OLD["b"], "c": OLD["c"]}
    assert diff(old, config(text(renamed))) == Change(updated=("a",))
