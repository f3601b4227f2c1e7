from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest

from plugins.devices import _nvml, nvidia
from plugins.devices._nvml import NvidiaGPU, Nvml, device_name
from plugins.devices.rtx_4060 import RTX4060
from plugins.devices.v100 import V100
from tests.fakes.nvml import pynvml as fake
from tests.windows.stub_dll import forwarding_dll

LOST = fake.NVML_ERROR_GPU_IS_LOST


class Machine:
    """A machine whose GPUs a test plugs and breaks; `now` is its clock."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.now = 1000.0
        self.session = Nvml(clock=lambda: self.now)

    def has(self, *gpus: dict[str, Any] | str, **state: Any) -> None:
        described = [{"name": gpu} if isinstance(gpu, str) else gpu for gpu in gpus]
        self.file.write_text(json.dumps({"gpus": described, **state}), encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path / "nvml.json")
    machine.has()
    monkeypatch.setenv("FAKE_NVML", str(machine.file))
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(_nvml, "session", lambda: machine.session)
    monkeypatch.setattr(nvidia, "session", lambda: machine.session)
    return machine


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ("NVIDIA GeForce RTX 4060 Laptop GPU", "rtx 4060"),
        ("NVIDIA GeForce RTX 4060", "rtx 4060"),
        ("NVIDIA GeForce RTX 4060 Ti", "rtx 4060 ti"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("Tesla V100-PCIE-32GB", "v100"),
        ("NVIDIA A100 80GB PCIe", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("GeForce GTX 1060 6GB", "gtx 1060"),
        ("NVIDIA TITAN V", "titan v"),
        ("GPU", "nvidia"),
    ],
)
def test_names_are_those_of_the_old_configs(gpu: str, name: str) -> None:
    assert device_name(gpu) == name


def test_equal_cards_are_numbered_and_all_in_bus_order(machine: Machine) -> None:
    machine.has(
        {"name": "NVIDIA GeForce RTX 4060", "bus": "0000:81:00.0"},
        {"name": "Tesla V100-SXM2-16GB", "bus": "0000:41:00.0"},
        {"name": "Tesla V100-SXM2-16GB", "bus": "0000:01:00.0"},
    )
    devices = nvidia.discover()
    assert all(device.is_online() for device in devices)
    found = {device.device_name: device.visible_index() for device in devices}
    assert found == {"v100": 0, "v100 #2": 1, "rtx 4060": 2}


def test_named_plugins_mean_the_card_that_discovery_calls_so(machine: Machine) -> None:
    machine.has("NVIDIA GeForce RTX 4060 Ti", "NVIDIA GeForce RTX 4060 Laptop GPU")
    named = RTX4060()
    assert named.is_online()
    assert named.visible_index() == 1
    other = V100()
    assert not other.is_online()
    assert other.offline_reason == "no such GPU here (there is: rtx 4060 ti, rtx 4060)"
    assert other.visible_index() is None


def test_memory_is_in_mb_and_metrics_are_told(machine: Machine) -> None:
    machine.has(
        {
            "name": "V100",
            "total": 16160,
            "free": 10000,
            "use": 7,
            "temperature": 41,
            "power": 55500,
        }
    )
    gpu = NvidiaGPU("v100")
    assert gpu.is_online()
    assert gpu.get_memory_info() == (16160, 10000, 6060)
    assert gpu.get_metrics() == {"use_percent": 7.0, "temperature_c": 41.0, "power_w": 55.5}


def test_an_old_driver_is_asked_the_old_way(machine: Machine) -> None:
    machine.has({"name": "V100", "total": 16160, "free": 10000, "old_driver": True})
    gpu = NvidiaGPU("v100")
    assert gpu.is_online()
    assert gpu.get_memory_info() == (16160, 10000, 6160)


def test_what_a_gpu_does_not_support_is_left_out(machine: Machine) -> None:
    machine.has({"name": "V100", "temperature": 41})
    gpu = NvidiaGPU("v100")
    assert gpu.is_online()
    assert gpu.get_metrics() == {"temperature_c": 41.0}


def test_without_a_driver_all_is_quiet(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.has(init=fake.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert nvidia.discover() == []
    gpu = V100()
    assert not gpu.is_online()
    assert gpu.offline_reason == "no NVIDIA driver on this machine"
    assert caplog.records == []


def test_without_the_package_all_is_quiet(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpu = V100()
    assert not gpu.is_online()
    assert gpu.offline_reason == "the Python package nvidia-ml-py is not installed"
    machine.session.failed()


def test_a_driver_that_is_installed_later_is_found(machine: Machine) -> None:
    machine.has(init=fake.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert nvidia.discover() == []
    machine.has("V100")
    machine.now += 61
    assert [device.device_name for device in nvidia.discover()] == ["v100"]


def test_a_card_that_is_plugged_in_later_is_found(machine: Machine) -> None:
    machine.has("V100")
    assert len(nvidia.discover()) == 1
    machine.has("V100", "H200")
    machine.now += 61
    assert [device.device_name for device in nvidia.discover()] == ["v100", "h200"]


def poll(gpu: NvidiaGPU) -> str | None:
    """One reading: None, or why there is none."""
    if not gpu.is_online():
        return gpu.offline_reason
    try:
        gpu.get_memory_info()
    except OSError as error:
        return str(error)
    return None


def test_a_lost_gpu_comes_back_at_the_second_poll_and_leaves_the_others_alone(
    machine: Machine,
) -> None:
    one, two = NvidiaGPU("v100"), NvidiaGPU("h200")
    machine.has("V100", "H200")
    assert (poll(one), poll(two)) == (None, None)
    machine.has({"name": "V100", "error": LOST}, "H200")
    for _ in range(100):
        machine.now += 1
        assert poll(one) == "NVIDIA driver: GPU is lost"
        assert poll(two) is None
    machine.has("V100", "H200")
    machine.now += 1
    assert (poll(one), poll(two)) == (None, None)


def test_a_gpu_that_stays_lost_restarts_the_session_ever_less_often(machine: Machine) -> None:
    gpu = NvidiaGPU("v100")
    machine.has({"name": "V100", "error": LOST})
    begun = len(fake.SESSION)
    for _ in range(200):
        machine.now += 1
        assert poll(gpu)
    assert (len(fake.SESSION) - begun) / 2 <= 14


def test_a_driver_that_is_reset_is_used_again(machine: Machine) -> None:
    gpu = NvidiaGPU("v100")
    machine.has("V100")
    assert poll(gpu) is None
    machine.has(
        {"name": "V100", "error": fake.NVML_ERROR_UNINITIALIZED},
        init=fake.NVML_ERROR_DRIVER_NOT_LOADED,
    )
    machine.now += 1
    assert poll(gpu) == "NVIDIA driver: code 1"
    machine.now += 1
    assert poll(gpu) == "NVIDIA driver: Driver Not Loaded"
    machine.has("V100")
    machine.now += 2
    assert poll(gpu) is None


def test_a_slice_without_rights_is_offline_and_does_not_restart_the_session(
    machine: Machine,
) -> None:
    machine.has({"name": "H200", "error": fake.NVML_ERROR_NO_PERMISSION})
    gpu = NvidiaGPU("h200")
    assert poll(gpu) == "NVIDIA driver: code 4"
    begun = len(fake.SESSION)
    machine.now += 5
    assert poll(gpu) == "NVIDIA driver: code 4"
    assert len(fake.SESSION) == begun


def test_a_gpu_that_is_hidden_does_not_hide_the_others(machine: Machine) -> None:
    machine.has({"name": "V100", "handle_error": fake.NVML_ERROR_NO_PERMISSION}, "H200")
    assert [device.device_name for device in nvidia.discover()] == ["h200"]


if sys.platform == "win32":
    LIBRARY = dict.fromkeys(
        ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlShutdown"],
        "kernel32.IsDebuggerPresent",  # 0: it went well
    )

    @pytest.mark.parametrize(
        ("place", "said"),
        [
            ("System32", "no such GPU here (there is: none)"),
            ("NVIDIA Corporation/NVSMI", "no such GPU here (there is: none)"),
            ("elsewhere", "no NVIDIA driver on this machine"),
        ],
    )
    def test_the_library_is_found_where_drivers_put_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, said: str
    ) -> None:
        """New drivers put it into System32, old ones into a folder of their own."""
        file = tmp_path / place / "nvml.dll"
        file.parent.mkdir(parents=True)
        file.write_bytes(forwarding_dll("nvml.dll", LIBRARY))
        for name in ("WINDIR", "PROGRAMFILES"):
            monkeypatch.setenv(name, str(tmp_path))
        monkeypatch.setattr(pynvml, "nvmlLib", None)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        session = Nvml()
        monkeypatch.setattr(_nvml, "session", lambda: session)
        gpu = NvidiaGPU("v100")
        assert not gpu.is_online()
        assert gpu.offline_reason == said
