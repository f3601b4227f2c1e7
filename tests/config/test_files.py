from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from core.config.files import PROGRAM_FOLDER, Files, ScriptRefused

HERE = os.path.abspath(os.path.join(os.sep, "srv", "llm"))


def files(platform: str = "linux", existing: set[str] | None = None) -> Files:
    return Files(HERE, platform, None if existing is None else existing.__contains__)


@pytest.mark.parametrize(
    ("written", "platform", "file"),
    [
        ("scripts\\x.bat", "win32", "scripts/x.bat"),
        ("scripts\\x.bat", "linux", "scripts/x.sh"),
        ("scripts/x.CMD", "darwin", "scripts/x.sh"),
        ("x.sh", "win32", "x.sh"),
        ("a\\..\\.\\b.bat", "win32", "b.bat"),
        ("x", "linux", "x"),
        ("a/../b/./x.sh", "linux", "b/x.sh"),
        ("脚本/启动 模型.bat", "linux", "脚本/启动 模型.sh"),
        ("x.y.bat", "win32", "x.y.bat"),
    ],
)
def test_the_script_of_this_system(written: str, platform: str, file: str) -> None:
    assert files(platform).script(written) == os.path.join(HERE, *file.split("/"))


@pytest.mark.parametrize(
    "written", ["..\\x.bat", "a/../../x.sh", "../llm2/x.sh", "/etc/x.sh", "..", "."]
)
def test_a_script_elsewhere_must_be_allowed(written: str) -> None:
    with pytest.raises(ScriptRefused, match=r"lies outside .* script_dirs"):
        files("linux").script(written)


def test_an_allowed_folder() -> None:
    mine = files()
    mine.allow_scripts_in("../other")
    mine.allow_scripts_in(os.path.abspath("/opt/x"))
    assert mine.script("../other/sub/x.sh").endswith(os.path.join("srv", "other", "sub", "x.sh"))
    assert mine.script(os.path.abspath("/opt/x/y.sh")) == os.path.abspath("/opt/x/y.sh")
    with pytest.raises(ScriptRefused):
        mine.script("../other2/x.sh")


@pytest.mark.parametrize(
    "written",
    [
        *('a"b.bat', "a%PATH%.bat", "a|b.bat", "x.bat:stream", "a?.bat", "<a.bat"),
        *("x.bat.", "x.bat ", "x.bat. .", "dir. /x.bat"),
        *("CON", "nul.bat", "sub/com1.cmd", "Aux"),
    ],
)
def test_windows_refuses_what_cmd_reads_otherwise(written: str) -> None:
    with pytest.raises(ScriptRefused, match="Windows"):
        files("win32").script(written)
    assert files("linux").script(written)


@pytest.mark.parametrize("written", ["scripts/", "scripts\\"])
def test_a_folder_is_no_script(written: str) -> None:
    with pytest.raises(ScriptRefused, match="folder"):
        files().script(written)


def test_what_is_missing_is_known_only_with_a_disk() -> None:
    assert not files().is_missing("x")
    assert files(existing=set()).is_missing("x")
    assert not files(existing={"x"}).is_missing("x")


def test_plugins_beside_the_config_go_before_those_of_the_program() -> None:
    own = os.path.join(HERE, "plugins", "devices")
    shipped = os.path.join(PROGRAM_FOLDER, "plugins/devices")
    assert files().plugin_folder("plugins\\devices") == Path(own)
    assert files(existing={own, shipped}).plugin_folder("plugins/devices") == Path(own)
    assert files(existing={shipped}).plugin_folder("plugins/devices") == Path(shipped)
    assert files(existing=set()).plugin_folder("plugins/devices") == Path(own)


if sys.platform == "win32":

    def test_a_drive_is_not_part_of_a_name() -> None:
        mine = files("win32")
        mine.allow_scripts_in("D:\\models")
        assert mine.script("D:\\models\\x.bat") == "D:\\models\\x.bat"
