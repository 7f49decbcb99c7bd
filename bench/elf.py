"""Sizes of a program's sections, grouped by purpose."""

from __future__ import annotations

from pathlib import Path

import processes  # noqa: F401  # Makes the modules of tools known.

from tools.common.elf import sections

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
    for section in sections(content):
        kind = next((kind for begin, kind in KINDS if section.name.startswith(begin)), None)
        if kind and section.kind != NO_BITS:
            found[kind] += section.size
    return {**found, "other": len(content) - sum(found.values())}
