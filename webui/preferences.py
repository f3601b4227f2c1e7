"""What a browser wants: language and appearance, from its cookies and headers."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from webui.texts import LANGUAGES, preferred_language

THEMES = ("auto", "light", "dark")
LANGUAGE_COOKIE = "llm-manager-language"
THEME_COOKIE = "llm-manager-theme"
"""Both are written by the page itself: no request changes anything."""


@dataclass(frozen=True, slots=True)
class Preferences:
    language: str
    theme: str


def preferences(request: web.Request) -> Preferences:
    language = request.cookies.get(LANGUAGE_COOKIE, "")
    if language not in LANGUAGES:
        language = preferred_language(request.headers.get("Accept-Language", ""))
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return Preferences(language, theme if theme in THEMES else "auto")
