"""Shrinks the page: removes comments, indentation and long names that browsers do not need.

Files in, files out, as a map from name to content; nothing else is touched.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator

# Names of wasm-bindgen's imports and exports: words with a hash
# among them, which no compression makes smaller. There are a hundred of them, in both files.
LONG_NAME = re.compile(rb"\b[a-z_]\w*_h?[0-9a-f]{16}\w*")
# With the line to itself: within one, two slashes may be of an address.
LINE_COMMENT = re.compile(rb"^[ \t]*//.*$", re.MULTILINE)
# Parts of wasm-bindgen's loader for browsers and servers that this page does not have: all that can
# run the module compile it while it loads, and the frontend sends it with its media type. A part
# that another version writes differently stays.
LOADER = (
    (rb"async function __wbg_load\(.*?(?=function initSync\()", b""),
    (rb"function initSync\(.*?(?=async function __wbg_init\()", b""),
    (
        rb"async function __wbg_init\(.*?(?=export \{)",
        b"async function __wbg_init({ module_or_path }) {\n"
        b"const { instance } = await WebAssembly.instantiateStreaming(fetch(module_or_path), __wbg_get_imports());\n"
        b"return __wbg_finalize_init(instance);\n}\n",
    ),
    (rb"export \{ initSync, ", b"export { "),
    (rb"if \(!\('encodeInto' in cachedTextEncoder\)\) \{.*?(?=let WASM_VECTOR_LEN)", b""),
    (
        rb"let result;\ntry \{\nresult = ([^\n;]*);\n\} catch \(_\) \{\nresult = false;\n\}\nconst ret = result;\n",
        rb"const ret = \1;\n",
    ),
    (rb"const ret = ([^\n]*);\nreturn ret;\n", rb"return \1;\n"),
)
# The page's own files have a hash of the content in their names, both files of a program the same
# one; what is loaded later has a plain name.
NAME = re.compile(r"(.+?)(-[0-9a-f]{16})?((?:_bg)?\.(?:js|wasm|css|svg))$")

# Sections of a module (WebAssembly Core 2.0, section 5.5.2) and kinds of imports (5.5.5).
IMPORTS, EXPORTS = 2, 7
A_FUNCTION = 0


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
            content = without_fallbacks(without_indentation(LINE_COMMENT.sub(b"", content)))
            content = renamed(content, short[name])
        elif name.endswith(".wasm"):
            content = renamed_module(content, short[name])
        elif name.endswith(".css"):
            content = without_spaces(without_indentation(without_comments(content, b"/*", b"*/")))
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
    letters = "abcdefghijklmnopqrstuvwxyz"
    number = 0
    while True:
        name, rest = "", number
        while rest >= 0:
            name, rest = letters[rest % 26] + name, rest // 26 - 1
        yield f"${name}".encode()
        number += 1


def without_fallbacks(script: bytes) -> bytes:
    for part, instead in LOADER:
        script = re.sub(part, instead, script, flags=re.DOTALL)
    return script


def renamed(script: bytes, short: dict[bytes, bytes]) -> bytes:
    return LONG_NAME.sub(lambda found: short[found.group()], script)


def renamed_module(module: bytes, short: dict[bytes, bytes]) -> bytes:
    """The module with the short names for what it imports and exports."""
    if module[:8] != b"\0asm\1\0\0\0":
        raise Unexpected("the module is not of WebAssembly's version 1")
    slimmed, reader = module[:8], Reader(module, 8)
    while not reader.at_end():
        section, content = reader.byte(), reader.block()
        if section == IMPORTS:
            content = rewritten(content, lambda entry: import_entry(entry, short))
        elif section == EXPORTS:
            content = rewritten(content, lambda entry: export_entry(entry, short))
        slimmed += bytes([section]) + block(content)
    return slimmed


def rewritten(section: bytes, entry: Callable[[Reader], bytes]) -> bytes:
    reader = Reader(section)
    count = reader.number()
    return leb128(count) + b"".join(entry(reader) for _ in range(count))


def import_entry(reader: Reader, short: dict[bytes, bytes]) -> bytes:
    module, name, kind = reader.block(), reader.block(), reader.byte()
    if kind != A_FUNCTION:
        raise Unexpected(f"the module imports {name.decode()}, which is no function")
    return block(module) + block(short.get(name, name)) + bytes([kind]) + leb128(reader.number())


def export_entry(reader: Reader, short: dict[bytes, bytes]) -> bytes:
    name, kind, index = reader.block(), reader.byte(), reader.number()
    return block(short.get(name, name)) + bytes([kind]) + leb128(index)


class Reader:
    """Reads a module's numbers and blocks one after the other."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def byte(self) -> int:
        return self._take(1)[0]

    def number(self) -> int:
        """LEB128: seven bits a byte, the lowest first."""
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def block(self) -> bytes:
        """A block of bytes with its length before it."""
        return self._take(self.number())

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise Unexpected("the module is cut off")
        self._at += count
        return taken


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


def without_spaces(style: bytes) -> bytes:
    """A style sheet without the spaces and semicolons that only people need. Those around `+`, `-` and
    parentheses have a meaning; a text in quotes has none of the others in ours."""
    style = re.sub(rb"\s*([{};,])\s*", rb"\1", style)
    return re.sub(rb":\s+", b":", style).replace(b";}", b"}")


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
