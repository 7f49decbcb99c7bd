"""The data source `aws_iam_policy_document`: the JSON that the provider would write."""

from __future__ import annotations

import json
from typing import Any

from values import Object

# The order in which the provider writes the parts of a statement.
PARTS = (
    "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition",
)  # fmt: skip
VERSION = "2012-10-17"


class PolicyError(Exception):
    """The document cannot be written; the message has the reason."""


def document(config: Object) -> str:
    """The document as indented JSON: sources first, then its own statements, then overrides."""
    statements: list[Object] = []
    for text in [*_texts(config, "source_json"), *_texts(config, "source_policy_documents")]:
        _merge(statements, _list(json.loads(text).get("Statement")))
    own = [_statement(block) for block in config["statement"]]
    names = [statement["Sid"] for statement in own if "Sid" in statement]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PolicyError(f"duplicate Sid ({', '.join(repeated)}); a Sid is unique within a policy document")
    _merge(statements, own)
    for text in [*_texts(config, "override_json"), *_texts(config, "override_policy_documents")]:
        _merge(statements, _list(json.loads(text).get("Statement")))
    head = {"Version": config["version"] or VERSION}
    if config["policy_id"]:
        head["Id"] = config["policy_id"]
    content = {**head, **({"Statement": statements} if statements else {})}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    # As Go's encoder does.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _merge(statements: list[Object], added: list[Object]) -> None:
    """Appends statements; one with the Sid of an earlier one replaces it."""
    for statement in added:
        ordered = {part: statement[part] for part in PARTS if statement.get(part)}
        places = [
            place
            for place, earlier in enumerate(statements)
            if "Sid" in ordered and earlier.get("Sid") == ordered["Sid"]
        ]
        if places:
            statements[places[0]] = ordered
        else:
            statements.append(ordered)


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


def _texts(config: Object, name: str) -> list[str]:
    return [text for text in _list(config.get(name)) if text]


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
