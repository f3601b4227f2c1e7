"""The files that pages load: looked up by name in a dictionary, never by joining a path."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

FOLDER = Path(__file__).resolve().parent / "static"
TYPES = MappingProxyType(
    {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}
)


@dataclass(frozen=True, slots=True)
class Asset:
    data: bytes
    packed: bytes
    """Compressed with gzip."""
    kind: str


class Assets:
    """All files of the folder, read once; `version` changes with any byte of them."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.files: Mapping[str, Asset] = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.suffix in TYPES
        }
        digest = hashlib.blake2s(digest_size=6)
        for name, asset in self.files.items():
            digest.update(name.encode() + b"\0" + asset.data)
        self.version = digest.hexdigest()


def _read(path: Path) -> Asset:
    data = path.read_bytes()
    return Asset(data, gzip.compress(data, 6, mtime=0), TYPES[path.suffix] + _charset(path.suffix))


def _charset(suffix: str) -> str:
    return "" if suffix == ".png" else "; charset=utf-8"
