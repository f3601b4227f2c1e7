"""From the name in a request to the Model it means."""

from __future__ import annotations

import difflib
import heapq
import string

from core.config.problem import quote
from core.domain import Config, Model
from core.errors import ModelNotFound

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_LONGEST_NAME = 200
"""A longer name is nobody's misspelling; comparing it with all others would cost time."""


class Catalog:
    """Names and aliases to Models. A lookup is one dictionary access in the usual case."""

    def __init__(self, config: Config) -> None:
        self.replace(config)

    def replace(self, config: Config) -> None:
        """Answer from this config from now on."""
        models = config.models.values()
        # A config key is a name as well, but never takes an alias from another model.
        by_name = {model.key: model for model in models}
        by_name |= {alias: model for model in models for alias in model.aliases}
        by_lower: dict[str, Model | None] = {}
        for name, model in by_name.items():
            known = by_lower.setdefault(name.translate(_LOWER), model)
            if known is not model:
                by_lower[name.translate(_LOWER)] = None
        self._names = tuple(config.models)
        self._by_name = by_name
        self._by_lower = by_lower

    def names(self) -> tuple[str, ...]:
        """Primary names in file order."""
        return self._names

    def resolve(self, name: str) -> Model:
        """The model with this name, alias or config key; letter case (ASCII) is forgiven where it
        leads to one model only. Raises ModelNotFound, which names what was probably meant."""
        model = self._by_name.get(name) or self._by_lower.get(name.translate(_LOWER))
        if model is None:
            raise ModelNotFound(self._not_found(name), param="model")
        return model

    def _not_found(self, name: str) -> str:
        near = ", ".join(map(quote, self._near(name)))
        if near:
            return f"There is no model {quote(name)}; near to it: {near}."
        return f"There is no model {quote(name)}; GET /v1/models lists them."

    def _near(self, name: str) -> list[str]:
        """At most three names, the best first, each of another model."""
        if len(name) > _LONGEST_NAME:
            return []
        lower = {known.lower(): known for known in self._by_name}
        pairs = _pairs(name.lower())
        likely = heapq.nlargest(20, lower, key=lambda known: len(pairs & _pairs(known)))
        found = difflib.get_close_matches(name.lower(), likely, n=9)
        by_model: dict[str, str] = {}
        for match in found:
            known = lower[match]
            by_model.setdefault(self._by_name[known].name, known)
        return list(by_model.values())[:3]


def _pairs(name: str) -> set[str]:
    """Neighbouring letters: names that share few of them need no closer look, which is slow."""
    return {name[at : at + 2] for at in range(len(name) - 1)}
