"""A lease as a block of code: `async with controller.lease(model) as instance`."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from core.domain import Model
from core.instance import Instance


class Grants(Protocol):
    """Who gives leases and takes them back."""

    def grant_now(self, model: Model) -> Instance | None: ...
    async def stand_in_line(self, model: Model) -> Instance: ...
    def give_back(self, instance: Instance) -> None: ...


class Lease:
    """The right to send one request to one instance; given back exactly once."""

    __slots__ = ("_controller", "_model", "instance")

    def __init__(self, controller: Grants, model: Model) -> None:
        self._controller = controller
        self._model = model
        self.instance: Instance | None = None

    async def __aenter__(self) -> Instance:
        instance = self._controller.grant_now(self._model)
        if instance is None:
            instance = await self._controller.stand_in_line(self._model)
        self.instance = instance
        return instance

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.instance is not None
        self._controller.give_back(self.instance)
