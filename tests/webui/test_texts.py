"""The catalogue is whole, and every text in it is shown somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from webui.server import SCRIPT_TEXTS
from webui.texts import TEXTS, Texts, preferred_language

WEBUI = Path(__file__).resolve().parents[2] / "webui"
TEMPLATES = "".join(p.read_text("utf-8") for p in sorted(WEBUI.glob("templates/*.html")))
SCRIPTS = "".join(p.read_text("utf-8") for p in sorted(WEBUI.glob("static/*.js")))
CODE = "".join(p.read_text("utf-8") for p in WEBUI.glob("*.py") if p.name != "texts.py")
BUILT = re.compile(r"st_|theme_|kind_|client_closed|upstream_broken|ok$")
"""Keys that templates put together from a value."""


def test_every_text_is_there_in_both_languages() -> None:
    for key, both in TEXTS.items():
        assert all(text.strip() for text in both), key
        assert both[0].count("{}") == both[1].count("{}"), key


def test_every_text_is_used() -> None:
    literal = set(re.findall(r'"(\w+)"', TEMPLATES + CODE))
    unused = {key for key in TEXTS if key not in literal and not BUILT.match(key)}
    assert unused == set()


def test_templates_ask_only_for_texts_that_exist() -> None:
    asked = set(re.findall(r't\["(\w+)"\]', TEMPLATES)) - {"st_", "theme_", "kind_"}
    assert asked <= TEXTS.keys()


def test_every_icon_that_is_asked_for_has_its_outline() -> None:
    outlines = set(re.findall(r'<symbol id="i-([\w-]+)"', TEMPLATES))
    asked = set(re.findall(r'\bicon\("([\w-]+)"\)', TEMPLATES))
    assert asked | {"sun", "moon", "monitor"} == outlines  # the three are named in a loop


def test_scripts_get_just_the_texts_that_they_ask_for() -> None:
    asked = set(re.findall(r'\bt\("(\w+)"\)', SCRIPTS))
    shown = set(re.findall(r'#show\("(\w+)"\)', SCRIPTS))
    assert asked | shown == set(SCRIPT_TEXTS)
    assert set(SCRIPT_TEXTS) <= TEXTS.keys()


def test_templates_hold_no_text_of_their_own() -> None:
    assert re.findall(r"[\u4e00-\u9fff]+", TEMPLATES) == []


def test_no_attribute_goes_without_quotes_and_no_script_is_inline() -> None:
    without_jinja = re.sub(r"\{[{%#].*?[}%#]\}", "", TEMPLATES)
    without_values = re.sub(r"\"[^\"]*\"|'[^']*'", '""', without_jinja)
    assert re.findall(r"<[^<>]*\s[\w-]+=[^\"\s][^<>]*>", without_values) == []
    assert re.findall(r"<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|javascript:", TEMPLATES) == []
    for safe in re.findall(r"\{\{[^}]*\|safe", TEMPLATES):
        assert re.search(r"board\.html\(|panel_html|parts\[", safe), safe


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("de,zh;q=0.5,en;q=0.7", "en"),
        ("fr", "en"),
        ("zh;q=x", "en"),
    ],
)
def test_the_browser_chooses_the_language(accept: str, language: str) -> None:
    assert preferred_language(accept) == language


def test_known_sentences_of_the_core_are_translated() -> None:
    assert Texts("zh").sentence("waiting for a b to become idle") == "等待 a b 空闲"
    assert Texts("zh").sentence("something new") == "something new"
    assert Texts("en").sentence("it is loading") == "it is loading"
