"""Make a demo model on this machine, in less than a second and without a download.

usage: make_model.py {chat|embedding|reranker} OUT.gguf     does nothing when OUT is up to date
"""
# ruff: noqa: T201  (a program for a terminal)

import os
import sys
import time
from pathlib import Path


def main() -> int:
    kind, out = sys.argv[1], Path(sys.argv[2])
    recipe = Path(__file__).with_name("tiny_gguf.py")
    if out.exists() and out.stat().st_mtime >= recipe.stat().st_mtime:
        return 0
    print(f"Making the demo model {out.name} ...", flush=True)
    started = time.monotonic()
    try:
        import tiny_gguf
    except ImportError as error:
        print(
            f"The demo models need the Python package '{error.name}'. Install it with: "
            f'"{sys.executable}" -m pip install gguf numpy xllamacpp',
            file=sys.stderr,
        )
        return 3
    out.parent.mkdir(parents=True, exist_ok=True)
    # Two starts at once may both come here: each writes a file of its own and moves it into place.
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        tiny_gguf.write(kind, draft)
        move_into_place(draft, out)
    finally:
        draft.unlink(missing_ok=True)
    print(f"Made {out.name} in {time.monotonic() - started:.1f} s.", flush=True)
    return 0


def move_into_place(draft: Path, out: Path) -> None:
    try:
        os.replace(draft, out)
    except PermissionError:  # Windows, where a running server keeps the file of before open
        if not out.exists():
            raise


if __name__ == "__main__":
    sys.exit(main())
