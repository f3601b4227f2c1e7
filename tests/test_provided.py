"""Names in a config that no plugin knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.load import load
from core.domain import Config, Model, Variant
from core.plugin_loading import ROOT
from core.provided import Provided, look, unprovided

PROVIDED = Provided(["Chat", "Embedding"], ["script"], ["cpu", "rtx 4060"])
CRASHES = "import os\nos.abort()\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Valid, with the shipped plugins and no model."""
    loaded = load("{}", tmp_path / "config.json")
    assert loaded.config is not None
    program = replace(
        loaded.config.program,
        device_plugin_dir=ROOT / "plugins" / "devices",
        interface_plugin_dir=ROOT / "plugins" / "interfaces",
        engine_plugin_dir=ROOT / "plugins" / "engines",
    )
    return replace(loaded.config, program=program)


def asking(config: Config, *devices: str, mode: str = "Chat", engine: str = "script") -> Config:
    variant = Variant("V 1", devices, {}, Path("x.sh"))
    model = Model("a", "the key", ("a",), mode, (variant,), engine=engine)
    return replace(config, models={"a": model})


@pytest.mark.parametrize(
    ("mode", "engine", "devices", "warnings"),
    [
        ("Chat", "script", ("cpu",), []),
        ("CHAT", "Script", ("cpu", "rtx 4060"), []),
        (
            "Chet",
            "script",
            ("cpu",),
            ['$["the key"].mode: no interface plugin provides "Chet"; did you mean "Chat"?'],
        ),
        (
            "Chat",
            "zzz",
            ("cpu",),
            ['$["the key"].engine: no engine plugin provides "zzz"; known are script'],
        ),
        (
            "Chat",
            "script",
            ("rtx4060", "cpu", "xyz"),
            [
                '$["the key"]["V 1"].required_devices: no device plugin provides "rtx4060"; '
                'did you mean "rtx 4060"?',
                '$["the key"]["V 1"].required_devices: no device plugin provides "xyz"; '
                "known are cpu, rtx 4060",
            ],
        ),
    ],
)
def test_each_unknown_name_is_told_with_the_nearest(
    config: Config, mode: str, engine: str, devices: tuple[str, ...], warnings: list[str]
) -> None:
    asked = asking(config, *devices, mode=mode, engine=engine)
    assert [str(each) for each in unprovided(asked, PROVIDED)] == warnings


def test_devices_that_are_not_looked_at_are_not_missed(config: Config) -> None:
    asked = asking(config, "xyz")
    assert unprovided(asked, replace(PROVIDED, devices=None)) == []
    free = replace(asked, program=replace(config.program, monitoring=False))
    assert unprovided(free, PROVIDED) == []


def test_the_shipped_plugins_provide_what_they_say(config: Config) -> None:
    provided = look(config.program)
    assert set(provided.interfaces) >= {"Chat", "Base", "Embedding", "Reranker"}
    assert set(provided.engines) >= {"script"}
    assert provided.devices is not None
    assert {"cpu", "rtx 4060", "v100"} <= set(provided.devices)


def test_a_device_plugin_that_crashes_costs_the_answer_on_devices_only(
    config: Config, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_text(CRASHES)
    provided = look(replace(config.program, device_plugin_dir=tmp_path))
    assert provided.devices is None
    assert "script" in provided.engines
