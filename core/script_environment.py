"""What a start-up script finds: its port and its environment."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain import DeviceReading, Model, Variant
from core.health import HOST
from core.interpreter import with_console
from core.launchers.ports import bind_probe, free_port


def pick_port(model: Model, taken: set[int]) -> int:
    """The model's own port, or a free one. Raises OSError naming who holds it."""
    if model.port is None:
        return free_port(taken)
    bind_probe(model.port)
    return model.port


def script_env(
    model: Model, variant: Variant, port: int, readings: Mapping[str, DeviceReading]
) -> dict[str, str]:
    """What a start-up script finds in its environment."""
    env = {
        "LLM_PORT": str(port),
        "LLM_HOST": HOST,
        "LLM_MODEL": model.name,
        "LLM_VARIANT": variant.name,
        "LLM_DEVICES": ",".join(variant.devices),
        "LLM_MANAGER_PYTHON": with_console(),
        "PYTHONUTF8": "1",
    }
    indices = [readings[d].index for d in variant.devices if d in readings]
    known = [str(index) for index in indices if index is not None]
    if known:
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        env["CUDA_VISIBLE_DEVICES"] = ",".join(known)
    return {**env, **model.env}
