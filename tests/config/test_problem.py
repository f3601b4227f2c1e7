from __future__ import annotations

import pytest

from core.config.problem import Problem, child, found, nearest, quote


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        (("demo-chat", "CPU", "memory_mb", "cpu"), "$.demo-chat.CPU.memory_mb.cpu"),
        (("rtx 4060",), '$["rtx 4060"]'),
        (("Qwen2.5",), '$["Qwen2.5"]'),
        (("aliases", 0), "$.aliases[0]"),
        (("通义",), "$.通义"),
        (("a\nb",), '$["a\\nb"]'),
        ((None,), "$[None]"),
    ],
)
def test_a_path_names_the_place(keys: tuple[object, ...], path: str) -> None:
    place = "$"
    for key in keys:
        place = child(place, key)
    assert place == path


def test_a_problem_is_one_line_whatever_the_file_holds() -> None:
    forged = "x\n2026-01-01 ERROR forged\u2028\x85\x7f\ud800\u202e"
    line = str(Problem(child("$", forged), f"unknown {quote(forged)}"))
    assert len(line.splitlines()) == 1
    assert line.isascii()
    line.encode()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (0.5, "0.5"),
        (float("inf"), "inf"),
        ("a", '"a"'),
        ("x" * 1000, '"' + "x" * 80 + '…"'),
        ([], "an empty list"),
        ({"a": 1}, "an object"),
        ({1}, "a set"),
    ],
)
def test_what_was_found_is_said_shortly(value: object, words: str) -> None:
    assert found(value) == words


def test_a_number_too_long_to_print_is_named() -> None:
    assert found(10**5000) == "a huge number"


def test_the_nearest_key_forgives_case() -> None:
    assert nearest("disable_gpu_monitoring", ["host", "Disable_GPU_monitoring"]) == (
        "Disable_GPU_monitoring"
    )
    assert nearest("alises", ["aliases", "mode"]) == "aliases"
    assert nearest("zzz", ["aliases", "mode"]) is None
