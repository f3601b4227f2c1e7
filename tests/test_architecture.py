"""The rules that hold the whole together, read from the source."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OWN = ("core", "plugins", "webui")
LONGEST_FILE = 400
EXCEPTIONS_TO_LENGTH = {"core/model_controller.py", "core/instance.py"}
"""Read from top to bottom as one story; they may not grow past 600 lines either."""

LEVELS: tuple[tuple[str, ...], ...] = (
    (
        "errors", "events", "log", "bridge", "loop", "signals", "output", "states", "log_file",
        "sentences", "interpreter",
    ),
    ("scheduling", "config", "domain"),
    ("launchers",),
    (
        "model_controller", "line", "fleet", "status", "record", "instance", "devices",
        "device_probe", "probe_process", "catalog", "plugin_system", "plugin_loading", "watcher",
        "listening", "client", "foresight", "surroundings", "health", "lease", "refusals",
        "script_environment", "provided",
    ),
    (
        "upstream", "framing", "answer_head", "event_stream", "usage", "exchange", "form",
        "flights", "gateway", "proxy", "access", "patience", "api_server", "server_events",
        "fast_path", "client_connection",
        "admin_api", "admin_changes", "admin_logs", "admin_requests", "webui",
        "tray", "tray_backend", "tray_gtk", "tray_icon", "tray_menu", "tray_notices",
        "tray_texts", "tray_windows", "autostart", "desktop",
    ),
    ("main", "cli", "commands", "app"),
)  # fmt: skip
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


@functools.cache
def sources() -> dict[str, ast.Module]:
    """Every source file of the program by its path."""
    paths = [ROOT / "main.py", *(p for part in OWN for p in sorted((ROOT / part).rglob("*.py")))]
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
        if "__pycache__" not in path.parts
    }


def walk() -> Iterator[tuple[str, ast.AST]]:
    for path, tree in sources().items():
        for node in ast.walk(tree):
            yield path, node


def imported(path: str) -> Iterator[tuple[str, int]]:
    """The modules that a file imports, wherever in it, with the line."""
    for node in ast.walk(sources()[path]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module
            for alias in node.names:  # `from core import log` imports the room `log`
                yield (f"core.{alias.name}" if node.module == "core" else node.module), node.lineno


def room(module: str) -> str:
    """The part of the map that a module belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "core" and len(parts) > 1 else parts[0]


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


PROGRAM = [path for path in sources() if not path.startswith("plugins/")]


def test_every_room_has_its_level() -> None:
    rooms = {room(module_of(path)) for path in PROGRAM if path != "core/__init__.py"}
    assert rooms - set(LEVEL_OF) == set(), "say in LEVELS where the new file belongs"
    assert set(LEVEL_OF) - rooms == set(), "LEVELS names files that are gone"


@pytest.mark.parametrize("path", PROGRAM)
def test_imports_point_downwards(path: str) -> None:
    here = room(module_of(path))
    for module, line in imported(path):
        if module.split(".")[0] not in ("core", "webui", "main"):
            continue
        assert LEVEL_OF[room(module)] <= LEVEL_OF.get(here, 0), f"{path}:{line} imports {module}"


def test_who_imports_whom_goes_in_no_circle() -> None:
    """Imports for the type checker alone are no imports when the program runs."""
    known = {module_of(path): path for path in sources()}
    graph = {
        module: {m for m, _ in imported(path) if m in known and m != module}
        for module, path in known.items()
    }
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for other in graph[module]:
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", [p for p in sources() if p.startswith("plugins/")])
def test_plugins_import_only_their_base_class(path: str) -> None:
    folder = Path(path).parent.as_posix().replace("/", ".")
    for module, line in imported(path):
        if module.split(".")[0] in OWN:
            foundation = path.endswith("/Base_Class.py") and module in ("core.domain",)
            beside = module == f"{folder}.Base_Class" or module.startswith(f"{folder}._")
            assert beside or foundation, f"{path}:{line} imports {module}"


@pytest.mark.parametrize(
    "path",
    [p for p in PROGRAM if p.startswith(("core/scheduling/", "core/config/"))]
    + ["core/domain.py", "core/states.py", "core/status.py", "core/foresight.py"],
)
def test_the_pure_rooms_do_no_work(path: str) -> None:
    forbidden = {"asyncio", "socket", "subprocess", "threading", "aiohttp"}
    if not path.startswith("core/config/"):
        forbidden |= {"os", "time", "pathlib"} - (
            {"pathlib"} if path == "core/domain.py" else set()
        )
    assert not {module.split(".")[0] for module, _ in imported(path)} & forbidden


def test_launchers_do_not_know_each_other() -> None:
    ways = {"core.launchers.local", "core.launchers.ray"}
    for path in sources():
        if path.startswith("core/launchers/") and module_of(path) in ways:
            others = ways - {module_of(path)}
            assert not {module for module, _ in imported(path)} & others


def test_the_controller_does_not_know_who_watches() -> None:
    """History, metrics, dashboard and tray learn by events; no part below them names them."""
    for path in ("core/model_controller.py", "core/instance.py", "core/fleet.py", "core/line.py"):
        rooms = {room(module) for module, _ in imported(path)}
        assert not rooms & {"webui", "tray", "gateway", "admin_api", "app", "aiohttp"}, path


# ---- tests mirror the program ------------------------------------------------------------------

WITHOUT_A_TEST_OF_ITS_OWN = {
    "core/app.py": "tests/e2e",
    "core/surroundings.py": "tests/test_instance.py",  # types only
    "core/scheduling/world.py": "tests/scheduling/test_decide.py",  # values only
    "core/sentences/running.py": "tests/sentences/test_translate.py",  # values only
    "core/sentences/requests.py": "tests/sentences/test_translate.py",
    "core/sentences/setting_up.py": "tests/sentences/test_translate.py",
    "core/launchers/job.py": "tests/launchers/test_job_object.py",
    "core/launchers/job_output.py": "tests/launchers/test_job_object.py",
}


@pytest.mark.parametrize(
    "path", [p for p in sources() if p.startswith("core/") and not p.endswith("__init__.py")]
)
def test_every_core_file_has_its_test(path: str) -> None:
    inside = Path(path).relative_to("core")
    test = Path("tests") / inside.parent / f"test_{inside.name}"
    if path in WITHOUT_A_TEST_OF_ITS_OWN:
        test = Path(WITHOUT_A_TEST_OF_ITS_OWN[path])
    assert (ROOT / test).exists(), f"{path} needs {test.as_posix()}"


def test_every_folder_of_tests_is_a_package() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert (path.parent / "__init__.py").exists(), path.parent


# ---- habits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sources())
def test_files_are_short(path: str) -> None:
    lines = (ROOT / path).read_text(encoding="utf-8").count("\n")
    assert lines <= (600 if path in EXCEPTIONS_TO_LENGTH else LONGEST_FILE), f"{lines} lines"


def test_every_file_has_a_name_that_says_something() -> None:
    for path in (ROOT / part for part in (*OWN, "tests") if (ROOT / part).exists()):
        for file in path.rglob("*.py"):
            stem = file.stem.removeprefix("test_")
            assert stem not in ("utils", "util", "helpers", "helper", "common", "misc"), file


@pytest.mark.parametrize("path", [p for p in PROGRAM if not p.endswith("__init__.py")])
def test_every_file_says_what_it_is(path: str) -> None:
    assert ast.get_docstring(sources()[path]), f"{path} has no docstring"


def test_no_bare_except() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, node in walk()
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert found == []


WINDOWS_LAUNCH = "core/launchers/job_object.py"
"""The one place with a shell: cmd.exe with a checked file name, and nothing of a request."""
WINDOWS_ONLY = {WINDOWS_LAUNCH, "core/launchers/job.py", "core/launchers/job_output.py"}


def test_no_shell() -> None:
    found = []
    for path, node in walk():
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"):
            found.append(f"{path}:{node.lineno} {name}")
        if name.endswith("create_subprocess_shell"):
            found.append(f"{path}:{node.lineno} {name}")
        for keyword in node.keywords:
            constant = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg == "shell" and not constant and path != WINDOWS_LAUNCH:
                found.append(f"{path}:{node.lineno} shell=")
    assert found == []


def test_the_command_processor_is_named_in_one_place() -> None:
    found = {
        path
        for path, node in walk()
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.lower() in ("cmd.exe", "cmd", "/c", "powershell", "bash", "sh", "/bin/sh")
    }
    assert found <= {"core/launchers/local.py", WINDOWS_LAUNCH}


def test_nothing_is_evaluated_but_plugins() -> None:
    found = {
        path
        for path, node in walk()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("exec", "eval", "compile", "__import__")
    }
    assert found <= {"core/plugin_loading.py"}


PLUGIN_CALLS = {"core/plugin_system.py", "core/plugin_loading.py", "core/device_probe.py"}


def test_broad_excepts_are_explained() -> None:
    """`except Exception` stands around plugin calls and at task roots: the line says which."""
    for path in PROGRAM:
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        for node in ast.walk(sources()[path]):
            if not isinstance(node, ast.ExceptHandler) or node.type is None:
                continue
            if ast.unparse(node.type) not in ("Exception", "BaseException"):
                continue
            handler = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            raises = any(isinstance(n, ast.Raise) for n in node.body)
            says = "#" in handler or "log." in handler or raises or path in PLUGIN_CALLS
            assert says, f"{path}:{node.lineno} catches everything: say why"


def test_tasks_live_in_groups() -> None:
    found = []
    for path, node in walk():
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "asyncio.create_task",
            "asyncio.ensure_future",
            "loop.create_task",
        ):
            found.append(f"{path}:{node.lineno}")
    assert found == []


def test_there_is_no_state_in_modules() -> None:
    """A module-level name that is bound to an empty container is there to be filled."""
    found = []
    for path in PROGRAM:
        for node in sources()[path].body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            empty = isinstance(value, ast.List | ast.Set) and not value.elts
            empty |= isinstance(value, ast.Dict) and not value.keys
            empty |= isinstance(value, ast.Call) and ast.unparse(value) in (
                "list()", "dict()", "set()", "deque()", "defaultdict(list)", "Counter()",
            )  # fmt: skip
            if empty:
                found.append(f"{path}:{node.lineno}")
        for inner in ast.walk(sources()[path]):
            if isinstance(inner, ast.Global):
                found.append(f"{path}:{inner.lineno} global")
    assert found == []


def test_platform_modules_are_guarded() -> None:
    """A module that exists on one system only is imported inside a guard or a function."""
    only = {"fcntl", "pwd", "grp", "resource", "termios", "winreg", "msvcrt", "_winapi", "uvloop"}
    found = []
    for path in PROGRAM:
        if path in WINDOWS_ONLY:
            continue
        for node in sources()[path].body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found += [f"{path}: {name}" for name in names if name.split(".")[0] in only]
    assert found == []
    assert sys.version_info >= (3, 11)
