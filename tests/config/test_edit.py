from __future__ import annotations

import json

import pytest

from core.config.edit import set_option, with_section

WHOLE = """\ufeff{
    // no comments here
    "m\\u0031" : {
        "mode": "Chat",
        "alive_time" : 5 ,
        "env": {"pinned": "no"},
        "CPU": {}
    },
    "pinned": false
}
""".replace("    // no comments here\n", "")


def test_a_value_is_replaced_in_place() -> None:
    assert set_option(WHOLE, "m1", "alive_time", 7.5) == WHOLE.replace("5 ,", "7.5 ,")


def test_a_new_option_stands_before_the_first_object_with_the_same_indentation() -> None:
    assert set_option(WHOLE, "m1", "pinned", True) == WHOLE.replace(
        '"alive_time" : 5 ,', '"alive_time" : 5,\n        "pinned": true ,'
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"m":{}}', '{"m":{"pinned": true}}'),
        ('{"m":{ }}', '{"m":{"pinned": true }}'),
        ('{"m":{"a":1}}', '{"m":{"a":1,"pinned": true}}'),
        ('{"m": {"V": {}}}', '{"m": {"pinned": true,"V": {}}}'),
        ('{"m": {\r\n\t"a": "é"\r\n}}', '{"m": {\r\n\t"a": "é",\r\n\t"pinned": true\r\n}}'),
        ('{"x": "m", "m": {"pinned": {}}}', '{"x": "m", "m": {"pinned": true}}'),
    ],
)
def test_every_layout(old: str, new: str) -> None:
    assert set_option(old, "m", "pinned", True) == new
    json.loads(new)


def test_an_unknown_section() -> None:
    with pytest.raises(KeyError):
        set_option(WHOLE, "nobody", "pinned", True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{}", '{"program": {}}'),
        ('{"a": 1}', '{"program": {},"a": 1}'),
        ('\ufeff{\n  "a": 1\n}', '\ufeff{\n  "program": {},\n  "a": 1\n}'),
        (
            '{"a": {"program": 1}, "program": {"b": 1}}',
            '{"a": {"program": 1}, "program": {"b": 1}}',
        ),
    ],
)
def test_a_section_that_is_missing_stands_first(old: str, new: str) -> None:
    assert with_section(old, "program") == new
