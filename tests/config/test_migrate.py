from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.load import load
from core.config.migrate import Migrated, device_name, migrate, migrate_file
from core.errors import ConfigError
from tests.config.examples import PATH, SEED_TEXT, STEADY, model, text

PROGRAM_01 = {
    "openai_host": "127.0.0.1",
    "openai_port": 8081,
    "webui_host": "0.0.0.0",
    "webui_port": 10000,
    "Disable_GPU_monitoring": False,
    "alive_time": 30,
}
FLAT = {
    "aliases": ["q", "q2"],
    "mode": "Chat",
    "port": 10001,
    "auto_start": True,
    "bat_path": "Model_startup_script\\q.bat",
    "gpu_mem_mb": {"NVIDIA GeForce RTX 4060 Laptop GPU": 6144, "Tesla V100-SXM2-16GB": 16000},
}
VARIANTS = {
    "aliases": ["r"],
    "mode": "Embedding",
    "port": 10002,
    "auto_start": False,
    "Both": {
        "required_gpus": ["rtx 4060", "Tesla V100-SXM2-16GB"],
        "bat_path": "r.bat",
        "gpu_mem_mb": {"rtx 4060": 1, "Tesla V100-SXM2-16GB": 2},
    },
    "One": {"required_gpus": ["v100"], "bat_path": "r1.bat", "gpu_mem_mb": {"v100": 3}},
}


def moved(document: dict[str, Any], path: Path = PATH) -> tuple[dict[str, Any], Migrated]:
    done = migrate(json.dumps(document), path)
    assert load(done.text, PATH).problems == ()
    return json.loads(done.text), done


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NVIDIA GeForce RTX 4060 Laptop GPU", "rtx 4060"),
        ("NVIDIA GeForce RTX 4060 Laptop GPU 8GB", "rtx 4060"),
        ("GeForce RTX 4060", "rtx 4060"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA A100-PCIE-40GB", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100 pcie"),
        ("V100", "v100"),
        ("rtx 4060", "rtx 4060"),
        (" GPU ", "gpu"),
    ],
)
def test_gpu_names(old: str, new: str) -> None:
    assert device_name(old) == new


def test_0_1_has_one_flat_variant() -> None:
    new, done = moved({"program": PROGRAM_01, "Q": FLAT})
    assert new["program"] == {
        "host": "127.0.0.1",
        "port": 8081,
        "Disable_GPU_monitoring": False,
        "alive_time": 30,
    }
    assert new["Q"] == {
        "aliases": ["q", "q2"],
        "mode": "Chat",
        "port": 10001,
        "auto_start": True,
        "RTX4060-V100": {
            "required_devices": ["rtx 4060", "v100"],
            "bat_path": "Model_startup_script\\q.bat",
            "memory_mb": {"rtx 4060": 6144, "v100": 16000},
        },
    }
    notes = "\n".join(done.notes)
    assert "$.program.webui_port (10000) was left out" in notes
    assert 'the device "Tesla V100-SXM2-16GB" is called "v100" now' in notes
    assert "required_devices was guessed" in notes


def test_0_1_without_gpu_memory_runs_on_the_cpu() -> None:
    new, done = moved({"program": PROGRAM_01, "Q": FLAT | {"gpu_mem_mb": {"v100": 0}}})
    assert new["Q"]["CPU"]["required_devices"] == ["cpu"]
    assert any("no device was named" in note for note in done.notes)


def test_0_2_keeps_its_variants_in_order() -> None:
    new, _ = moved({"program": PROGRAM_01, "R": VARIANTS})
    assert list(new["R"]) == ["aliases", "mode", "port", "auto_start", "Both", "One"]
    assert new["R"]["Both"] == {
        "required_devices": ["rtx 4060", "v100"],
        "bat_path": "r.bat",
        "memory_mb": {"rtx 4060": 1, "v100": 2},
    }


def test_1_0_only_loses_its_two_servers() -> None:
    document = json.loads(SEED_TEXT)
    program = document["program"] | {"openai_host": "h", "openai_port": 1, "webui_port": 2}
    del program["host"], program["port"]
    new, _ = moved(document | {"program": program})
    assert (new["program"]["host"], new["program"]["port"]) == ("h", 1)
    document["program"] = new["program"]
    assert new == document


LATER_VARIANT = {"required_devices": ["cpu"], "script_path": "a.bat", "memory_mb": {"cpu": 1}}


@pytest.mark.parametrize(
    "current",
    [SEED_TEXT, text({"a": model("a", CPU=LATER_VARIANT)}, TokenTracker=["Chat"])],
    ids=["seed", "script_path"],
)
def test_what_is_current_comes_back_letter_by_letter(current: str) -> None:
    done = migrate(current, PATH)
    assert done.text == current
    assert "already" in done.notes[0]


def test_2_2_is_yaml_with_the_models_in_a_section() -> None:
    old = """
program:
  host: 0.0.0.0
  port: 8080
  TokenTracker: [Chat]
  token_price: 3
Local-Models:
  模型:
    aliases: [a]
    mode: Chat
    port: 10001
    auto_start: false
    weight: 3
    V100:
      required_devices: [v100]
      script_path: scripts/a.bat
      memory_mb: {v100: 15.2}
"""
    done = migrate(old, PATH.with_suffix(".yaml"))
    assert load(done.text, PATH).problems == ()
    new = json.loads(done.text)
    assert "模型" in done.text
    assert new["模型"]["V100"]["script_path"] == "scripts/a.bat"
    assert new["模型"]["V100"]["memory_mb"] == {"v100": 16}
    notes = "\n".join(done.notes)
    for part in ("TokenTracker", "token_price (3)", "模型.weight (3)", "Local-Models", "15.2"):
        assert part in notes


def test_scripts_elsewhere_are_declared() -> None:
    new, done = moved({"Q": FLAT | {"bat_path": "..\\other\\q.bat"}})
    assert new["program"]["script_dirs"] == [str(PATH.parent.parent / "other")]
    assert any("script_dirs" in note for note in done.notes)


def test_what_cannot_be_guessed_is_left_to_the_user() -> None:
    done = migrate(json.dumps({"a": FLAT, "b": FLAT, "c": 3}), PATH)
    notes = "\n".join(done.notes)
    assert 'To be mended by hand: $.b.aliases[0]: "b" and "a" both have the name "q"' in notes
    assert "$.c (3) was left out" in notes


def test_a_file_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"line 1, column 2"):
        migrate("{", PATH)
    with pytest.raises(ConfigError, match="as JSON"):
        migrate("a: {env: &x {y: *x}}", PATH.with_suffix(".yaml"))


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    old = tmp_path / "config.json"
    old.write_text(json.dumps({"program": PROGRAM_01, "Q": FLAT}))
    before = old.read_bytes()
    with pytest.raises(ConfigError, match="--force"):
        migrate_file(old)
    assert old.read_bytes() == before
    target, _ = migrate_file(old, tmp_path / "new.json")
    assert load(target.read_text(encoding="utf-8"), target).problems == ()
    assert old.read_bytes() == before
    target, done = migrate_file(old, force=True)
    assert target == old
    assert old.read_text(encoding="utf-8") == done.text


def test_another_folder_is_told(tmp_path: Path) -> None:
    old = tmp_path / "config.yaml"
    old.write_text("a: {mode: Chat}")
    target, _ = migrate_file(old)
    assert target == tmp_path / "config.json"
    (tmp_path / "sub").mkdir()
    _, done = migrate_file(old, tmp_path / "sub" / "config.json")
    assert str(tmp_path / "sub") in done.notes[-1]
    with pytest.raises(ConfigError, match="cannot be written"):
        migrate_file(old, tmp_path / "none" / "config.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        migrate_file(tmp_path / "none.json")


KEYS = st.sampled_from(
    [*FLAT, *PROGRAM_01, "program", "Local-Models", "required_gpus", "required_devices", "V"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(STEADY, max_examples=150)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_document_is_migrated_or_refused(document: object) -> None:
    try:
        done = migrate(json.dumps(document), PATH)
    except ConfigError:
        return
    assert done.text
