"""Templates to HTML, with autoescape; jinja2 is loaded at the first page, not at the start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.bridge import in_thread
from webui.texts import LANGUAGES, Texts
from webui.views import key_of, memory_words

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).resolve().parent / "templates"


class Pages:
    """All templates, compiled."""

    def __init__(self, environment: Environment) -> None:
        self._templates = {
            name: environment.get_template(name) for name in environment.list_templates()
        }
        self._texts = {language: Texts(language) for language in LANGUAGES}

    @classmethod
    async def load(cls) -> Pages:
        """Compile everything in a thread: it takes longer than the loop may be held up."""
        return await in_thread(_load, name="templates")

    def texts(self, language: str) -> Texts:
        return self._texts[language]

    def render(self, template: str, language: str, **values: Any) -> str:
        """The HTML of a template; every value is escaped unless a template made it."""
        return self._templates[template].render(t=self._texts[language], **values)


def _load() -> Pages:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters["memory"] = memory_words
    environment.filters["key"] = key_of
    return Pages(environment)
