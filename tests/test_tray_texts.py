"""The tray's catalogue, and which language a desktop speaks."""

from __future__ import annotations

import string
import sys

import pytest

from core.tray_texts import TEXTS, Texts, _posix_language, clip, system_language


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_the_same(key: str) -> None:
    english, chinese = TEXTS[key]
    assert english
    assert chinese
    assert _fields(english) == _fields(chinese)
    assert english != chinese


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_values_are_put_in() -> None:
    assert Texts("en")("seconds", count=3) == "3 s"
    assert Texts("zh")("seconds", count=3) == "3 秒"
    assert Texts("en")("failed_title", model="{odd}") == "{odd} failed"


@pytest.mark.parametrize(
    ("env", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN", "LC_ALL": "en_GB"}, "en"),
        ({"LANG": "zh_CN", "LC_ALL": ""}, "zh"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"),
        ({"LC_ALL": "C.UTF-8", "LANGUAGE": "zh_CN"}, "en"),
    ],
)
def test_the_language_is_the_one_of_the_desktop(env: dict[str, str], language: str) -> None:
    assert _posix_language(env) == language
    if sys.platform != "win32":
        assert system_language(env) == language


@pytest.mark.parametrize(
    ("text", "clipped"),
    [("", ""), ("1234", "1234"), ("12345", "123…"), ("一二三四五", "一二三…"), ("a🙂🙂", "a🙂…")],
)
def test_long_texts_are_cut_to_four_units(text: str, clipped: str) -> None:
    assert clip(text, 4) == clipped
