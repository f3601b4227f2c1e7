"""A lease is given back exactly once, whatever happens inside."""

from __future__ import annotations

from typing import Any

import pytest

from core.lease import Lease
from tests.scheduling.worlds import model

M = model("m")


class Books:
    """Grants at once, or after a wait."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self.given = self.back = 0
        self.instance: Any = object()

    def grant_now(self, model: object) -> Any:
        if not self.at_once:
            return None
        self.given += 1
        return self.instance

    async def stand_in_line(self, model: object) -> Any:
        self.given += 1
        return self.instance

    def give_back(self, instance: object) -> None:
        assert instance is self.instance
        self.back += 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_granted_used_and_given_back(at_once: bool) -> None:
    books = Books(at_once=at_once)
    async with Lease(books, M) as instance:
        assert instance is books.instance
        assert (books.given, books.back) == (1, 0)
    assert (books.given, books.back) == (1, 1)


async def test_given_back_when_the_request_breaks() -> None:
    books = Books(at_once=True)
    with pytest.raises(ZeroDivisionError):
        async with Lease(books, M):
            raise ZeroDivisionError
    assert books.back == 1
