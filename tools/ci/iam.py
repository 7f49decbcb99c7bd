"""Statements of IAM policies, and patterns of ARNs."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, in lists."""

    where: str
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    keys: tuple[str, ...]
    principal: bool

    @classmethod
    def of(cls, where: str, given: dict) -> Statement:
        condition = given.get("Condition") or {}
        return cls(
            f"{where}: {given.get('Sid') or 'statement'}",
            given["Effect"] == "Allow",
            tuple(listed(given.get("Action"))),
            tuple(listed(given.get("Resource"))),
            tuple(listed(given.get("NotResource"))),
            tuple(key for test in condition.values() for key in test),
            "Principal" in given,
        )

    def covers(self, action: str, resource: str) -> bool:
        if not any(matches(action, pattern) for pattern in self.actions):
            return False
        if self.not_resources:
            return not any(matches(resource, pattern) for pattern in self.not_resources)
        return any(matches(resource, pattern) for pattern in self.resources)


def listed(given: Any) -> list:
    """A value that a policy may have alone instead of in a list."""
    return given if isinstance(given, list) else [] if given is None else [given]


def matches(text: str, pattern: str) -> bool:
    """AWS's own matching: * and ?, and nothing else is special."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def template_glob(template: str) -> str:
    return re.sub(r"\$\{[^}]*\}", "*", template)


def filled_in(template: str, environment: str, names: dict[str, str]) -> str:
    def name(found: re.Match) -> str:
        return names.get(found[1], "id").replace("{environment}", environment)

    return re.sub(r"\$\{([^}]*)\}", name, template)


def same_kind(one: str, other: str) -> bool:
    """Whether two ARNs with stars can be the same, part by part: partition, service, region and so on."""
    parts = one.split(":", 5), other.split(":", 5)
    return len(parts[0]) == len(parts[1]) and all(overlap(*pair) for pair in zip(*parts))


@cache
def overlap(one: str, other: str) -> bool:
    """Whether two patterns with stars have a text in common."""
    if not one or not other:
        return not (one or other).strip("*")
    if one[0] == "*":
        return overlap(one[1:], other) or overlap(one, other[1:])
    if other[0] == "*":
        return overlap(one, other[1:]) or overlap(one[1:], other)
    return (one[0] == other[0] or "?" in (one[0], other[0])) and overlap(one[1:], other[1:])
