from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core.domain import Model, Variant
from plugins.engines.script import ScriptEngine


def variant(script: Path) -> Variant:
    return Variant("CPU", ("cpu",), {"cpu": 300}, script)


def model(script: Path) -> Model:
    return Model("m", "m", ("m",), "Chat", (variant(script),))


def test_a_script_runs_in_its_own_folder(tmp_path: Path) -> None:
    script = tmp_path / "a b.sh"
    script.touch()
    spec = ScriptEngine().launch_spec(model(script), variant(script), {"LLM_PORT": "1"})
    assert (spec.argv, spec.folder, spec.env) == ((str(script),), tmp_path, {"LLM_PORT": "1"})


def test_a_python_script_is_run_by_this_python(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.touch()
    spec = ScriptEngine().launch_spec(model(script), variant(script), {})
    assert spec.argv == (sys.executable, str(script))
    env = {"LLM_MANAGER_PYTHON": "another python"}
    spec = ScriptEngine().launch_spec(model(script), variant(script), env)
    assert spec.argv == ("another python", str(script))


@pytest.mark.parametrize("name", ["none.sh", "."])
def test_a_missing_script_is_told_in_a_sentence(tmp_path: Path, name: str) -> None:
    script = tmp_path / name
    with pytest.raises(FileNotFoundError, match=r"the start-up script of 'm' \(CPU\) does not"):
        ScriptEngine().launch_spec(model(script), variant(script), {})
