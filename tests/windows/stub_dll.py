"""Makes a DLL that only passes calls on: wine 8 lacks bcryptprimitives.dll, which xllamacpp needs.

An export may name a function of another DLL instead of code of its own ("forwarder"), so this needs
no compiler: the file holds headers and one table.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

PAGE, SECTOR = 0x1000, 0x200
DLL, EXECUTABLE, LARGE_ADDRESSES, AMD64 = 0x2000, 0x0002, 0x0020, 0x8664
READABLE_DATA = 0x40000040


def write_bcryptprimitives(folder: Path) -> None:
    """`ProcessPrng` has the arguments of RtlGenRandom, which advapi32 calls SystemFunction036."""
    dll = forwarding_dll("bcryptprimitives.dll", {"ProcessPrng": "advapi32.SystemFunction036"})
    (folder / "bcryptprimitives.dll").write_bytes(dll)


def forwarding_dll(name: str, functions: Mapping[str, str]) -> bytes:
    """A 64 bit DLL whose functions are those of other DLLs."""
    table = _export_table(PAGE, name, dict(sorted(functions.items())))
    headers = _headers(len(table))
    return headers.ljust(SECTOR, b"\0") + table.ljust(SECTOR, b"\0")


def _export_table(base: int, name: str, functions: Mapping[str, str]) -> bytes:
    """The export directory and what it points to; it is loaded at `base`."""
    count = len(functions)
    tables = base + 40  # the addresses of the functions, of their names, and their numbers
    words = b""
    places = []
    for word in (name, *functions, *functions.values()):
        places.append(tables + 10 * count + len(words))
        words += word.encode("ascii") + b"\0"
    directory = struct.pack(
        "<IIHHIIIIIII",
        *(0, 0, 0, 0, places[0], 1, count, count),
        *(tables, tables + 4 * count, tables + 8 * count),
    )
    names, targets = places[1 : 1 + count], places[1 + count :]
    return (
        directory + struct.pack(f"<{2 * count}I{count}H", *targets, *names, *range(count)) + words
    )


def _headers(size: int) -> bytes:
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    kind = DLL | EXECUTABLE | LARGE_ADDRESSES
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", AMD64, 1, 0, 0, 0, 240, kind)
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, 0, SECTOR, 0, 0, PAGE)
    optional += struct.pack("<QII", 0x180000000, PAGE, SECTOR)
    optional += struct.pack("<HHHHHHI", 6, 0, 0, 0, 6, 0, 0)
    optional += struct.pack("<IIIHH", 2 * PAGE, SECTOR, 0, 2, 0x100)
    optional += struct.pack("<QQQQII", 1 << 20, PAGE, 1 << 20, PAGE, 0, 16)
    optional += struct.pack("<II", PAGE, size).ljust(16 * 8, b"\0")
    section = b".edata\0\0" + struct.pack(
        "<IIIIIIHHI", size, PAGE, SECTOR, SECTOR, 0, 0, 0, 0, READABLE_DATA
    )
    return dos + coff + optional + section
