"""Checks the wording of comments, docstrings, messages and test names.

`make check` runs this beside documents.py, whose list of phrases applies here too.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tools.ci import documents
from tools.common.toolchain import ROOT

# These contain the phrases as data.
EXCEPT = {f"tools/ci/{name}.py" for name in ("comments", "documents", "tests/test_comments", "tests/test_documents")}
BANNED = {**documents.BANNED, r"stand-ins?": "fake", r"told": "configured with, receives, reported"}
# Beginnings of docstrings and doc comments.
BEGINNING = re.compile(r"(What|Who|Whom|Whose)\b")

RUST_COMMENT = re.compile(r'(?:^|\s)//([/!]?)(?!\S*")(.*)')
RUST_TEST = re.compile(r"\s*(?:async )?fn ((?:[a-z0-9]+_){2,}[a-z0-9]+)\(\)")
HASH_COMMENT = re.compile(r"(?:^|\s)#+ (.*)")
TERRAFORM_TEXT = re.compile(r'\b(?:description|error_message)\s*=\s*"(.*)"')


def main() -> int:
    faults = [fault for name in sources(ROOT) for fault in check(ROOT, name)]
    for fault in faults:
        print(f"comments: {fault}", file=sys.stderr)
    return 1 if faults else 0


def sources(root: Path) -> list[str]:
    """The source files of the repository, as paths below its root."""
    return [name for name in documents.listed(root) if reader(name)]


def check(root: Path, name: str) -> Iterator[str]:
    """A message for each fault of one source file."""
    read = reader(name)
    if read is None or name in EXCEPT:
        return
    for number, begins, text in read((root / name).read_text(encoding="utf-8")):
        prose = documents.CODE.sub("", text)
        yield from documents.banned(f"{name}:{number}", prose, BANNED)
        if begins and (found := BEGINNING.match(prose)):
            yield f'{name}:{number}: begins with "{found[0]}"; use a noun or a verb'


def reader(name: str) -> Callable[[str], Iterable[tuple[int, bool, str]]] | None:
    """The function that yields the prose of a file: line, whether it begins a description, text."""
    path = Path(name)
    if path.suffix == ".py":
        return python
    if path.suffix == ".rs":
        return rust
    if path.suffix in (".tf", ".hcl", ".yaml") or path.name in ("Makefile", "Dockerfile"):
        return hashes
    return None


def python(text: str) -> Iterator[tuple[int, bool, str]]:
    """Comments, strings with several words, and names of tests."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], False, token.string.lstrip("# ")
    tree = ast.parse(text)
    docstrings = {
        id(node.body[0].value)  # type: ignore[attr-defined]  # It has a docstring.
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, id(node) in docstrings and offset == 0, line
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, False, node.name.replace("_", " ")


def rust(text: str) -> Iterator[tuple[int, bool, str]]:
    """Comments and names of tests."""
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        comment = RUST_COMMENT.search(line)
        if comment:
            yield number, bool(comment[1]) and not inside, comment[2].strip()
        elif name := RUST_TEST.match(line):
            yield number, False, name[1].replace("_", " ")
        inside = bool(comment)


def hashes(text: str) -> Iterator[tuple[int, bool, str]]:
    """Comments after `#`, and descriptions and messages of Terraform."""
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        comment = HASH_COMMENT.search(line)
        if comment:
            yield number, not inside and line.lstrip().startswith("#"), comment[1]
        elif described := TERRAFORM_TEXT.search(line):
            yield number, True, described[1]
        inside = bool(comment)


if __name__ == "__main__":
    sys.exit(main())
