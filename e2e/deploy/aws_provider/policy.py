"""The data source `aws_iam_policy_document` with the arguments that tf/ uses, as JSON."""

from __future__ import annotations

import json
from typing import Any

from values import Object

VERSION = "2012-10-17"
# Other documents that the provider merges, and the name of a whole one.
UNKNOWN = ("policy_id", "source_json", "source_policy_documents", "override_json", "override_policy_documents")


class PolicyError(Exception):
    """The document cannot be written; the message has the reason."""


def document(config: Object) -> str:
    """The document as indented JSON."""
    if given := [name for name in UNKNOWN if config.get(name)]:
        raise PolicyError(
            f"the fake of the provider does not know {', '.join(given)}: write the statements in one document"
        )
    statements = [_statement(block) for block in config["statement"]]
    names = [statement["Sid"] for statement in statements if "Sid" in statement]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise PolicyError(f"duplicate Sid ({', '.join(repeated)}); a Sid is unique within a policy document")
    return json.dumps({"Version": config["version"] or VERSION, "Statement": statements}, indent=2)


def _statement(block: Object) -> Object:
    parts = {
        "Sid": block["sid"],
        "Effect": block["effect"] or "Allow",
        "Action": _values(block["actions"]),
        "NotAction": _values(block["not_actions"]),
        "Resource": _values(block["resources"]),
        "NotResource": _values(block["not_resources"]),
        "Principal": _principals(block["principals"]),
        "NotPrincipal": _principals(block["not_principals"]),
        "Condition": _conditions(block["condition"]),
    }
    return {part: value for part, value in parts.items() if value}


def _values(values: list[str] | None) -> Any:
    """A single value stands alone, several are in descending order; `&{x}` is written as `${x}`."""
    written = sorted((value.replace("&{", "${") for value in values or []), reverse=True)
    return written[0] if len(written) == 1 else written


def _principals(blocks: list[Object]) -> Any:
    if any(block["type"] == "*" and block["identifiers"] == ["*"] for block in blocks):
        return "*"
    collected: dict[str, list[str]] = {}
    for block in blocks:
        collected.setdefault(block["type"], []).extend(block["identifiers"])
    return {kind: _values(identifiers) for kind, identifiers in sorted(collected.items())}


def _conditions(blocks: list[Object]) -> Object:
    result: Object = {}
    for block in sorted(blocks, key=lambda block: (block["test"], block["variable"])):
        result.setdefault(block["test"], {})[block["variable"]] = _values(block["values"])
    return result
