"""What the controller remembers of a Model between its instances: failures, back-off, load time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.domain import Failure
from core.instance import Instance

LONGEST_COOLDOWN = 60.0
STEADY = 60.0
"""Seconds of service after which earlier failures are forgotten."""


@dataclass(slots=True)
class Record:
    """One Model's past; times are monotonic seconds."""

    starts: int = 0
    failures: int = 0
    """In a row, without a steady life between them."""
    failure: Failure | None = None
    load_seconds: float | None = None
    """How long the last successful load took."""

    def cooling(self, now: float) -> Failure | None:
        """The last failure while no new start is tried on a client's behalf."""
        if self.failure and now < self.failure.retry_at:
            return self.failure
        return None

    def ready(self, instance: Instance) -> None:
        """It answers: the last failure is history, but the count of them waits for steadiness."""
        self.failure = None
        self.load_seconds = instance.load_seconds

    def refused(self, reason: str, now: float) -> None:
        """It could not even be tried (a taken port, a missing plugin): the next try is free."""
        self.failure = Failure(reason, at=now, retry_at=now)

    def ended(self, instance: Instance, now: float) -> None:
        """Take note of an end; back off 1, 2, 4 ... 60 s between failing starts.

        The first crash of a server that had served costs nothing: the next request restarts it.
        """
        served = now - instance.ready_at if instance.ready_at is not None else 0.0
        if served >= STEADY:
            self.failures = 0
        if instance.failure is None:
            return
        self.failures += 1
        doublings = self.failures - (2 if instance.ready_at is not None else 1)
        cooldown = 0.0 if doublings < 0 else min(LONGEST_COOLDOWN, 2.0**doublings)
        self.failure = replace(instance.failure, retry_at=now + cooldown)

    def pardon(self) -> None:
        """A person asks for a start: do not make them wait for the back-off."""
        if self.failure:
            self.failure = replace(self.failure, retry_at=0.0)
