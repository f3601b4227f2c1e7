"""`python -m venv FOLDER` for the embeddable Python, which lacks that module: a small one.

Its python.exe finds the DLL of the Python that made it on the PATH, and shares its packages.
"""

import shutil
import sys
from pathlib import Path

if __name__ == "__main__":
    base, folder = Path(sys.executable).parent, Path(sys.argv[1])
    (folder / "Scripts").mkdir(parents=True, exist_ok=True)
    for name in ("python.exe", "pythonw.exe"):
        shutil.copy(base / name, folder / "Scripts")
    settings = f"home = {base}\ninclude-system-site-packages = true\n"
    (folder / "pyvenv.cfg").write_text(settings, encoding="utf-8")
