"""Makes a DLL that only passes calls on: wine 8 lacks bcryptprimitives.dll, which xllamacpp needs.

An export may name a function of another DLL instead of code of its own ("forwarder"), so this needs
no compiler: the file holds headers and one table.
"""

from __future__ import annotations

import struct
from pathlib import Path

PAGE, SECTOR = 0x1000, 0x200
DLL, EXECUTABLE, LARGE_ADDRESSES, AMD64 = 0x2000, 0x0002, 0x0020, 0x8664
READABLE_DATA = 0x40000040


def write_bcryptprimitives(folder: Path) -> None:
    """`ProcessPrng` has the arguments of RtlGenRandom, which advapi32 calls SystemFunction036."""
    dll = forwarding_dll("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036")
    (folder / "bcryptprimitives.dll").write_bytes(dll)


def forwarding_dll(name: str, function: str, target: str) -> bytes:
    """A 64 bit DLL with one export."""
    table = _export_table(PAGE, name, function, target)
    headers = _headers(len(table))
    return headers.ljust(SECTOR, b"\0") + table.ljust(SECTOR, b"\0")


def _export_table(base: int, name: str, function: str, target: str) -> bytes:
    """The export directory and what it points to; it is loaded at `base`."""
    words = [text.encode("ascii") + b"\0" for text in (name, function, target)]
    tables = base + 40  # the address of the function, of its name, and its number
    places = [tables + 12]
    for word in words[:-1]:
        places.append(places[-1] + len(word))
    directory = struct.pack(
        "<IIHHIIIIIII", 0, 0, 0, 0, places[0], 1, 1, 1, tables, tables + 4, tables + 8
    )
    return directory + struct.pack("<IIHxx", places[2], places[1], 0) + b"".join(words)


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
