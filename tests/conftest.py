"""Rules for the whole run."""

from __future__ import annotations

import os
import sys
from collections import Counter

import pytest

from tests.windows.here import under_wine

ALL = os.environ.get("LLM_MANAGER_TEST_ALL") == "1"
"""Everything that a test can need is installed here: a skipped test is a failed run."""
DECLARED = ("POSIX only: ", "wine cannot ") if sys.platform == "win32" else ()
"""How the reason of a skip begins that is meant: no installation would help."""

WINES_TIME = 240
"""Seconds; processes start several times as slowly there."""

if sys.platform != "win32":  # not skipped: there is nothing in it that could run here
    collect_ignore = ["test_launch_batch.py", "test_tray_shell.py"]


def skipped(config: pytest.Config) -> Counter[tuple[str, str]]:
    """How many tests of a file were skipped for a reason; a single one stands under its name."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    found: dict[tuple[str, str], list[str]] = {}
    for report in reporter.stats.get("skipped", ()) if reporter else ():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        key = report.nodeid.partition("::")[0], str(reason).removeprefix("Skipped: ")
        found.setdefault(key, []).append(report.nodeid)
    return Counter(
        {
            (names[0] if len(names) == 1 else file, reason): len(names)
            for (file, reason), names in found.items()
        }
    )


def forbidden(skips: Counter[tuple[str, str]]) -> bool:
    return ALL and not all(reason.startswith(DECLARED) for _, reason in skips)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One that hangs under wine ends its worker, with all the tests of its file: give it time."""
    if not under_wine():
        return
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = max(WINES_TIME, marker.args[0] if marker else 0)
        item.add_marker(pytest.mark.timeout(seconds), append=False)


@pytest.fixture(scope="session", autouse=True)
def _folder_for_temporary_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Made before a test says that this is another system: pytest asks which it is."""
    tmp_path_factory.getbasetemp()


if sys.platform == "win32":

    def pytest_asyncio_loop_factories() -> dict[str, type]:
        from tests.windows.patient_loop import PatientLoop

        return {"proactor": PatientLoop}


class Teller:
    """Names a failed test at once: a long run may be ended before its summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message.strip().partition("\n")[0] if crash else ""
            reporter.write_line(f"\nfailed: {report.nodeid}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Teller(config))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and forbidden(skipped(session.config)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what was skipped and why: a skip must not go unnoticed."""
    skips = skipped(config)
    if not skips:
        return
    bad = forbidden(skips)
    title = "skipped: something is missing here"
    if ALL:
        title = "skipped, and it may not be" if bad else "skipped: it has no meaning here"
    terminalreporter.section(title, red=bad, yellow=not bad)
    for (name, reason), count in skips.items():
        what = name if count == 1 else f"{name} ({count} tests)"
        mark = "" if not ALL or reason.startswith(DECLARED) else "NOT ALLOWED: "
        terminalreporter.line(f"{mark}{what}: {reason}")
