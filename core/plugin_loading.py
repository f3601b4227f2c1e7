"""From the text of one plugin file to plugin objects that keep the contract, or a plain reason."""

from __future__ import annotations
import __future__ as futures

import hashlib
import importlib.util
import inspect
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from plugins.devices.Base_Class import DevicePlugin
from plugins.interfaces.Base_Class import InterfacePlugin

ROOT = Path(__file__).resolve().parent.parent
"""The folder of the program."""


class PluginError(Exception):
    """Why a file gives no plugin: one sentence for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One folder of plugins: what its classes inherit from and where they keep their name."""

    name: str
    base: type[Any]
    name_attribute: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one file gave."""

    plugins: Mapping[str, Any]
    """By name as the plugin wrote it."""
    discovered: bool
    """`discover()` built them: a file that gives the same name itself goes first."""
    module: str
    digest: str


def kind_of(name: str) -> Kind:
    """Raises KeyError. The engines' base is imported only for them: the device process is small."""
    if name == "devices":
        return Kind(name, DevicePlugin, "device_name")
    if name == "interfaces":
        return Kind(name, InterfacePlugin, "interface_name")
    if name == "engines":
        from plugins.engines.Base_Class import EnginePlugin

        return Kind(name, EnginePlugin, "engine_name")
    raise KeyError(name)


def plugin_files(folder: Path) -> list[Path]:
    """The plugin files of a folder, by name; `Base_Class.py`, `_*.py` and dotfiles are none.

    Raises PluginError if the folder is missing, or if any user of the machine may add files to it.
    """
    try:
        refuse_open_door(folder)
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise PluginError(f"cannot read the folder {folder}: {error.strerror}") from error
    return [folder / name for name in names if is_plugin_file(name)]


def is_plugin_file(name: str) -> bool:
    return name.endswith(".py") and not name.startswith(("_", ".")) and name != "Base_Class.py"


def read_source(path: Path) -> bytes:
    """Raises PluginError also if others may write the file, or if it lies somewhere else."""
    try:
        if path.resolve().parent != path.parent.resolve():
            raise PluginError(f"it is a link to {path.resolve()}, outside of the plugin folder")
        refuse_open_door(path)
        return path.read_bytes()
    except OSError as error:
        raise PluginError(f"cannot be read: {error.strerror}") from error


def refuse_open_door(path: Path) -> None:
    """Raise PluginError if every user of the machine may write to `path`: plugins are code.

    Where the program's own code lies as open (a Windows disk inside WSL shows everything so),
    refusing its plugins would protect nothing.
    """
    if os.name != "posix" or not path.stat().st_mode & stat.S_IWOTH:
        return
    if Path(__file__).stat().st_mode & stat.S_IWOTH:
        return
    raise PluginError(f"every user of this machine may write to it: chmod o-w '{path}'")


def digest_of(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def load_plugin(path: Path, source: bytes, kind: Kind, model_manager: Any = None) -> Loaded:
    """Run the text in a fresh module and build its plugins; raises PluginError, nothing else.

    Compiled from the text each time (never cached bytecode), with postponed annotations: names
    that only annotations use need not be imported.
    """
    module = ModuleType(f"plugins.{kind.name}.{path.stem}")
    module.__name__ += f"@{id(module):x}"
    module.__file__ = str(path)
    module.__package__ = f"plugins.{kind.name}"
    sys.modules[module.__name__] = module  # dataclasses and pickle look there
    try:
        text = importlib.util.decode_source(source)
        flags = futures.annotations.compiler_flag
        exec(compile(text, str(path), "exec", flags=flags, dont_inherit=True), module.__dict__)
        objects, discovered = _build(module, kind, model_manager)
        plugins = {_checked_name(plugin, kind): plugin for plugin in objects}
        if len(plugins) < len(objects):
            raise PluginError("gives the same name to two plugins")
    except BaseException as error:  # also SystemExit, KeyboardInterrupt, RecursionError
        forget_module(module.__name__)
        raise PluginError(reason_of(error, path)) from error
    return Loaded(plugins, discovered, module.__name__, digest_of(source))


def forget_module(name: str) -> None:
    sys.modules.pop(name, None)


def reason_of(error: BaseException, path: Path) -> str:
    """One line: what went wrong, and in which line of the plugin's file."""
    if isinstance(error, PluginError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package not in ("core", "plugins") and package not in sys.stdlib_module_names:
            return (
                f"needs the Python package '{package}', which is not installed: "
                f'"{sys.executable}" -m pip install {package}'
            )
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"line {error.lineno}: {error.msg}"
    said = " ".join(str(error).split())[:300]
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"line {line}: {text}" if line else text


def _build(module: ModuleType, kind: Kind, model_manager: Any) -> tuple[list[Any], bool]:
    discover = getattr(module, "discover", None)
    if callable(discover):
        return _discovered(discover(), kind), True
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, kind.base)
        and value.__module__ == module.__name__
    ]
    concrete = [each for each in dict.fromkeys(classes) if _is_whole(each, classes)]
    if not concrete:
        raise PluginError(f"has no class that inherits from {kind.base.__name__}")
    return [_construct(each, model_manager) for each in concrete], False


def _discovered(found: Any, kind: Kind) -> list[Any]:
    if not isinstance(found, Iterable):
        raise PluginError("discover() must return a list of plugins")
    plugins = list(found)
    for plugin in plugins:
        if not isinstance(plugin, kind.base):
            raise PluginError(
                f"discover() must return {kind.base.__name__} objects, not {type(plugin).__name__}"
            )
    return plugins


def _is_whole(candidate: type[Any], classes: list[type[Any]]) -> bool:
    """True: to be built. False: only a base of others. Raises PluginError: unfinished."""
    if not inspect.isabstract(candidate):
        return not candidate.__name__.startswith("_")
    if any(other is not candidate and issubclass(other, candidate) for other in classes):
        return False
    missing = ", ".join(f"{name}()" for name in sorted(candidate.__abstractmethods__))
    raise PluginError(f"class {candidate.__name__} lacks {missing}")


def _construct(plugin_class: type[Any], model_manager: Any) -> Any:
    if "model_manager" in inspect.signature(plugin_class).parameters:
        return plugin_class(model_manager=model_manager)
    return plugin_class()


def _checked_name(plugin: Any, kind: Kind) -> str:
    """The plugin's name; raises PluginError if it breaks the contract of its kind.

    A device is not asked yet: one that cannot answer now is a device that is offline.
    """
    name = getattr(plugin, kind.name_attribute, None)
    if not isinstance(name, str) or not name.strip():
        raise PluginError(
            f'class {type(plugin).__name__} has no name: call super().__init__("name") '
            f"in its __init__"
        )
    if isinstance(plugin, InterfacePlugin):
        _check_requests(plugin)
    return name.strip()


def _check_requests(plugin: InterfacePlugin) -> None:
    for endpoint in endpoints_of(plugin):
        answer = plugin.validate_request(endpoint, "model")
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], str)):
            raise PluginError(f"validate_request() must return (bool, str), not {answer!r}")
        if not answer[0]:
            raise PluginError(f"validate_request() refuses its own endpoint {endpoint!r}")


def endpoints_of(plugin: InterfacePlugin) -> list[str]:
    """Its endpoints without slashes around, sorted; raises PluginError if there are none."""
    found = plugin.get_supported_endpoints()
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise PluginError('get_supported_endpoints() must return a set such as {"v1/x"}')
    endpoints = list(found)
    if not endpoints or not all(isinstance(each, str) and each.strip("/") for each in endpoints):
        raise PluginError("get_supported_endpoints() must name at least one path, as text")
    return sorted({each.strip("/") for each in endpoints})


def is_online(device: DevicePlugin) -> bool:
    """Its answer; raises PluginError if that is neither yes nor no, and whatever it raises."""
    answer = device.is_online()
    if answer is None:
        raise PluginError("is_online() must return True or False, not None")
    return bool(answer)


def memory_of(device: DevicePlugin) -> tuple[int, int, int]:
    """(total, available, used) in MB; raises PluginError if these are no sensible numbers."""
    answer = device.get_memory_info()
    try:
        total, available, used = (int(each) for each in answer)
    except (TypeError, ValueError, OverflowError):
        raise PluginError(
            f"get_memory_info() must return (total, available, used) in MB, not {answer!r:.80}"
        ) from None
    if total <= 0 or available < 0 or used < 0:
        raise PluginError(f"get_memory_info() returned impossible numbers: {answer!r:.80}")
    return total, min(available, total), used
