"""Checks that the modules of each crate depend in one direction.

Modules with the same parent must not form a cycle; what is below a module counts as a part of it. A module may use
the items of its parents: they are its scope.
"""

import graphlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

USE = re.compile(r"\buse ([\w:]+(?:::\{[^;]*\}|::\*)?[^;]*);")
PATH = re.compile(r"\b(?:crate|self|super)(?:::\w+)+")
COMMENT = re.compile(r"//.*")
TESTS = re.compile(r"#!?\[cfg\(test\)\]\n(?:#\[[^\n]*\n)*mod tests \{.*", re.DOTALL)

Module = tuple[str, ...]
# For each parent: for each of its modules, the modules that it uses, with an example.
Uses = dict[Module, dict[str, dict[str, str]]]


def cycles(source: Path) -> Iterator[str]:
    """A message for each cycle among the modules below a folder `src`."""
    for parent, uses in sorted(siblings(source).items()):
        order = graphlib.TopologicalSorter({name: set(others) for name, others in uses.items()})
        try:
            order.prepare()
        except graphlib.CycleError as error:
            # Each module of the list is used by the next one.
            ring: list[str] = error.args[1]
            steps = [uses[user][used] for used, user in zip(ring, ring[1:])]
            yield f"{'::'.join(('crate', *parent))} has a cycle of modules: {'; '.join(steps)}"


def siblings(source: Path) -> Uses:
    modules = {name(source, file): file for file in source.rglob("*.rs")}
    found: Uses = defaultdict(lambda: defaultdict(dict))
    for module, file in modules.items():
        if "tests" in module:
            continue
        text = COMMENT.sub("", TESTS.sub("", file.read_text(encoding="utf-8")))
        for path in paths(text):
            used = target(module, path, modules)
            depth = next((i for i, (a, b) in enumerate(zip(module, used)) if a != b), None)
            if depth is not None:
                example = f"{'::'.join(module)} uses {'::'.join(used)}"
                found[module[:depth]][module[depth]].setdefault(used[depth], example)
    return found


def name(source: Path, file: Path) -> Module:
    """The path of a module; empty for the crate's root."""
    parts = file.relative_to(source).with_suffix("").parts
    if parts[-1] in ("mod", "lib", "main"):
        parts = parts[:-1]
    return parts


def paths(text: str) -> Iterator[list[str]]:
    """All paths in `use` declarations, and all others that begin with `crate`, `self` or `super`."""
    for found in USE.finditer(text):
        for path in flat(found[1]):
            yield path.split("::")
    for found in PATH.finditer(USE.sub("", text)):
        yield found[0].split("::")


def flat(tree: str) -> list[str]:
    """The paths of a tree such as `a::{b, c::{d, e}}`."""
    tree = re.sub(r"\s+as\s+\w+", "", tree).strip()
    begin, brace, rest = tree.partition("{")
    if not brace:
        return [tree]
    branches, depth = [""], 0
    for character in rest.rstrip()[:-1]:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            branches.append("")
        else:
            branches[-1] += character
    return [begin + path for branch in branches if branch.strip() for path in flat(branch)]


def target(module: Module, path: list[str], modules: dict[Module, Path]) -> Module:
    """The module that a path leads to; the module itself for paths of other crates and for its own items."""
    if path[0] == "crate":
        absolute: Module = tuple(path[1:])
    elif path[0] in ("self", "super"):
        up = sum(part == "super" for part in path)
        absolute = (*module[: len(module) - up], *(part for part in path if part not in ("self", "super")))
    else:
        # A child, unless it is a crate.
        absolute = (*module, *path) if (*module, path[0]) in modules else module
    while absolute not in modules and absolute:
        absolute = absolute[:-1]
    return absolute
