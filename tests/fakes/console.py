"""Windows: run a program in this process, and raise the signals that stdin names.

    python console.py main.py ...          then, for example, the line SIGINT

A console does the same with Ctrl+C, but a Ctrl+C that a test sends reaches the test as well.
"""

from __future__ import annotations

import runpy
import signal
import sys
import threading


def obey() -> None:
    for line in sys.stdin:
        signal.raise_signal(signal.Signals[line.strip()])


if __name__ == "__main__":
    threading.Thread(target=obey, daemon=True).start()
    del sys.argv[0]
    sys.path[0] = sys.argv[0].replace("\\", "/").rpartition("/")[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
