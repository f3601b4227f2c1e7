"""What can stand open beside the models, and the live pieces of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from webui.picture import Picture

TABS = ("settings", "log", "requests", "try")
PAGES = ("log", "requests", "plugins", "config")


@dataclass(frozen=True, slots=True)
class Panel:
    """`kind` is none, model, missing, or one of PAGES; `name` and `tab` are a model's."""

    kind: str = "none"
    name: str = ""
    tab: str = ""

    @property
    def url(self) -> str:
        if self.kind == "model":
            tab = "" if self.tab == "settings" else f"/{self.tab}"
            return f"/models/{quote(self.name, safe='')}{tab}"
        return "/" if self.kind == "none" else f"/{self.kind}"

    @property
    def log(self) -> str:
        """Which log it shows: "program", "model" or none."""
        if self.kind == "model" and self.tab == "log":
            return "model"
        return "program" if self.kind == "log" else ""


def panel_parts(panel: Panel, picture: Picture) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(id of the element, template, its values) of every part that follows events."""
    match panel:
        case Panel("model", name, tab):
            view = picture.model(name)
            if view is None:
                yield "panel-head", "panel_gone.html", {"name": name}
                return
            yield "panel-head", "panel_head.html", {"view": view}
            if tab == "settings":
                model = picture.sources.store.current.models.get(name)
                values = {"view": view, "model": model, "foresight": picture.foresight(name)}
                yield "panel-body", "panel_settings.html", values
            elif tab == "requests":
                yield "panel-body", "panel_requests.html", _requests(picture, name)
        case Panel("requests"):
            yield "panel-body", "panel_requests.html", _requests(picture, None)
        case Panel("plugins"):
            yield "panel-body", "panel_plugins.html", {"kinds": picture.sources.plugins()}
        case Panel("config"):
            yield "panel-body", "panel_config.html", _config(picture)


def _requests(picture: Picture, name: str | None) -> dict[str, Any]:
    flights = tuple(f for f in picture.flights if name is None or f.model == name)
    return {"flights": flights, "finished": picture.finished.of(name), "one": name is not None}


def _config(picture: Picture) -> dict[str, Any]:
    sources = picture.sources
    return {
        "problems": tuple(str(p) for p in sources.store.problems),
        "warnings": tuple(str(p) for p in sources.store.warnings),
        "path": str(sources.store.path),
        "program": sources.store.current.program,
        "version": sources.version,
        "address": sources.address,
        "log_file": str(sources.log_file),
        "tray": sources.tray_note(),
    }
