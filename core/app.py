"""Builds all parts once, starts them in order and stops them in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from core.access import Access
from core.admin_api import AdminApi, Facts, Sources
from core.admin_changes import ChangesApi
from core.admin_logs import LogsApi
from core.admin_requests import RequestsApi
from core.api_server import build_app, front_door, render
from core.autostart import autostart
from core.bridge import Bridge, in_thread
from core.catalog import Catalog
from core.client_connection import accept
from core.config.diff import Change
from core.config.store import ConfigStore
from core.devices import Devices
from core.domain import DeviceReading, Model
from core.errors import ConfigError, ModelFailed
from core.events import Bus, ConfigChanged, PluginReloaded
from core.fast_path import FastPath
from core.gateway import Gateway
from core.launchers.leftovers import sweep
from core.launchers.local import LocalLauncher
from core.listening import Listener
from core.log import write_out
from core.model_controller import ModelController, Parts
from core.output import ModelOutput
from core.patience import Doorkeeper
from core.plugin_system import PluginManager
from core.script_environment import pick_port, script_env
from core.signals import Signals
from core.surroundings import Surroundings
from core.tray import Sources as TraySources
from core.tray import Tray
from core.upstream import UpstreamPool
from core.watcher import Watcher
from webui.server import Dashboard
from webui.sources import Sources as DashboardSources

log = logging.getLogger(__name__)

VERSION = "2.0.0"
MAIN = Path(__file__).resolve().parent.parent / "main.py"
GRACE = 30.0
"""Seconds that all models together get to end when the program ends."""
LAST_ANSWERS = 2.0
"""Seconds that handlers get after their models have ended."""
FIRST_READING = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and the environment ask for."""

    store: ConfigStore
    host: str
    port: int
    logs: Path
    log_file: Path
    headless: bool
    say: Callable[[str], None]
    """Tell the person at the console."""


class App:
    """The whole program; `run` returns when somebody ended it."""

    def __init__(self, options: Options, listener: Listener) -> None:
        self.options = options
        self.listener = listener
        self.store = options.store
        config = self.store.current
        program = config.program
        self._configured_host = program.host
        self.bus = Bus()
        self.closing = asyncio.Event()
        """Set at the beginning of the end: event streams close."""
        self.quit = asyncio.Event()
        """Set by whoever wants the end."""
        self.catalog = Catalog(config)
        self.outputs: dict[str, ModelOutput] = {}
        self.launcher = LocalLauncher()
        self.plugins = PluginManager(
            interface_dir=program.interface_plugin_dir,
            engine_dir=program.engine_plugin_dir,
            kinds=("interfaces", "engines"),
        )
        self.devices = Devices(program.device_plugin_dir, self.bus)
        self.controller = ModelController(
            config,
            Parts(
                devices=self.devices,
                surroundings=self._surroundings,
                script_env=script_env,
                pick_port=pick_port,
                publish=self.bus.publish,
                missing=self._missing,
            ),
        )
        # The controller first, so that whoever watches finds its books in order.
        self.bus.listen(self.controller.changed)
        self.access = Access(program.allowed_hosts, program.cors_origins)
        self.gateway = Gateway(
            self.catalog, self.controller, self.plugins, self.access, self.bus.publish
        )
        self.watcher: Watcher | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self.tray: Tray | None = None

    # ---- start and end -------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until `quit` is set; then stop everything in order."""
        with Signals(self._asked_to_end):
            await self._run()

    async def _run(self) -> None:
        bridge = Bridge(asyncio.get_running_loop())
        if not self.options.headless:
            self.tray = Tray(bridge, self._tray_sources())
        self.plugins.load_all_plugins()
        self.gateway.plugins_changed()
        web_app = self._web_app()
        runner = web.AppRunner(web_app, handler_cancellation=True, shutdown_timeout=LAST_ANSWERS)
        await runner.setup()
        assert runner.server is not None
        runner.server.request_handler = front_door(web_app, self.access, self.gateway)
        server = runner.server
        doorkeeper = Doorkeeper(lambda: server.connections)
        for line in await in_thread(sweep, name="sweep"):
            log.warning("%s", line)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            fast_path = FastPath(self.gateway, self.access, self.controller, tasks)
            doors = await accept(runner.server, self.listener.sockets, fast_path, render)
            log.info("listening on %s", self.listener.address)
            device_task = tasks.create_task(self.devices.run(), name="devices")
            controller_task = tasks.create_task(self.controller.run(tasks), name="controller")
            self._watch(bridge)
            log_task = tasks.create_task(_write_log_out(), name="log")
            door_task = tasks.create_task(doorkeeper.run(), name="doorkeeper")
            tasks.create_task(self._greet(), name="greeting")
            if self.tray is not None:
                tasks.create_task(self.tray.run(), name="tray")
            self.controller.auto_start()
            gc.collect()
            gc.freeze()  # what lives now lives to the end: spare the collector the walk
            await self.quit.wait()
            await self._end(runner, doors)
            controller_task.cancel()
            log_task.cancel()
            door_task.cancel()
            await self.devices.stop()
            device_task.cancel()

    def _web_app(self) -> web.Application:
        program = self.store.current.program
        facts = Facts(
            version=VERSION,
            address=self.listener.address,
            started_at=time.time(),
            log_file=self.options.log_file,
            reachable_from_network=self.listener.reachable_from_network,
            tray=lambda: self.tray.state if self.tray else "off (headless)",
        )
        sources = Sources(
            facts=facts,
            store=self.store,
            catalog=self.catalog,
            controller=self.controller,
            bus=self.bus,
            readings=lambda: self.devices.readings,
            plugins=self.plugin_status,
            output=self.output,
            closing=self.closing,
        )
        log.info("config %s, host %s, port %s", self.store.path, program.host, self.listener.port)
        routes = [
            *AdminApi(sources).routes(),
            *LogsApi(self.options.log_file, self.catalog, self.output, self.closing).routes(),
            *RequestsApi(self.gateway.flights).routes(),
            *ChangesApi(
                self.catalog,
                self.set_option,
                self.reload_plugins,
                self.plugin_status,
                self.keep_to_this_machine,
            ).routes(),
            *self._dashboard(facts).routes(),
        ]
        return build_app(self.access, self.gateway, routes)

    def _dashboard(self, facts: Facts) -> Dashboard:
        return Dashboard(
            DashboardSources(
                version=facts.version,
                address=facts.address,
                log_file=facts.log_file,
                reachable_from_network=facts.reachable_from_network,
                controller=self.controller,
                store=self.store,
                bus=self.bus,
                readings=lambda: self.devices.readings,
                in_flight=lambda: self.gateway.flights.in_flight,
                endpoints=self.plugins.endpoints,
                plugins=self.plugin_status,
                output=self.output,
                closing=self.closing,
                tray_note=lambda: self.tray.state if self.tray else "off (headless)",
            )
        )

    def _tray_sources(self) -> TraySources:
        return TraySources(
            controller=self.controller,
            bus=self.bus,
            readings=lambda: self.devices.readings,
            problems=lambda: self.store.problems,
            address=self.listener.address,
            logs=self.options.logs,
            quit=self._asked_to_end,
            autostart=autostart(MAIN, sys.argv[1:]),
        )

    def _asked_to_end(self) -> None:
        """A signal: the first one asks, the next one does not wait for anything any longer."""
        if not self.quit.is_set():
            self.quit.set()
            self.options.say("ending: waiting for running answers (again: do not wait)")
        else:
            self.controller.kill_all()
            self.options.say("ending at once")

    async def _end(self, runner: web.AppRunner, doors: list[asyncio.Server]) -> None:
        log.info("ending")
        for door in doors:
            door.close()
        self.closing.set()
        self.bus.close()
        for output in self.outputs.values():
            output.close()
        if self.watcher is not None:
            self.watcher.stop()
        await self.controller.shutdown(GRACE)
        await runner.cleanup()
        if self.tray is not None:
            await self.tray.stop()
        log.info("ended")

    async def _greet(self) -> None:
        """Tell the person what was found, as soon as the devices have answered."""
        say, listener = self.options.say, self.listener
        say(f"LLM-Manager {VERSION} is listening on {listener.address}")
        say(f"  dashboard  {listener.address}/")
        say(f"  config     {self.store.path}")
        say(f"  log        {self.options.log_file}")
        try:
            async with asyncio.timeout(FIRST_READING):
                with self.bus.subscribe() as events:
                    async for _ in events:
                        if self.devices.readings is not None:
                            break
        except TimeoutError:
            say("  devices    not read yet")
        else:
            say(f"  devices    {_device_words(self.devices.readings or {})}")
        say(f"  models     {', '.join(self.store.current.models) or 'none configured'}")
        for warning in self.store.warnings:
            say(f"  warning    {warning}")
        if listener.reachable_from_network:
            say("  note       other machines of the network can reach this address")

    # ---- parts for a model ---------------------------------------------------------------------

    def output(self, model: str) -> ModelOutput:
        """The output of a model, over all its instances."""
        if model not in self.outputs:
            self.outputs[model] = ModelOutput(model, self.options.logs / "models")
        return self.outputs[model]

    def _missing(self, model: Model) -> str | None:
        if model.interface.lower() not in self.plugins.interfaces:
            return f"no interface plugin provides the mode '{model.interface}'"
        if model.engine.lower() not in self.plugins.engines:
            return f"no engine plugin is named '{model.engine}'"
        return None

    def _surroundings(self, model: Model) -> Surroundings:
        if missing := self._missing(model):
            raise ModelFailed(missing)
        interface = self.plugins.interfaces[model.interface.lower()]
        engine = self.plugins.engines[model.engine.lower()]
        loop = asyncio.get_running_loop()
        return Surroundings(
            engine=engine,
            interface=interface,
            launcher=self.launcher,
            output=self.output(model.name),
            connect=lambda host, port: UpstreamPool(loop, host, port),
            publish=self.bus.publish,
        )

    # ---- plugins and config while it runs ------------------------------------------------------

    def plugin_status(self) -> dict[str, Any]:
        """Interfaces and engines live here, devices in the probe process."""
        return {**self.plugins.get_plugin_status(), "devices": self.devices.status()}

    def _watch(self, bridge: Bridge) -> None:
        program = self.store.current.program
        self.watcher = Watcher(
            bridge,
            plugin_folders=(
                program.device_plugin_dir,
                program.interface_plugin_dir,
                program.engine_plugin_dir,
            ),
            config_file=self.store.path,
            on_plugins=self.reload_plugins,
            on_config=self.reload_config,
        )
        self.watcher.start()

    def reload_plugins(self) -> None:
        """Read the plugin folders again, soon; what is broken leaves the old plugin working."""
        assert self._tasks is not None
        self._tasks.create_task(self._reload_plugins(), name="reload plugins")

    async def _reload_plugins(self) -> None:
        # In a thread: what a plugin imports may take seconds.
        result = await in_thread(self.plugins.reload_plugins, name="reload plugins")
        self.gateway.plugins_changed()
        self.devices.reload()
        self.bus.publish(PluginReloaded(tuple(result.loaded), tuple(result.failed)))

    def reload_config(self) -> None:
        """Read the config file again; a broken one changes nothing."""
        change = self.store.reload()
        problems = tuple(str(problem) for problem in self.store.problems)
        for problem in problems:
            log.error("config not applied: %s", problem)
        if change:
            self._apply(change)
        self.bus.publish(ConfigChanged(change.models if change else (), problems))

    def set_option(self, model: str, option: str, value: object) -> None:
        """Write one option of a model into the config file and put it into force."""
        self._changed(self.store.set_model_option(model, option, value))

    def keep_to_this_machine(self) -> None:
        """Write into the config file that only this machine may reach the next start."""
        if self.listener.host != self._configured_host:
            raise ConfigError("--host decides the address: change it there.")
        self._changed(self.store.keep_to_this_machine())

    def _changed(self, change: Change) -> None:
        if change:
            self._apply(change)
        self.bus.publish(ConfigChanged(change.models))

    def _apply(self, change: Change) -> None:
        config = self.store.current
        log.info("config applied: %s", change)
        if change.after_restart:
            log.warning("%s take effect after a restart", ", ".join(change.after_restart))
        self.catalog.replace(config)
        self.access.update(config.program.allowed_hosts, config.program.cors_origins)
        logging.getLogger().setLevel(config.program.log_level)
        self.controller.apply(config, change)


async def _write_log_out() -> None:
    while True:
        await asyncio.sleep(1.0)
        write_out()


def _device_words(readings: Mapping[str, DeviceReading]) -> str:
    words = [
        f"{r.name} ({r.available_mb} of {r.total_mb} MB free)"
        for r in readings.values()
        if r.online
    ]
    return ", ".join(words) or "none online"
