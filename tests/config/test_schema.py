from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.config.schema import editor_schema, reference, wording

ROOT = Path(__file__).parents[2]


def test_the_editor_schema_in_the_repository_is_up_to_date() -> None:
    """If this fails: `python -m core.config.schema`."""
    assert (ROOT / "config.schema.json").read_text(encoding="utf-8") == editor_schema()


def test_the_editor_schema_knows_the_three_sections() -> None:
    schema = json.loads(editor_schema())
    model = schema["$defs"]["ModelSection"]
    assert schema["properties"]["program"] == {"$ref": "#/$defs/ProgramSection"}
    assert schema["additionalProperties"] == {"$ref": "#/$defs/ModelSection"}
    assert model["additionalProperties"] == {"$ref": "#/$defs/VariantSection"}
    assert schema["$defs"]["ProgramSection"]["additionalProperties"] is False
    assert schema["$defs"]["VariantSection"]["additionalProperties"] is False


def test_every_key_has_a_line_of_reference() -> None:
    rows = {(row.section, row.key): row for row in reference()}
    port = rows["program", "port"]
    assert (port.type, port.default) == ("a whole number from 0 to 65535", "8080")
    assert rows["program", "Disable_GPU_monitoring"].default == "false"
    assert rows["model", "mode"].default == "required"
    assert rows["variant", "memory_mb"].type.startswith("an object of name and value, each a whole")
    assert all(row.description.endswith(".") for row in rows.values())


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | None, "a whole number from None to None or null"),
        (list[str], "a list of texts"),
        (bool, "true or false"),
    ],
)
def test_types_in_words(annotation: object, words: str) -> None:
    assert wording(annotation) == words


def test_a_type_without_words_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError):
        wording(bytes)
