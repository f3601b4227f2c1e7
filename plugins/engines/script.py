"""The engine of every model with a start-up script: run that file, in its own folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from plugins.engines.Base_Class import EnginePlugin, LaunchSpec, Model, Variant


class ScriptEngine(EnginePlugin):
    def __init__(self) -> None:
        super().__init__("script")

    def launch_spec(self, model: Model, variant: Variant, env: Mapping[str, str]) -> LaunchSpec:
        script = variant.script
        if not script.is_file():
            raise FileNotFoundError(
                f"启动脚本不存在 / the start-up script of '{model.name}' ({variant.name}) "
                f"does not exist: {script}"
            )
        argv: tuple[str, ...] = (str(script),)
        if script.suffix.lower() == ".py":
            argv = (env.get("LLM_MANAGER_PYTHON", sys.executable), str(script))
        return LaunchSpec(argv=argv, folder=script.parent, env=env)
