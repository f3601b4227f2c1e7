"""Rules for the whole run."""

from __future__ import annotations

import os

import pytest

ALL = os.environ.get("LLM_MANAGER_TEST_ALL") == "1"
"""Everything that a test can need is installed here: a skipped test is a failed run."""


def skipped(config: pytest.Config) -> list[pytest.TestReport]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return list(reporter.stats.get("skipped", ())) if reporter else []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if ALL and skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name each skipped test and its reason: a skip must not go unnoticed."""
    reports = skipped(config)
    if not reports:
        return
    title = "skipped, and nothing may be here" if ALL else "skipped: something is missing here"
    terminalreporter.section(title, red=ALL, yellow=not ALL)
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {str(reason).removeprefix('Skipped: ')}")
