"""Read by every Python under wine when it starts: starting a process is tried twice.

One start in some 300 fails there with error 1359, which no Windows does.
"""

import sys

if sys.platform == "win32":
    import _winapi

    create = _winapi.CreateProcess
    WINES_FAULT = 1359

    def create_again(*arguments):  # type: ignore[no-untyped-def]
        try:
            return create(*arguments)
        except OSError as error:
            if error.winerror != WINES_FAULT:
                raise
            return create(*arguments)

    _winapi.CreateProcess = create_again
