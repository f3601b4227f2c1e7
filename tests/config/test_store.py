from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.config.diff import Change
from core.config.store import ConfigStore, find_config, read_config, read_text, write_text
from core.errors import ConfigError
from tests.config.examples import model, text
from tests.windows.here import under_wine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_bytes(text({"chat": model("c1"), "other": model("o")}).encode())
    return file


# -- finding and reading


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("config.json", "config-rebuild.json", "config.yaml"), "config.json"),
        (("config-rebuild.json", "config.yaml"), "config-rebuild.json"),
        (("config.yaml",), "config.yaml"),
    ],
)
def test_the_usual_names_in_order(tmp_path: Path, files: tuple[str, ...], found: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert find_config(None, {}, tmp_path) == tmp_path / found
    assert find_config(None, {"LLM_MANAGER_CONFIG": " "}, tmp_path) == tmp_path / found


def test_who_asks_for_a_file_gets_it(tmp_path: Path, path: Path) -> None:
    mine, other = tmp_path / "mine.json", tmp_path / "other.json"
    mine.touch()
    other.touch()
    assert find_config(None, {"LLM_MANAGER_CONFIG": str(mine)}, tmp_path) == mine
    assert find_config(other, {"LLM_MANAGER_CONFIG": str(mine)}, tmp_path) == other


def test_a_file_asked_for_is_never_replaced_by_another(tmp_path: Path, path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.json \(--config\)"):
        find_config(tmp_path / "nothing.json", {}, tmp_path)
    with pytest.raises(ConfigError, match=r"nothing\.json \(LLM_MANAGER_CONFIG\)"):
        find_config(None, {"LLM_MANAGER_CONFIG": str(tmp_path / "nothing.json")}, tmp_path)


def test_no_config_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(None, {}, tmp_path)
    for name in ("config.json", "config-rebuild.json", "config.yaml"):
        assert str(tmp_path / name) in caught.value.message


def test_reading_looks_for_scripts_and_plugins(path: Path) -> None:
    loaded = read_config(path, {"LLM_MANAGER_PORT": "9000"})
    assert loaded.config is not None
    assert loaded.config.program.port == 9000
    assert [warning.path for warning in loaded.warnings] == [
        "$.chat.CPU.bat_path",
        "$.other.CPU.bat_path",
    ]
    root = Path(__file__).parents[2]
    assert loaded.config.program.device_plugin_dir == root / "plugins" / "devices"
    (path.parent / "plugins" / "devices").mkdir(parents=True)
    again = read_config(path).config
    assert again is not None
    assert again.program.device_plugin_dir == path.parent / "plugins" / "devices"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b'{\n"a": "\xc4\xe3"}', "not UTF-8 (line 2)"), (b"\xff\xfe{\x00", "not UTF-8 (line 1)")],
)
def test_another_encoding_is_a_problem(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    assert said in str(read_config(path).problems[0])


def test_no_file_is_a_problem(tmp_path: Path) -> None:
    loaded = read_config(tmp_path / "none.json")
    assert "cannot be read" in str(loaded.problems[0])


# -- writing


def test_writing_leaves_one_file_with_its_permissions(path: Path) -> None:
    if sys.platform != "win32":
        path.chmod(0o640)
    write_text(path, "é\r\nx\n")
    assert path.read_bytes() == "é\r\nx\n".encode()
    assert os.listdir(path.parent) == [path.name]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        write_text(path.with_name("new.json"), "x")
        assert stat.S_IMODE(path.with_name("new.json").stat().st_mode) == 0o600


if sys.platform != "win32":

    def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path, path: Path) -> None:
        link = tmp_path / "link" / "config.json"
        link.parent.mkdir()
        link.symlink_to(path)
        write_text(link, "new")
        assert link.is_symlink()
        assert path.read_text() == "new"
        assert os.listdir(link.parent) == ["config.json"]


def test_a_file_that_somebody_holds_open_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = os.replace, []

    def busy(source: str, target: Path) -> None:
        tries.append(source)
        if len(tries) < 3:
            raise PermissionError("in use")
        real(source, target)

    monkeypatch.setattr(os, "replace", busy)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert len(tries) == 3


def test_a_write_that_fails_leaves_the_old_file_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = path.read_bytes()

    def refuse(source: str, target: Path) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="cannot be replaced: another program"):
        write_text(path, "new")
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]


if sys.platform == "win32":

    def test_an_editor_that_holds_the_file_is_waited_for(
        path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        editor = path.open("rb")
        monkeypatch.setattr(time, "sleep", lambda seconds: editor.close())
        write_text(path, "new")
        assert path.read_text() == "new"
        assert os.listdir(path.parent) == [path.name]

    @pytest.mark.skipif(under_wine(), reason="wine cannot refuse to replace a read-only file")
    def test_a_read_only_file_stays_and_nothing_is_left_beside_it(path: Path) -> None:
        old = path.read_bytes()
        path.chmod(stat.S_IREAD)
        try:
            with pytest.raises(PermissionError, match="may not be written to"):
                write_text(path, "new")
            assert path.read_bytes() == old
            assert os.listdir(path.parent) == [path.name]
        finally:
            path.chmod(stat.S_IREAD | stat.S_IWRITE)

    def test_an_editor_that_keeps_the_file_is_told_of(path: Path) -> None:
        old = path.read_bytes()
        with path.open("rb"), pytest.raises(PermissionError, match="another program holds it"):
            write_text(path, "new")
        assert path.read_bytes() == old
        assert os.listdir(path.parent) == [path.name]


def test_leftovers_of_killed_writers_are_removed_later(path: Path) -> None:
    old = path.with_name(f".{path.name}.abc.tmp")
    young = path.with_name(f".{path.name}.def.tmp")
    for file in (old, young):
        file.touch()
    os.utime(old, (1, 1))
    write_text(path, "x")
    assert not old.exists()
    assert young.exists()


NURSERY = """
import os, signal, sys, time
from pathlib import Path
from core.config.store import write_text
for line in sys.stdin:
    writer = os.fork()
    while not writer:
        for letter in "ab":
            write_text(Path(sys.argv[1]), letter * 300_000)
    time.sleep(float(line))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    print("killed", flush=True)
"""

if sys.platform != "win32":

    def test_killed_at_any_moment_it_is_old_or_new_never_a_mix(path: Path) -> None:
        whole = {"a" * 300_000, "b" * 300_000}
        path.write_text("a" * 300_000)
        with subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        ) as nursery:
            assert nursery.stdin
            assert nursery.stdout
            for kill in range(60):
                nursery.stdin.write(f"{kill * 0.0007}\n")
                nursery.stdin.flush()
                assert nursery.stdout.readline() == "killed\n"
                assert path.read_text() in whole
            nursery.stdin.close()


# -- the store


def test_a_store_begins_with_a_valid_file(path: Path) -> None:
    store = ConfigStore(path)
    assert list(store.current.models) == ["c1", "o"]
    assert store.problems == ()
    assert len(store.warnings) == 2


def test_a_store_without_a_valid_file_tells_everything(path: Path) -> None:
    path.write_text(text(port="x", host=1))
    with pytest.raises(ConfigError, match="2 problems") as caught:
        ConfigStore(path)
    assert len(caught.value.problems) == 2
    assert "$.program.port" in caught.value.message


def test_a_change_is_put_into_force(path: Path) -> None:
    store = ConfigStore(path)
    path.write_text(text({"chat": model("c1", pinned=True)}, port=9000))
    assert store.reload() == Change(removed=("o",), updated=("c1",), after_restart=("port",))
    assert store.current.models["c1"].pinned
    assert store.reload() == Change()


def test_a_bad_file_changes_nothing_until_it_is_good_again(path: Path) -> None:
    store = ConfigStore(path)
    before, good = store.current, path.read_text()
    for bad in (good[:-5], text(port="x"), ""):
        path.write_text(bad)
        assert store.reload() is None
        assert store.current is before
        assert store.problems
    path.unlink()
    assert store.reload() is None
    path.write_text(good)
    assert store.reload() == Change()
    assert store.problems == ()


def test_the_environment_stays_in_force(path: Path) -> None:
    store = ConfigStore(path, {"LLM_MANAGER_PORT": "9000"})
    path.write_text(text(port=1234))
    store.reload()
    assert store.current.program.port == 9000


def test_a_text_with_problems_is_not_written(path: Path) -> None:
    store = ConfigStore(path)
    old = path.read_bytes()
    with pytest.raises(ConfigError, match="a problem"):
        store.write(text(port="x"))
    assert path.read_bytes() == old
    assert store.write(text({"other": model("o")})) == Change(removed=("c1",))


def test_an_option_is_set_and_nothing_else(path: Path) -> None:
    store = ConfigStore(path)
    old = path.read_text()
    assert store.set_model_option("c1", "pinned", True) == Change(updated=("c1",))
    assert store.current.models["c1"].pinned
    changed = json.loads(path.read_text())
    assert changed["chat"].pop("pinned") is True
    assert changed == json.loads(old)
    assert store.set_model_option("c1", "pinned", False) == Change(updated=("c1",))
    assert path.read_text().splitlines()[:5] == old.splitlines()[:5]


@pytest.mark.parametrize("option", ["env", "engine", "CPU", "bat_path", "mode", "port", "aliases"])
def test_what_runs_cannot_be_set_from_outside(path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match="by hand"):
        ConfigStore(path).set_model_option("c1", option, "x")


def test_an_option_that_does_not_fit_is_refused(path: Path) -> None:
    store = ConfigStore(path)
    old = path.read_bytes()
    with pytest.raises(ConfigError, match="true or false"):
        store.set_model_option("c1", "pinned", "yes")
    with pytest.raises(KeyError):
        store.set_model_option("nobody", "pinned", True)
    path.write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        store.set_model_option("c1", "pinned", True)
    path.write_bytes(old)
    yaml = path.with_suffix(".yaml")
    yaml.write_bytes(old)
    with pytest.raises(ConfigError, match="is not JSON"):
        ConfigStore(yaml).set_model_option("c1", "pinned", True)


def test_the_door_to_the_network_is_closed_and_nothing_else(path: Path) -> None:
    store = ConfigStore(path)
    before = json.loads(path.read_text())
    assert store.keep_to_this_machine() == Change(after_restart=("host",))
    assert store.current.program.host == "127.0.0.1"
    after = json.loads(path.read_text())
    assert after["program"].pop("host") == "127.0.0.1"
    before.get("program", {}).pop("host", None)
    assert after == {"program": {}, **before}
    assert not store.keep_to_this_machine()


def test_a_door_that_others_hold_is_not_closed(path: Path) -> None:
    old = path.read_bytes()
    with pytest.raises(ConfigError, match="LLM_MANAGER_HOST decides"):
        ConfigStore(path, {"LLM_MANAGER_HOST": "0.0.0.0"}).keep_to_this_machine()
    store = ConfigStore(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        store.keep_to_this_machine()
    path.write_bytes(old)
    yaml = path.with_suffix(".yaml")
    yaml.write_bytes(old)
    with pytest.raises(ConfigError, match="change host there"):
        ConfigStore(yaml).keep_to_this_machine()


def test_text_comes_with_its_line_ends(path: Path) -> None:
    path.write_bytes(b"a\r\nb")
    assert read_text(path) == "a\r\nb"
