from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest

from core.plugin_loading import (
    PluginError,
    digest_of,
    is_online,
    is_plugin_file,
    kind_of,
    load_plugin,
    memory_of,
    plugin_files,
    read_source,
)
from plugins.devices.Base_Class import DevicePlugin

HEAD = "from plugins.devices.Base_Class import DevicePlugin\n"
BODY = """
class D(DevicePlugin):
    def __init__(self):
        super().__init__("d")
    def is_online(self):
        return True
    def get_memory_info(self):
        return 3, 2, 1
"""
INTERFACE = """
from plugins.interfaces.Base_Class import InterfacePlugin
class I(InterfacePlugin):
    def __init__(self, model_manager=None):
        super().__init__("I", model_manager)
    def health_check(self, model_alias, port, start_time, timeout_seconds):
        return True, ""
    def get_supported_endpoints(self):
        return {ENDPOINTS}
    def validate_request(self, path, model_alias):
        return {ANSWER}
"""


def load(text: str, kind: str = "devices") -> dict[str, object]:
    source = textwrap.dedent(text).encode()
    return dict(load_plugin(Path("/somewhere/x.py"), source, kind_of(kind)).plugins)


def interface(endpoints: str, answer: str) -> dict[str, object]:
    return load(
        INTERFACE.replace("{ENDPOINTS}", endpoints).replace("{ANSWER}", answer), "interfaces"
    )


def reason(text: str, kind: str = "devices") -> str:
    with pytest.raises(PluginError) as caught:
        load(text, kind)
    return str(caught.value)


def test_a_whole_file_gives_its_plugin() -> None:
    assert isinstance(load(HEAD + BODY)["d"], DevicePlugin)


def test_annotations_are_not_evaluated() -> None:
    assert "d" in load(HEAD + BODY.replace("is_online(self)", "is_online(self) -> Unheard[Of]"))


def test_a_relative_import_of_the_base_works() -> None:
    assert isinstance(load("from .Base_Class import DevicePlugin\n" + BODY)["d"], DevicePlugin)


def test_dataclasses_find_their_module() -> None:
    text = "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n"
    assert "d" in load(text + HEAD + BODY)


def test_several_classes_and_bases_in_between_count_once_each() -> None:
    text = (
        HEAD
        + BODY.replace("class D(", "class _Shared(")
        + textwrap.dedent(
            """
        class A(_Shared):
            def __init__(self): DevicePlugin.__init__(self, "a")
        class B(_Shared):
            def __init__(self): DevicePlugin.__init__(self, "b")
        Alias = B
        """
        )
    )
    assert set(load(text)) == {"a", "b"}


@pytest.mark.parametrize(
    "error", [*(each.__name__ for each in (SystemExit, KeyboardInterrupt, RecursionError, OSError))]
)
def test_whatever_the_import_raises_is_a_reason(error: str) -> None:
    assert reason(f"\nraise {error}('words')") == f"line 2: {error}: words"


def test_endless_recursion_is_a_reason() -> None:
    assert "RecursionError" in reason("def f(): f()\nf()")


def test_a_missing_package_comes_with_the_line_that_installs_it() -> None:
    said = reason("import no_such_package.inside")
    assert "'no_such_package'" in said
    assert f'"{sys.executable}" -m pip install no_such_package' in said


def test_a_missing_package_in_the_constructor_too() -> None:
    text = HEAD + BODY.replace('super().__init__("d")', "import no_such_package")
    assert "pip install no_such_package" in reason(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def (", "line 1: invalid syntax"),
        ("a\0b", "null bytes"),
        ("x = 1", "no class that inherits from DevicePlugin"),
        ("from plugins.devices.Base_Class import *", "no class that inherits"),
        (HEAD + "class D(DevicePlugin): ...", "class D lacks get_memory_info(), is_online()"),
        (HEAD + BODY.replace('super().__init__("d")', "pass"), "call super().__init__"),
        (HEAD + BODY.replace('"d"', '" "'), "call super().__init__"),
        (HEAD + BODY.replace("(self):\n        super", "(self, n):\n        super"), "'n'"),
        (HEAD + BODY + BODY.replace("class D", "class E"), "same name to two plugins"),
        ("def discover(): return 3", "must return a list"),
        ("def discover(): return [3]", "DevicePlugin objects, not int"),
    ],
)
def test_what_breaks_the_contract_is_refused(text: str, words: str) -> None:
    before = set(sys.modules)
    assert words in reason(text)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("endpoints", "answer", "words"),
    [
        ("'v1/x'", "True, ''", "must return a set"),
        ("set()", "True, ''", "at least one path"),
        ("{3}", "True, ''", "at least one path"),
        ("None", "True, ''", "must return a set"),
        ("{'v1/x'}", "None", "must return (bool, str)"),
        ("{'v1/x'}", "True", "must return (bool, str)"),
        ("{'v1/x'}", "(True,)", "must return (bool, str)"),
        ("{'v1/x'}", "Tru", "NameError"),
        ("{'v1/x'}", "False, 'no'", "refuses its own endpoint 'v1/x'"),
    ],
)
def test_an_interface_is_asked_for_its_own_endpoints(
    endpoints: str, answer: str, words: str
) -> None:
    with pytest.raises(PluginError) as caught:
        interface(endpoints, answer)
    assert words in str(caught.value)


def test_an_interface_that_keeps_the_contract_is_taken() -> None:
    assert set(interface("['/v1/x/', 'v1/y']", "True, ''")) == {"I"}


def test_only_plugin_files_are_taken(tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "Base_Class.py", "_x.py", ".a.py", "a.pyc", "a.py~", "4913"):
        (tmp_path / name).touch()
    assert [path.name for path in plugin_files(tmp_path)] == ["a.py", "b.py"]
    assert not is_plugin_file("__init__.py")


def test_a_missing_folder_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="cannot read the folder"):
        plugin_files(tmp_path / "none")


@pytest.mark.skipif(os.name != "posix", reason="POSIX only: mode bits")
def test_what_everybody_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.touch()
    file.chmod(0o666)
    with pytest.raises(PluginError, match="chmod o-w"):
        read_source(file)
    file.chmod(0o664)
    assert read_source(file) == b""
    tmp_path.chmod(0o777)
    with pytest.raises(PluginError, match="chmod o-w"):
        plugin_files(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="POSIX only: links without a privilege")
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "plugins"
    inside.mkdir()
    (tmp_path / "outside.py").touch()
    (inside / "real.py").touch()
    (inside / "out.py").symlink_to(tmp_path / "outside.py")
    (inside / "in.py").symlink_to("real.py")
    with pytest.raises(PluginError, match="outside of the plugin folder"):
        read_source(inside / "out.py")
    assert read_source(inside / "in.py") == b""


def test_the_digest_is_that_of_the_bytes() -> None:
    assert digest_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Answers(DevicePlugin):
    def __init__(self, online: object, memory: object) -> None:
        super().__init__("answers")
        self.answers = (online, memory)

    def is_online(self) -> bool:
        return self.answers[0]  # type: ignore[return-value]

    def get_memory_info(self) -> tuple[int, int, int]:
        return self.answers[1]  # type: ignore[return-value]


@pytest.mark.parametrize(
    "memory",
    [None, (), (1, 2), (1, 2, 3, 4), 5, ("a", 1, 1), (float("nan"), 1, 1), (0, 0, 0), (9, -1, 0)],
)
def test_impossible_memory_is_refused(memory: object) -> None:
    with pytest.raises(PluginError, match="get_memory_info"):
        memory_of(Answers(True, memory))


def test_possible_memory_is_taken() -> None:
    assert memory_of(Answers(True, [10.7, 12, 1])) == (10, 10, 1)


def test_online_is_yes_or_no() -> None:
    assert is_online(Answers(1, None))
    assert not is_online(Answers(False, None))
    with pytest.raises(PluginError, match="not None"):
        is_online(Answers(None, None))
