"""The pieces of the page in one language, each with the version in which it last changed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from webui.pages import Pages
from webui.panel import Panel, panel_parts
from webui.picture import Picture

KEPT_PANELS = 64
ROWS_PER_TURN = 20


class _Item(Protocol):
    @property
    def id(self) -> str: ...


@dataclass(slots=True)
class _Fragment:
    view: object
    html: str
    version: int


class Board:
    """Renders only what changed; all tabs of one language share what it rendered."""

    def __init__(self, picture: Picture, pages: Pages, language: str) -> None:
        self.picture = picture
        self._models: object = None
        self.pages = pages
        self.language = language
        self.version = 0
        self._singles: dict[str, _Fragment] = {}
        self._lists: dict[str, dict[str, _Fragment]] = {"devices": {}, "models": {}}
        self._shapes: dict[str, _Fragment] = {}
        self._panels: dict[tuple[Panel, str], _Fragment] = {}

    async def prepare(self) -> None:
        """Draw the rows that nobody has seen yet, a few per turn of the loop: a thousand in one
        turn would hold up every answer that is being streamed."""
        self.picture.refresh()
        rows = self._lists["models"]
        for number, view in enumerate(self.picture.models):
            key = f"m-{view.id}"
            if key not in rows:
                rows[key] = self._draw("models_item.html", view, view=view)
                if number % ROWS_PER_TURN == 0:
                    await asyncio.sleep(0)

    def refresh(self) -> None:
        """Bring every piece up to date; pieces that changed get a new version."""
        picture = self.picture
        picture.refresh()
        self._single("summary", picture.summary)
        self._single("banners", picture.banners)
        self._single("flights", picture.flights)
        self._list("devices", "d", picture.devices)
        if picture.models is not self._models:  # the very same views: nothing to compare
            self._models = picture.models
            self._list("models", "m", picture.models)

    def html(self, id: str) -> str:
        """A whole piece as it is now."""
        if id in self._lists:
            return self._shape(id)
        return self._singles[id].html

    def changed_since(self, version: int, panel: Panel) -> dict[str, str]:
        """Id to HTML of everything that changed after `version`."""
        fresh = {id: f.html for id, f in self._singles.items() if f.version > version}
        for id, items in self._lists.items() if version < self.version else ():
            if self._shapes[id].version > version:
                fresh[id] = self._shape(id)
            else:
                fresh |= {key: f.html for key, f in items.items() if f.version > version}
        fresh |= {id: f.html for id, f in self._panel(panel).items() if f.version > version}
        return fresh

    def panel_html(self, panel: Panel) -> dict[str, str]:
        """The live pieces of a panel."""
        return {id: f.html for id, f in self._panel(panel).items()}

    # ---- inside --------------------------------------------------------------------------------

    def _single(self, id: str, view: object) -> None:
        old = self._singles.get(id)
        if old is None or old.view != view:
            self._singles[id] = self._draw(f"{id}.html", view, view=view)

    def _list(self, id: str, prefix: str, items: Sequence[_Item] | None) -> None:
        old = self._lists[id]
        new: dict[str, _Fragment] = {}
        for item in items or ():
            key = f"{prefix}-{item.id}"
            known = old.get(key)
            if known is None or (known.view is not item and known.view != item):
                known = self._draw(f"{id}_item.html", item, view=item)
            new[key] = known
        self._lists[id] = new
        shape = None if items is None else tuple(new)
        if id not in self._shapes or self._shapes[id].view != shape:
            self.version += 1
            self._shapes[id] = _Fragment(shape, "", self.version)

    def _shape(self, id: str) -> str:
        known = self._shapes[id].view is not None
        items = "".join(fragment.html for fragment in self._lists[id].values())
        config = self.picture.sources.store.path
        return self.pages.render(
            f"{id}.html", self.language, items=_Safe(items), known=known, config=config
        )

    def _panel(self, panel: Panel) -> dict[str, _Fragment]:
        parts = {}
        for id, template, values in panel_parts(panel, self.picture):
            old = self._panels.get((panel, id))
            if old is None or old.view != values:
                if len(self._panels) > KEPT_PANELS:
                    self._drop_panels(itertools.islice(list(self._panels), KEPT_PANELS // 2))
                old = self._panels[panel, id] = self._draw(template, values, **values)
            parts[id] = old
        return parts

    def _drop_panels(self, keys: Iterable[tuple[Panel, str]]) -> None:
        for key in keys:
            del self._panels[key]

    def _draw(self, template: str, seen: object, **values: Any) -> _Fragment:
        self.version += 1
        return _Fragment(seen, self.pages.render(template, self.language, **values), self.version)


class _Safe(str):
    """HTML that templates made: not to be escaped again."""

    __slots__ = ()

    def __html__(self) -> str:
        return self
