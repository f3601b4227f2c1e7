from __future__ import annotations

import pytest

from core.catalog import Catalog
from core.config.load import load
from core.domain import Config
from core.errors import ModelNotFound
from tests.config.examples import PATH, model, text


def config(**models: dict[str, object]) -> Config:
    made = load(text(dict(models)), PATH).config
    assert made is not None
    return made


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(
        config(
            key_q=model("Qwen3-Coder", "coder"),
            glm=model("GLM-4"),
            coder=model("sakura", "CODER"),
            twin=model("glm-4", "TWIN-é"),
        )
    )


@pytest.mark.parametrize(
    ("name", "primary"),
    [
        ("Qwen3-Coder", "Qwen3-Coder"),
        ("coder", "Qwen3-Coder"),  # an alias goes before the key of another model
        ("CODER", "sakura"),
        ("key_q", "Qwen3-Coder"),
        ("KEY_Q", "Qwen3-Coder"),
        ("qwen3-coder", "Qwen3-Coder"),
        ("GLM-4", "GLM-4"),
        ("glm-4", "glm-4"),
        ("Sakura", "sakura"),
        ("twin-é", "glm-4"),
    ],
)
def test_a_name_leads_to_its_model(catalog: Catalog, name: str, primary: str) -> None:
    assert catalog.resolve(name).name == primary


@pytest.mark.parametrize("name", ["Coder", "Glm-4", "TWIN-É", "", "nothing", "qwen3-coder "])
def test_no_model_is_guessed(catalog: Catalog, name: str) -> None:
    with pytest.raises(ModelNotFound):
        catalog.resolve(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Qwen3-Codr", 'There is no model "Qwen3-Codr"; near to it: "Qwen3-Coder".'),
        ("zzz", 'There is no model "zzz"; GET /v1/models lists them.'),
        ("a\nforged", 'There is no model "a\\nforged"; GET /v1/models lists them.'),
    ],
)
def test_the_message_helps(catalog: Catalog, name: str, message: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog.resolve(name)
    assert caught.value.message == message
    assert caught.value.param == "model"


def test_at_most_three_near_names_of_different_models() -> None:
    models = {f"m{n}": model(f"qwen-{n}", f"qwen-{n}b") for n in range(6)}
    with pytest.raises(ModelNotFound) as caught:
        Catalog(config(**models)).resolve("qwen-")
    near = caught.value.message.split("near to it: ")[1].rstrip(".").split(", ")
    assert len(near) == 3
    assert len({name.strip('"b') for name in near}) == 3


def test_a_huge_name_costs_nothing(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog.resolve("x" * 1_000_000)
    assert len(caught.value.message) < 200


def test_names_and_replacement(catalog: Catalog) -> None:
    assert catalog.names() == ("Qwen3-Coder", "GLM-4", "sakura", "glm-4")
    catalog.replace(config(new=model("new")))
    assert catalog.names() == ("new",)
    with pytest.raises(ModelNotFound):
        catalog.resolve("coder")
