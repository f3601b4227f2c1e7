"""The documents say what is there, and what they say works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import core.errors
from core.cli import cli
from core.config.schema import reference
from core.errors import LLMManagerError
from tests.fakes.program import HOME, Program

ENGLISH, CHINESE = HOME / "README.md", HOME / "README.zh-CN.md"
READMES = pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["en", "zh"])


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a language, also indented ones."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text(path), re.M | re.S)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


def error_codes() -> set[str]:
    kinds = [c for c in vars(core.errors).values() if isinstance(c, type)]
    errors = [c for c in kinds if issubclass(c, LLMManagerError) and c is not LLMManagerError]
    return {c.code for c in errors} - {"config_error", "internal_error"}


@READMES
def test_every_config_key_and_its_default_is_listed(readme: Path) -> None:
    for row in reference():
        default = "" if row.default == "required" else f"`{row.default}`"
        assert f"| `{row.key}` | {default} |" in text(readme), row


def test_the_english_readme_says_what_the_schema_says() -> None:
    for row in reference():
        assert row.description in text(ENGLISH), row


@READMES
def test_every_error_code_is_listed(readme: Path) -> None:
    missing = {code for code in error_codes() if f"`{code}`" not in text(readme)}
    assert not missing


@READMES
def test_every_route_of_the_control_api_is_listed(readme: Path) -> None:
    """By its last part: rows name several routes that share the rest."""
    for path in control_paths():
        last = "/" + path.rpartition("/")[2]
        assert path in text(readme) or f"{last}`" in text(readme), path


def control_paths() -> set[str]:
    """Paths that the sources give to the URL table, placeholders without their patterns."""
    found: set[str] = set()
    for source in (HOME / "core").glob("admin_*.py"):
        found |= set(re.findall(r"web\.(?:get|post)\(\s*\"([^\"]+)\"", text(source)))
    assert len(found) > 20
    return {re.sub(r"\{(\w+):[^/]*\}", r"{\1}", path) for path in found}


@READMES
def test_every_command_is_listed_with_its_options(readme: Path) -> None:
    for name in cli.commands:
        assert re.search(rf"^\| `{name}[ `]", text(readme), re.M), name


@READMES
def test_every_link_and_named_file_exists(readme: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text(readme))
    for link in links:
        if not link.startswith("http"):
            assert (HOME / link).exists(), link


def test_both_readmes_have_the_same_blocks_and_sections() -> None:
    assert blocks(ENGLISH, "sh") == blocks(CHINESE, "sh")
    assert blocks(ENGLISH, "python") == blocks(CHINESE, "python")
    assert blocks(ENGLISH, "json") == blocks(CHINESE, "json")
    heads = [re.findall(r"^#+ ", text(readme), re.M) for readme in (ENGLISH, CHINESE)]
    assert heads[0] == heads[1]
    rows = [len(re.findall(r"^\|", text(readme), re.M)) for readme in (ENGLISH, CHINESE)]
    assert rows[0] == rows[1]


def test_every_decision_is_in_the_list() -> None:
    folder = HOME / "docs" / "decisions"
    listed = set(re.findall(r"\]\(([^)]+)\)", text(folder / "README.md")))
    assert listed == {p.name for p in folder.glob("*.md")} - {"README.md"}


# ---- the commands of the quick start, run -------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The program with the shipped config, as the README's first command starts it."""
    running = Program(HOME / "config.json", tmp_path_factory.mktemp("logs"))
    yield running
    running.end()


def _run(demo: Program, block: str) -> str:
    command = block.replace("127.0.0.1:8080", f"127.0.0.1:{demo.port}")
    assert command != block
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest.fixture
def quick(demo: Program) -> list[str]:
    curls = [block for block in blocks(ENGLISH, "sh") if block.startswith("curl")]
    assert len(curls) == 3
    return curls


def test_the_first_curl_streams_a_chat(demo: Program, quick: list[str]) -> None:
    answer = _run(demo, quick[0])
    assert answer.startswith("data: {")
    assert answer.rstrip().endswith("data: [DONE]")


def test_the_second_curl_embeds(demo: Program, quick: list[str]) -> None:
    answer = json.loads(_run(demo, quick[1]))
    assert [len(entry["embedding"]) for entry in answer["data"]] == [64, 64]


def test_the_third_curl_ranks(demo: Program, quick: list[str]) -> None:
    answer = json.loads(_run(demo, quick[2]))
    assert {result["index"] for result in answer["results"]} == {0, 1}


def test_the_python_example_prints_an_answer(demo: Program) -> None:
    (example,) = blocks(ENGLISH, "python")
    code = example.replace("127.0.0.1:8080", f"127.0.0.1:{demo.port}")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip()


@pytest.mark.parametrize(
    "line", ["ps", "info", "devices", "start demo-chat", "logs demo-chat", "stop demo-chat"]
)
def test_the_commands_talk_to_the_running_program(demo: Program, line: str) -> None:
    command = [sys.executable, "main.py", *line.split(), "--url", demo.url]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    machine = subprocess.run(
        [*command, "--json"], cwd=HOME, capture_output=True, text=True, timeout=60
    )
    assert json.loads(machine.stdout)


def test_the_config_example_is_valid(tmp_path: Path) -> None:
    (example,) = [b for b in blocks(ENGLISH, "json") if "qwen3-8b" in b]
    path = tmp_path / "config.json"
    path.write_text("{" + example + "}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "main.py", "check", str(path)],
        cwd=HOME,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
