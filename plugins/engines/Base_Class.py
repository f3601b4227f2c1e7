"""Engine plugins: what to run for a Model, and how its server sleeps and wakes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from core.domain import LaunchSpec, Model, Variant

__all__ = ["EnginePlugin", "LaunchSpec", "Model", "Variant"]


class EnginePlugin(ABC):
    """One engine; `engine` in a model's config names it. Built once, without arguments.

    A subclass calls `super().__init__("name")` and gives `launch_spec`. An engine whose server can
    give its memory back without ending (vLLM's sleep mode) also gives the three sleep methods.
    """

    def __init__(self, engine_name: str) -> None:
        self.engine_name = engine_name

    @abstractmethod
    def launch_spec(self, model: Model, variant: Variant, env: Mapping[str, str]) -> LaunchSpec:
        """Return argv, folder and environment; `env` holds LLM_PORT and its companions already.

        Raises OSError with a sentence for a person if it cannot be started (script missing).
        """

    def sleep_memory(self, variant: Variant) -> Mapping[str, int] | None:
        """Megabytes per device that stay taken while asleep; None (default) = it cannot sleep."""
        return None

    def sleep(self, host: str, port: int) -> None:
        """Make the server give its memory back; blocks until it has. Raises OSError on failure."""
        raise NotImplementedError

    def wake(self, host: str, port: int) -> None:
        """Undo `sleep`; blocks until the server answers again. Raises OSError on failure."""
        raise NotImplementedError
