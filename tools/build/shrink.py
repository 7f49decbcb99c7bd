"""Shrinks the page: removes comments, indentation and long names that browsers do not need.

Files in, files out, as a map from name to content; nothing else is touched.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import string
from collections.abc import Iterator

# Names that wasm-bindgen gives: of imports and exports, mostly with a hash, which no compression makes smaller and
# which both files have; and of its functions. 4 kB of the page after brotli.
LONG_NAME = re.compile(
    rb"\b(?:[a-z_]\w*_h?[0-9a-f]{16}\w*|__(?:wb|ext)\w+|(?:\w+(?:Wasm0|Table0|Memory0|Closure|LikeNone)|handleError)\b)"
)
# 0.8 kB. With the line to itself: within one, two slashes may be of an address.
LINE_COMMENT = re.compile(rb"^[ \t]*//.*$", re.MULTILINE)
# The end of wasm-bindgen's loader, for browsers and servers that this page does not have: all that can run the module
# compile it while it loads, and the frontend sends it with its media type. 0.6 kB.
LOADER = re.compile(rb"async function __wbg_load\(.*?export \{ initSync, ", re.DOTALL)
SHORT_LOADER = b"""\
async function __wbg_init({ module_or_path }) {
const { instance } = await WebAssembly.instantiateStreaming(fetch(module_or_path), __wbg_get_imports());
return __wbg_finalize_init(instance);
}
export { """
# The page's own files have a hash of the content in their names, both files of a program the same
# one; what is loaded later has a plain name.
NAME = re.compile(r"(.+?)(-[0-9a-f]{16})?((?:_bg)?\.(?:js|wasm|css|svg))$")

# Sections of a module (WebAssembly Core 2.0, section 5.5.2), and LEB128: seven bits a byte, the lowest first.
IMPORTS, EXPORTS = 2, 7
NUMBER = re.compile(rb"[\x80-\xff]{0,4}[\0-\x7f]")


class Unexpected(Exception):
    """A file is not as Trunk and wasm-bindgen write it."""


def shrink(files: dict[str, bytes]) -> dict[str, bytes]:
    """Every file in its shortest form, under a name with the hash of its new content."""
    short = {}
    for name, module in programs(files).items():
        short[name] = short[module] = short_names(files[name])
    slimmed = {}
    for name, content in files.items():
        if name.endswith(".js"):
            content = without_indentation(LINE_COMMENT.sub(b"", content))
            content = LOADER.sub(SHORT_LOADER, content)
            content = renamed(content, short[name])
        elif name.endswith(".wasm"):
            content = renamed_module(content, short[name])
        elif name.endswith(".css"):
            content = without_indentation(without_comments(content, b"/*", b"*/"))
        elif name.endswith(".html"):
            content = without_indentation(without_comments(LINE_COMMENT.sub(b"", content), b"<!--", b"-->"))
        slimmed[name] = content
    return with_new_hashes(slimmed)


def programs(files: dict[str, bytes]) -> dict[str, str]:
    """The script of each program with its module: of the page, and of what it loads later."""
    found = {name: name.removesuffix(".js") + "_bg.wasm" for name in files if name.endswith(".js")}
    if not found or set(found.values()) != {name for name in files if name.endswith(".wasm")}:
        raise Unexpected(f"a module for each script was expected, not {sorted(files)}")
    return found


def short_names(script: bytes) -> dict[bytes, bytes]:
    """A short name for each long one of the script, in the order in which they appear."""
    taken = set(re.findall(rb"[\w$]+", script))
    free = (name for name in candidates() if name not in taken)
    long_names = dict.fromkeys(LONG_NAME.findall(script))
    return {name: next(free) for name in long_names}


def candidates() -> Iterator[bytes]:
    """Short names without end. None of JavaScript's own words begins like them."""
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            yield f"${''.join(letters)}".encode()


def renamed(script: bytes, short: dict[bytes, bytes]) -> bytes:
    return LONG_NAME.sub(lambda found: short[found[0]], script)


def renamed_module(module: bytes, short: dict[bytes, bytes]) -> bytes:
    """The module with the short names for what it imports and exports; the length precedes each."""
    if module[:8] != b"\0asm\1\0\0\0":
        raise Unexpected("the module is not of WebAssembly's version 1")
    slimmed, at = module[:8], 8
    while at < len(module):
        kind, number = module[at : at + 1], NUMBER.match(module, at + 1)
        size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(number[0])) if number else 0
        begin = number.end() if number else 0
        content = module[begin : begin + size]
        if number is None or len(content) < size:
            raise Unexpected("the module is cut off")
        if kind[0] in (IMPORTS, EXPORTS):
            for name, new in short.items():
                content = content.replace(block(name), block(new))
        slimmed += kind + block(content)
        at = begin + size
    return slimmed


def block(content: bytes) -> bytes:
    return leb128(len(content)) + content


def leb128(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def without_comments(text: bytes, begin: bytes, end: bytes) -> bytes:
    return re.sub(re.escape(begin) + rb".*?" + re.escape(end), b"", text, flags=re.DOTALL)


def without_indentation(text: bytes) -> bytes:
    """The lines without the space around them. They stay lines: to a browser a line break means
    what a space does, and to JavaScript sometimes the end of a statement."""
    if re.search(rb"<(pre|textarea)\b", text) or any(line.count(b"`") % 2 for line in text.splitlines()):
        raise Unexpected("a text has lines whose indentation matters")
    lines = (line.strip() for line in text.splitlines())
    return b"\n".join(line for line in lines if line) + b"\n"


def with_new_hashes(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files under names with the hash of their content, because browsers cache a name forever."""
    groups: dict[tuple[str, bool], list[str]] = {}
    tails: dict[str, str] = {}
    for name in sorted(files):
        if found := NAME.match(name):
            is_program = name.endswith((".js", ".wasm"))
            tails[name] = found.group(3)
            groups.setdefault((found.group(1), is_program), []).append(name)
    new = {}
    for (stem, _), names in groups.items():
        digest = hashlib.sha256(b"".join(files[name] for name in names)).hexdigest()[:16]
        new.update({name: f"{stem}-{digest}{tails[name]}" for name in names})
    index = files.get("index.html", b"")
    for old, name in new.items():
        index = index.replace(b"/" + old.encode(), b"/" + name.encode())
    files = {new.get(name, name): content for name, content in files.items()}
    return {**files, "index.html": index}
