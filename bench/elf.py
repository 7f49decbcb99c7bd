"""Sizes of the sections of a 64-bit ELF file (elf(5)), grouped by purpose."""

from __future__ import annotations

import struct
from pathlib import Path

NO_BITS = 8
# Prefixes of section names and their purpose; the rest is `other`.
KINDS = (
    (".text", "code"),
    (".init", "code"),
    (".fini", "code"),
    (".rodata", "constants"),
    (".data.rel.ro", "relocated"),
    (".rela", "relocated"),
    (".got", "relocated"),
    (".data", "data"),
    (".tdata", "data"),
    (".eh_frame", "unwinding"),
    (".gcc_except", "unwinding"),
)


def parts(file: Path) -> dict[str, int]:
    """Bytes in the file for each purpose; they add up to its size."""
    content = file.read_bytes()
    found = {kind: 0 for _, kind in KINDS}
    for name, size in sections(content):
        for begin, kind in KINDS:
            if name.startswith(begin):
                found[kind] += size
                break
    return {**found, "other": len(content) - sum(found.values())}


def sections(content: bytes) -> list[tuple[str, int]]:
    """Name and size of every section with bytes in the file."""
    if content[:5] != b"\x7fELF\x02":
        raise ValueError("not a 64-bit ELF file")
    (at,) = struct.unpack_from("<Q", content, 0x28)
    each, count, names = struct.unpack_from("<3H", content, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", content, at + each * number) for number in range(count)]
    if not headers:
        return []
    place = headers[names][4]
    found = []
    for name, kind, _, _, _, size in headers:
        begin = place + name
        text = content[begin : content.index(b"\0", begin)].decode()
        if kind != NO_BITS:
            found.append((text, size))
    return found
