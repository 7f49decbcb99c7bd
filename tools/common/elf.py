"""Sections of a 64-bit little-endian ELF file (elf(5))."""

import struct
from typing import NamedTuple


class Section(NamedTuple):
    name: str
    kind: int
    offset: int
    size: int


def sections(binary: bytes) -> list[Section]:
    """The sections of a program; ValueError if it is none or its table is damaged."""
    if binary[:6] != b"\x7fELF\x02\x01":
        raise ValueError("this is no 64-bit executable of Linux")
    try:
        (headers,) = struct.unpack_from("<Q", binary, 0x28)
        size, count, names = struct.unpack_from("<HHH", binary, 0x3A)
        entries = [struct.unpack_from("<IIQQQQ", binary, headers + number * size) for number in range(count)]
        strings = binary[entries[names][4] :] if entries else b""
        return [
            Section(strings[name : strings.index(b"\0", name)].decode(), kind, offset, length)
            for name, kind, _, _, offset, length in entries
        ]
    except (struct.error, IndexError, ValueError):
        raise ValueError("the executable's table of sections is damaged") from None
