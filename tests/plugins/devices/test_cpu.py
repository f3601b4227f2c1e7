from __future__ import annotations

import psutil

from plugins.devices.cpu import CPU


def test_it_tells_the_machine_s_memory_in_mb() -> None:
    cpu = CPU()
    total, available, used = cpu.get_memory_info()
    assert cpu.is_online()
    assert total == psutil.virtual_memory().total // 1024 // 1024
    assert 0 < available <= total
    assert 0 < used < total


def test_it_tells_how_busy_it_is() -> None:
    assert 0 <= CPU().get_metrics()["use_percent"] <= 100
