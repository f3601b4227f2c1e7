"""PluginManager: the plugins of the folders, loaded, reloaded and reported on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from core.plugin_loading import (
    ROOT,
    Kind,
    Loaded,
    PluginError,
    digest_of,
    endpoints_of,
    forget_module,
    is_online,
    is_plugin_file,
    kind_of,
    load_plugin,
    memory_of,
    plugin_files,
    read_source,
    reason_of,
)
from plugins.devices.Base_Class import DevicePlugin
from plugins.interfaces.Base_Class import InterfacePlugin

if TYPE_CHECKING:
    from plugins.engines.Base_Class import EnginePlugin

log = logging.getLogger(__name__)

KINDS = ("devices", "interfaces", "engines")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a look at the folders changed; files are written "interfaces/chat.py"."""

    loaded: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    """Files with a reason that they did not have before."""

    @property
    def changed(self) -> bool:
        return bool(self.loaded or self.removed or self.failed)


@dataclass(slots=True)
class _File:
    path: Path
    loaded: Loaded | None = None
    """What works; it outlives a later version that does not."""
    error: str | None = None
    clash: str | None = None

    @property
    def reason(self) -> str | None:
        return self.error or self.clash


@dataclass(slots=True)
class _Folder:
    kind: Kind
    path: Path
    error: str | None = None
    files: dict[Path, _File] = field(default_factory=dict)

    def label(self, path: Path) -> str:
        return f"{self.kind.name}/{path.name}"


class PluginManager:
    """Loads every plugin file of its folders; a file that fails changes nothing but its reason.

    `before` is called with each file that is about to run, and may raise PluginError to keep it
    from running. Reading may happen in any thread, also while another one reloads.
    """

    def __init__(
        self,
        device_dir: str | Path | None = None,
        interface_dir: str | Path | None = None,
        engine_dir: str | Path | None = None,
        *,
        kinds: Iterable[str] = KINDS,
        model_manager: Any = None,
        before: Callable[[Path], None] | None = None,
    ) -> None:
        given = dict(zip(KINDS, (device_dir, interface_dir, engine_dir), strict=True))
        self._folders = {
            name: _Folder(kind_of(name), Path(given[name] or ROOT / "plugins" / name).absolute())
            for name in kinds
        }
        self._plugins: Mapping[str, Mapping[str, Any]] = {name: {} for name in self._folders}
        self._model_manager = model_manager
        self._before = before
        self._lock = threading.Lock()
        self._looked = False

    # What is there now: keys are names in lower case.

    @property
    def devices(self) -> Mapping[str, DevicePlugin]:
        return MappingProxyType(self._plugins.get("devices", {}))

    @property
    def interfaces(self) -> Mapping[str, InterfacePlugin]:
        return MappingProxyType(self._plugins.get("interfaces", {}))

    @property
    def engines(self) -> Mapping[str, EnginePlugin]:
        return MappingProxyType(self._plugins.get("engines", {}))

    def endpoints(self) -> dict[str, frozenset[str]]:
        """URL path ("/v1/embeddings") to the names (lower case) of the interfaces that serve it."""
        found: dict[str, set[str]] = {}
        for name, plugin in self.interfaces.items():
            try:
                endpoints = endpoints_of(plugin)
            except Exception as error:
                log.warning("endpoints of interface plugin %s: %r", name, error)
                continue
            for endpoint in endpoints:
                found.setdefault(f"/{endpoint}", set()).add(name)
        return {path: frozenset(names) for path, names in found.items()}

    # Loading

    def load_all_plugins(self) -> dict[str, list[str]]:
        """Look at the folders and return the names of all plugins by kind."""
        self.reload_plugins()
        return {
            name: [
                getattr(plugin, folder.kind.name_attribute)
                for plugin in self._plugins[name].values()
            ]
            for name, folder in self._folders.items()
        }

    def reload_plugins(self) -> Reloaded:
        """Load what was added, changed or has failed before; forget what was removed.

        Blocks as long as the plugins' own imports and constructors do. Never raises.
        """
        with self._lock:
            before = dict(self._reasons())
            loaded: list[str] = []
            removed: list[str] = []
            retired: list[Loaded] = []
            for folder in self._folders.values():
                self._read_folder(folder, loaded, removed, retired)
            self._publish()
            for each in retired:
                self._retire(each)
            self._looked = True
            after = dict(self._reasons())
        failed = [label for label, reason in after.items() if before.get(label) != reason]
        for label in failed:
            log.warning("plugin %s: %s", label, after[label])
        return Reloaded(tuple(loaded), tuple(removed), tuple(failed))

    def _read_folder(
        self, folder: _Folder, loaded: list[str], removed: list[str], retired: list[Loaded]
    ) -> None:
        try:
            paths = plugin_files(folder.path)
            folder.error = None
        except PluginError as error:
            folder.error = str(error)
            return
        for path in [known for known in folder.files if known not in paths]:
            gone = folder.files.pop(path)
            removed.append(folder.label(path))
            log.info("plugin %s removed", folder.label(path))
            if gone.loaded:
                retired.append(gone.loaded)
        for path in paths:
            file = folder.files.setdefault(path, _File(path))
            old = file.loaded
            try:
                file.loaded = self._load(file, folder.kind)
                file.error = None
            except PluginError as error:
                file.error = str(error)
                continue
            if file.loaded is not old:
                loaded.append(folder.label(path))
                log.info("plugin %s loaded, sha256 %s", folder.label(path), file.loaded.digest)
                if old and old.digest != file.loaded.digest:
                    retired.append(old)

    def _load(self, file: _File, kind: Kind) -> Loaded:
        """The file's new plugins, or those that it has where nothing changed."""
        source, old = read_source(file.path), file.loaded
        unchanged = old is not None and old.digest == digest_of(source)
        if old and unchanged and not old.discovered:
            return old
        if self._before:
            self._before(file.path)
        new = load_plugin(file.path, source, kind, self._model_manager)
        if old and unchanged:
            return self._rediscovered(old, new)
        if old:
            try:
                self._compare(old, new, file.path)
            except PluginError:
                self._retire(new)
                raise
        return new

    def _rediscovered(self, old: Loaded, new: Loaded) -> Loaded:
        """`discover()` may only add: a device that it misses now is offline, not gone."""
        if new.plugins.keys() <= old.plugins.keys():
            self._retire(new)
            return old
        return Loaded({**new.plugins, **old.plugins}, True, new.module, new.digest)

    def _compare(self, old: Loaded, new: Loaded, path: Path) -> None:
        """Raise PluginError if a device can be read with the old version but not with the new."""
        try:
            _try_devices(new)
        except BaseException as error:
            try:
                _try_devices(old)
            except BaseException:
                return
            raise PluginError(reason_of(error, path)) from error

    def _retire(self, loaded: Loaded) -> None:
        forget_module(loaded.module)
        for plugin in loaded.plugins.values():
            _clean_up(plugin)

    def _publish(self) -> None:
        """Swap in the plugins by name: a file's own before discovered ones, then by file name."""
        plugins: dict[str, dict[str, Any]] = {}
        for kind_name, folder in self._folders.items():
            named: dict[str, Any] = {}
            owners: dict[str, _File] = {}
            for file in sorted(folder.files.values(), key=_rank):
                file.clash = None
                for name, plugin in file.loaded.plugins.items() if file.loaded else ():
                    owner = owners.setdefault(name.lower(), file)
                    if named.setdefault(name.lower(), plugin) is plugin:
                        continue
                    if not (file.loaded and file.loaded.discovered):
                        file.clash = f"the name '{name}' is given by {owner.path.name} already"
            plugins[kind_name] = named
        self._plugins = plugins

    def close(self) -> None:
        """Let every plugin clean up."""
        for plugins in self._plugins.values():
            for plugin in plugins.values():
                _clean_up(plugin)

    # Telling

    def _reasons(self) -> Iterator[tuple[str, str]]:
        for name, folder in self._folders.items():
            if folder.error:
                yield name, folder.error
            for file in folder.files.values():
                if file.reason:
                    yield folder.label(file.path), file.reason

    def get_plugin_status(self) -> dict[str, Any]:
        """Per kind: its folder, and each file with its plugins or the reason why it has none."""
        if not self._looked:
            self.reload_plugins()
        return {name: _folder_status(folder) for name, folder in self._folders.items()}

    def validate_plugin_structure(self, path: str | Path) -> dict[str, Any]:
        """Load the file on trial: {"valid", "kind", "plugins" (names), "errors"}; changes nothing.

        The kind is that of the folder, or of the class it finds.
        """
        file = Path(path)
        if not file.exists():
            file = ROOT / file
        kinds = [each.kind for each in self._folders.values() if each.path == file.parent.resolve()]
        errors: list[str] = []
        for kind in kinds or [folder.kind for folder in self._folders.values()]:
            try:
                if not is_plugin_file(file.name):
                    raise PluginError(
                        "a plugin file ends in .py, begins with no _ and is not Base_Class.py"
                    )
                loaded = load_plugin(file, read_source(file), kind, self._model_manager)
            except PluginError as error:
                errors.append(str(error))
                continue
            self._retire(loaded)
            return {"valid": True, "kind": kind.name, "plugins": list(loaded.plugins), "errors": []}
        return {"valid": False, "kind": None, "plugins": [], "errors": list(dict.fromkeys(errors))}


def _rank(file: _File) -> tuple[bool, str]:
    return bool(file.loaded and file.loaded.discovered), file.path.name


def _try_devices(loaded: Loaded) -> None:
    for plugin in loaded.plugins.values():
        if isinstance(plugin, DevicePlugin) and is_online(plugin):
            memory_of(plugin)


def _clean_up(plugin: Any) -> None:
    cleanup = getattr(plugin, "cleanup", None)
    if not callable(cleanup):
        return
    try:
        cleanup()
    except BaseException as error:  # a plugin that goes must not take anything with it
        log.warning("cleanup() of plugin %s: %r", type(plugin).__name__, error)


def _folder_status(folder: _Folder) -> dict[str, Any]:
    return {
        "directory": str(folder.path),
        "error": folder.error,
        "plugins": [
            {
                "file": file.path.name,
                "names": list(file.loaded.plugins) if file.loaded else [],
                "loaded": file.loaded is not None,
                "error": file.reason,
                "sha256": file.loaded.digest if file.loaded else None,
            }
            for file in sorted(folder.files.values(), key=lambda file: file.path.name)
        ],
    }
