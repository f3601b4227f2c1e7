"""Tests on a Windows Python under wine, for Linux: `python -m tests.windows.run [ARGUMENTS]`.

(nothing)                    everything that makes sense there, on a Chinese Windows; then what
                             depends on the code page once more, on a western one
-m pytest tests/test_x.py    whatever a Windows Python is to run, on a western Windows
--locale zh_CN.UTF-8 ...     the same on a Chinese one

The first run makes that Windows: a minute, and 150 MB of downloads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.windows import files, prefix, wine

CHINESE, WESTERN = "zh_CN.UTF-8", "C.UTF-8"
"""Code page 936, and 1252."""
ELSEWHERE = {
    "tests/test_architecture.py": "reads the source, which is the same everywhere",
    "tests/test_docs.py": "reads the documents",
    "tests/sentences/": "reads the source and the texts",
    "tests/bench/": "measures Linux",
    "tests/gpu/": "needs a GPU",
    "tests/test_conftest.py": "tests the tests",
    "tests/test_run_tests.py": "tests the tests",
    "tests/windows/": "is what runs the tests there",
    "tests/webui/test_browser.py": "its browser is one of Linux",
    "tests/e2e/test_ownership.py": "POSIX only: signals; test_windows.py kills a manager there",
    "tests/e2e/test_openai_clients.py": "the OpenAI clients are the same everywhere",
    "tests/launchers/test_guarded.py": "POSIX only: the guardian",
    "tests/launchers/test_guardian.py": "POSIX only: the guardian",
    "tests/launchers/test_local.py": "POSIX only: sh scripts",
    "tests/launchers/test_output.py": "POSIX only: pipes",
}
"""What is not run on Windows: beginnings of paths, and why."""
DEPENDS_ON_THE_CODE_PAGE = (
    "tests/test_output.py",
    "tests/test_log.py",
    "tests/test_launch_batch.py",
    "tests/test_tray_shell.py",
    "tests/launchers/test_base.py",
    "tests/launchers/test_job_object.py",
    "tests/e2e/test_windows.py",
)
SILENCE = 300.0
"""Seconds without a word after which a program that somebody asked for is taken as hung."""


def main(arguments: list[str]) -> int:
    if lacking := wine.missing():
        print(f"not installed: {lacking} (tests/setup-debian.sh installs them)")
        return 1
    locale = WESTERN
    if arguments[:1] == ["--locale"]:
        locale = arguments[1]
        del arguments[:2]
    with wine.alone():
        prefix.prepare()
        if arguments:
            return python(arguments, locale)
        for path, reason in ELSEWHERE.items():
            print(f"not run on Windows: {path} ({reason})")
        outcomes = [
            *whole(files.test_files(ELSEWHERE), CHINESE),
            *whole(DEPENDS_ON_THE_CODE_PAGE, WESTERN),
        ]
    return files.report(outcomes)


def whole(paths: Sequence[str], locale: str) -> list[files.Outcome]:
    print(f"$ {len(paths)} files of tests on a Windows Python ({locale})", flush=True)
    with ready(locale) as env:
        return files.run_all(paths, env)


def python(arguments: list[str], locale: str) -> int:
    print("$ python (win32,", locale + ")", *arguments, flush=True)
    with ready(locale) as env:
        return wine.run([str(wine.PYTHON / "python.exe"), *arguments], env, silence=SILENCE)


@contextmanager
def ready(locale: str) -> Iterator[dict[str, str]]:
    """A screen, and the environment; nothing that ran there is left in the end."""
    with wine.screen() as display:
        env = wine.environment(locale, LLM_MANAGER_TEST_ALL="1", DISPLAY=display)
        try:
            yield env
        finally:
            wine.end_all(env)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
