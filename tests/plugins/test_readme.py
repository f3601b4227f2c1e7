"""Every code block of plugins/README.md is tried."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.domain import Model, Variant
from core.plugin_loading import ROOT
from core.plugin_system import PluginManager

TEXT = (ROOT / "plugins/README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
FILES = {
    found.group(1): block
    for block in BLOCKS
    if (found := re.match(r"# plugins/(\w+/\w+\.py)\n", block))
}


@pytest.fixture
def manager(tmp_path: Path) -> PluginManager:
    kinds = ("devices", "interfaces", "engines")
    for kind in kinds:
        (tmp_path / kind).mkdir()
    for path, text in FILES.items():
        (tmp_path / path).write_text(text, encoding="utf-8")
    manager = PluginManager(*(tmp_path / kind for kind in kinds))
    assert not manager.reload_plugins().failed
    return manager


def test_every_block_is_a_plugin_or_a_script() -> None:
    assert len(FILES) == 4
    assert len(BLOCKS) == 5


def test_the_plugins_work_as_they_are(manager: PluginManager) -> None:
    assert set(manager.devices) == {"my gpu", "card 1", "card 2"}
    assert manager.devices["my gpu"].get_memory_info() == (16384, 8192, 8192)
    assert manager.endpoints() == {"/v1/mymode": {"mymode"}}
    assert not manager.interfaces["mymode"].health_check("m", 1, 0.0, 1)[0]
    variant = Variant("one", ("cpu",), {"cpu": 1}, Path("/models/x"))
    model = Model("m", "m", ("m",), "Chat", (variant,))
    spec = manager.engines["my server"].launch_spec(model, variant, {"LLM_PORT": "1"})
    assert spec.argv == ("my-server", "--port", "1", "--model", str(variant.script))


def test_the_script_runs() -> None:
    script = next(block for block in BLOCKS if not block.startswith("# plugins/"))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "'valid': True" in done.stdout
