from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.load import Loaded, load
from tests.config.examples import PATH, SEED_TEXT, STEADY, model, text, variant

ROOT = Path(__file__).parents[2]
SEED_MODEL = "Qwen3-Coder-30B-A3B-Instruct-UD-64K"


def test_the_first_published_config_loads_unchanged() -> None:
    loaded = load(SEED_TEXT, PATH, platform="win32")
    assert (loaded.problems, loaded.warnings) == ((), ())
    config = loaded.config
    assert config is not None
    assert (config.program.port, config.program.alive_time) == (8080, 3600.0)
    (one,) = config.models.values()
    assert one.name == "Qwen3-Coder-30B-A3B-Instruct-64K"
    assert (one.key, one.port, one.interface) == (SEED_MODEL, 10001, "Chat")
    assert one.aliases == (one.name, "Qwen3-Coder-30B-A3B-Instruct")
    both, small = one.variants
    assert (both.name, both.devices) == ("RTX4060-V100", ("rtx 4060", "v100"))
    assert dict(both.memory) == {"rtx 4060": 6144, "v100": 16000}
    assert small.script == (
        PATH.parent / "Model_startup_script/RTX4060/Qwen3-Coder-30B-A3B-Instruct-64K-RTX4060.bat"
    )


def test_its_smallest_example_needs_no_program_section() -> None:
    one = {
        "aliases": ["mymodel"],
        "mode": "MyInterface",
        "port": 10015,
        "auto_start": False,
        "MyDevice_Config": {
            "required_devices": ["my_device"],
            "bat_path": "scripts/mymodel.bat",
            "memory_mb": {"my_device": 8192},
        },
    }
    loaded = load(json.dumps({"MyModel": one}), PATH, platform="linux")
    assert loaded.config is not None
    assert loaded.config.models["mymodel"].variants[0].script == PATH.parent / "scripts/mymodel.sh"


def test_the_shipped_config_has_three_demo_models_and_no_doubts() -> None:
    path = ROOT / "config.json"
    loaded = load(path.read_text(encoding="utf-8"), path)
    assert (loaded.problems, loaded.warnings) == ((), ())
    assert loaded.config is not None
    shown = {name: one.interface for name, one in loaded.config.models.items()}
    assert shown == {
        "demo-chat": "Chat",
        "demo-embedding": "Embedding",
        "demo-reranker": "Reranker",
    }
    assert all(one.port is None for one in loaded.config.models.values())
    assert loaded.config.program == load("{}", path).config.program  # type: ignore[union-attr]


def test_the_same_in_yaml() -> None:
    written = """
    program: {port: 9000}
    chat:
      mode: Chat
      CPU: {required_devices: [cpu], script_path: scripts/chat.sh, memory_mb: {cpu: 300}}
    """
    loaded = load(written, PATH.with_suffix(".yaml"))
    assert loaded.config is not None, loaded.problems
    assert list(loaded.config.models) == ["chat"]


@pytest.mark.parametrize("extra", ["\ufeff", "\n \t"])
def test_what_editors_leave_in_front_is_tolerated(extra: str) -> None:
    assert load(extra + text(), PATH).config is not None


def test_a_schema_key_is_tolerated() -> None:
    assert load(text({"$schema": "./config.schema.json", "a": model("a")}), PATH).config


def test_alive_time_of_the_model_goes_before_that_of_the_program() -> None:
    written = text({"a": model("a"), "b": model("b", alive_time=0)}, alive_time=5)
    config = load(written, PATH).config
    assert config is not None
    assert [one.alive_time for one in config.models.values()] == [300.0, None]


def test_an_alias_of_two_models_names_both() -> None:
    loaded = load(text({"one": model("a", "x"), "two": model("x", "b", port="bad")}), PATH)
    assert '$.two.aliases[0]: "two" and "one" both have the name "x"' in map(str, loaded.problems)
    assert len(loaded.problems) == 2
    assert load(text({"one": model("x"), "two": model("X")}), PATH).config is not None


def test_a_model_without_aliases_claims_its_key() -> None:
    loaded = load(text({"one": model("two"), "two": model()}), PATH)
    assert "both have the name" in str(loaded.problems[0])


def test_ports_in_common_are_doubted() -> None:
    written = text(
        {"a": model("a", port=1), "b": model("b", port=1), "c": model("c", port=80)}, port=80
    )
    assert [str(warning) for warning in load(written, PATH).warnings] == [
        '$.b.port: 1 is also the port of "a": both cannot run at the same time',
        "$.c.port: 80 is also the port of the program itself: both cannot run at the same time",
    ]


def test_an_empty_config_is_doubted() -> None:
    loaded = load("{}", PATH)
    assert loaded.config is not None
    assert "no model" in str(loaded.warnings[0])


def test_a_missing_script_is_a_warning() -> None:
    loaded = load(text(), PATH, platform="linux", exists=lambda file: not file.endswith(".sh"))
    assert loaded.config is not None
    assert [warning.path for warning in loaded.warnings] == ["$.chat.CPU.bat_path"]
    assert str(PATH.parent / "scripts/chat.sh") in loaded.warnings[0].message


def test_folders_for_scripts_count_even_when_the_program_section_is_wrong() -> None:
    outside = model("a", CPU=variant(bat_path="../other/x.bat"))
    loaded = load(text({"a": outside}, script_dirs=["../other"], port="x"), PATH)
    assert [problem.path for problem in loaded.problems] == ["$.program.port"]


def test_no_truncation_of_a_valid_file_gets_through() -> None:
    whole = text({"a": model("a", "b", env={"K": "v"}), "c": model("c")}, port=1234)
    steps = [len(whole) * step // 200 for step in range(200)]
    for length in steps:
        loaded = load(whole[:length], PATH)
        assert loaded.config is None
        assert loaded.problems


CHAT, CPU = ("chat",), ("chat", "CPU")
REMOVED = object()
FAULTS: list[tuple[tuple[str, ...], object, str]] = [
    # where, what is put there, where the first problem is seen ("" = there)
    (("program",), None, ""),
    (("program",), [], ""),
    (("program", "host"), "", ""),
    (("program", "host"), 5, ""),
    (("program", "port"), "8080", ""),
    (("program", "port"), -1, ""),
    (("program", "port"), 65536, ""),
    (("program", "port"), 80.5, ""),
    (("program", "port"), None, ""),
    (("program", "alive_time"), "60", ""),
    (("program", "alive_time"), True, ""),
    (("program", "alive_time"), 1e300, ""),
    (("program", "log_level"), "LOUD", ""),
    (("program", "Disable_GPU_monitoring"), "false", ""),
    (("program", "device_plugin_dir"), ["a"], ""),
    (("program", "allowed_hosts"), "example.org", ""),
    (("program", "cors_origins"), [None], "$.program.cors_origins[0]"),
    (("program", "script_dirs"), [""], "$.program.script_dirs[0]"),
    (("program", "prot"), 8080, ""),
    (("program", "openai_port"), 8080, ""),
    (("prgram",), {}, ""),
    (("Local-Models",), {}, ""),
    (CHAT, None, ""),
    (CHAT, [], ""),
    (CHAT, {}, "$.chat.mode"),
    (("chat", "aliases"), "chat", ""),
    (("chat", "aliases"), [""], "$.chat.aliases[0]"),
    (("chat", "aliases"), ["a\tb"], "$.chat.aliases[0]"),
    (("chat", "mode"), REMOVED, ""),
    (("chat", "mode"), None, ""),
    (("chat", "mode"), 1, ""),
    (("chat", "port"), 0, ""),
    (("chat", "port"), "10001", ""),
    (("chat", "auto_start"), 1, ""),
    (("chat", "engine"), None, ""),
    (("chat", "alive_time"), [], ""),
    (("chat", "start_timeout"), 0, ""),
    (("chat", "stop_timeout"), -1, ""),
    (("chat", "pinned"), "yes", ""),
    (("chat", "priority"), 1.5, ""),
    (("chat", "concurrency"), -1, ""),
    (("chat", "queue_limit"), None, ""),
    (("chat", "upstream_model"), "", ""),
    (("chat", "env"), ["A=1"], ""),
    (("chat", "env"), {"A": 1}, "$.chat.env.A"),
    (("chat", "pined"), True, ""),
    (("chat", "gpu_mem_mb"), {}, ""),
    (CPU, REMOVED, "$.chat"),
    (CPU, [], ""),
    (("chat", "CPU", "required_devices"), [], ""),
    (("chat", "CPU", "required_devices"), REMOVED, ""),
    (("chat", "CPU", "required_devices"), "cpu", ""),
    (("chat", "CPU", "required_gpus"), [], ""),
    (("chat", "CPU", "bat_path"), REMOVED, ""),
    (("chat", "CPU", "bat_path"), "../../x.bat", ""),
    (("chat", "CPU", "bat_path"), "a\0b", ""),
    (("chat", "CPU", "script_path"), "x.sh", "$.chat.CPU"),
    (("chat", "CPU", "memory_mb"), REMOVED, ""),
    (("chat", "CPU", "memory_mb"), {"cpu": "300"}, "$.chat.CPU.memory_mb.cpu"),
    (("chat", "CPU", "memory_mb"), {"cpu": -1}, "$.chat.CPU.memory_mb.cpu"),
    (("chat", "CPU", "memory_mb"), {"cpu": 1, " CPU": 2}, '$.chat.CPU.memory_mb[" CPU"]'),
]


def broken(where: tuple[str, ...], value: object) -> str:
    document: dict[str, Any] = json.loads(text())
    holder = document
    for key in where[:-1]:
        holder = holder[key]
    if value is REMOVED:
        del holder[where[-1]]
    else:
        holder[where[-1]] = deepcopy(value)
    return json.dumps(document)


@pytest.mark.parametrize(("where", "value", "seen"), FAULTS)
def test_a_semantic_fault_is_reported_at_its_place(
    where: tuple[str, ...], value: object, seen: str
) -> None:
    loaded = load(broken(where, value), PATH)
    assert loaded.config is None
    assert loaded.problems[0].path == (seen or ".".join(("$", *where)))


def test_there_are_fifty_faults_and_all_can_be_had_at_once() -> None:
    assert len(FAULTS) >= 50
    written = text({"a": model("a", port=0, mode=1), "b": model("a", CPU=variant(x=1))}, port="x")
    assert {
        problem.path for problem in load(written, PATH, {"LLM_MANAGER_PORT": "y"}).problems
    } == {
        *("$.program.port", "$LLM_MANAGER_PORT", "$.a.port", "$.a.mode", "$.b.CPU.x"),
        "$.b.aliases[0]",
    }


def whole(loaded: Loaded) -> None:
    """What every answer has to be, whatever was read."""
    assert (loaded.config is None) == bool(loaded.problems)
    for problem in (*loaded.problems, *loaded.warnings):
        line = str(problem)
        assert len(line.splitlines()) == 1
        line.encode()


KEYS = st.sampled_from(
    "program $schema chat CPU mode aliases port required_devices bat_path script_path memory_mb "
    "env gpu_mem_mb script_dirs alive_time".split()
) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(STEADY, max_examples=150)
@given(st.dictionaries(KEYS, VALUES, max_size=4) | VALUES, st.sampled_from(["linux", "win32"]))
def test_any_json_is_answered(document: object, platform: str) -> None:
    whole(load(json.dumps(document), PATH, platform=platform))


@settings(STEADY, max_examples=150)
@given(st.sampled_from([where for where, _, _ in FAULTS]), VALUES)
def test_any_value_at_any_place_is_answered(where: tuple[str, ...], value: object) -> None:
    whole(load(broken(where, value), PATH))


@settings(STEADY, max_examples=100)
@given(st.text(), st.sampled_from([".json", ".yaml"]))
def test_any_text_is_answered(written: str, suffix: str) -> None:
    whole(load(written, PATH.with_suffix(suffix)))
