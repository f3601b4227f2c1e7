"""Device plugins: how much memory a piece of hardware has, and how much of it is free."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

__all__ = ["DevicePlugin"]


class DevicePlugin(ABC):
    """One device; `required_devices` in the config names it, in any case.

    A subclass calls `super().__init__("name")` and gives the two abstract methods. All methods are
    called one after the other in a process of their own, once a second or less often: they may
    block for a while. One that raises, hangs or crashes makes only its own device offline.
    """

    offline_reason: str | None = None
    """Set it before `is_online` returns False, and people read why."""

    def __init__(self, device_name: str) -> None:
        self.device_name = device_name

    @abstractmethod
    def is_online(self) -> bool:
        """Whether the device can be used now."""

    @abstractmethod
    def get_memory_info(self) -> tuple[int, int, int]:
        """Return (total, available, used) in MB (1024 * 1024 bytes); asked only while online."""

    def get_metrics(self) -> Mapping[str, float]:
        """Any of `use_percent`, `temperature_c`, `power_w`; shown, never needed."""
        return {}

    def visible_index(self) -> int | None:
        """The number by which CUDA_VISIBLE_DEVICES means it in PCI bus order, if it has one."""
        return None

    def cleanup(self) -> None:
        """Give back what it holds: the plugin is removed, replaced, or the program ends."""
        return
