"""Gives wine 8's ucrtbase.dll two functions that it only names, and that numpy calls."""

from __future__ import annotations

import struct
from pathlib import Path

# A pair of floats comes in the register rcx, a float goes in xmm0.
FUNCTIONS = {
    b"crealf": bytes.fromhex("66 0f 6e c1  c3"),  # movd xmm0, ecx; ret
    b"cimagf": bytes.fromhex("48 c1 e9 20  66 0f 6e c1  c3"),  # shr rcx, 32; movd xmm0, ecx; ret
}
BUILTIN = b"Wine builtin DLL"
"""Stands in the header of wine's own files; with it wine takes its own copy, not this one."""


def patch_ucrtbase(folder: Path) -> None:
    path = folder / "ucrtbase.dll"
    data = bytearray(path.read_bytes())
    data[:0x100] = data[:0x100].replace(BUILTIN, bytes(len(BUILTIN)))
    places = code_of_exports(bytes(data))
    for name, code in FUNCTIONS.items():
        data[places[name] : places[name] + len(code)] = code
    path.write_bytes(data)


def code_of_exports(data: bytes) -> dict[bytes, int]:
    """Where in a 64 bit DLL the code of each function lies that it exports by name."""

    def word(place: int) -> int:
        return int(struct.unpack_from("<I", data, place)[0])

    header = word(60)
    sections = header + 24 + struct.unpack_from("<H", data, header + 20)[0]
    count = struct.unpack_from("<H", data, header + 6)[0]

    def place(address: int) -> int:
        """Of a byte in the file that is at this address when it is loaded."""
        for section in range(sections, sections + 40 * count, 40):
            _, start, size, raw = struct.unpack_from("<4I", data, section + 8)
            if start <= address < start + size:
                return int(raw + address - start)
        raise ValueError(f"no section holds {address:#x}")

    table = place(word(header + 24 + 112))
    functions, names, numbers = (place(word(table + offset)) for offset in (28, 32, 36))
    found = {}
    for number in range(word(table + 24)):
        start = place(word(names + 4 * number))
        name = data[start : data.index(b"\0", start)]
        function = struct.unpack_from("<H", data, numbers + 2 * number)[0]
        found[name] = place(word(functions + 4 * function))
    return found
