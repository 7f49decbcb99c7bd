"""Terraform's values as values of Python: objects and maps are dicts, lists and sets are lists.

A value that is not known before the apply stays what MessagePack calls an extension type, so that
Terraform's private data for it is returned unchanged.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any, Callable

import msgpack
import tfplugin6_pb2 as protocol

Block = protocol.Schema.Block
NestedBlock = protocol.Schema.NestedBlock
Object = dict[str, Any]

UNKNOWN = msgpack.ExtType(0, b"\0")


def decode(value: protocol.DynamicValue) -> Any:
    if value.json:
        return json.loads(value.json)
    return msgpack.unpackb(value.msgpack, strict_map_key=False) if value.msgpack else None


def encode(value: Any) -> protocol.DynamicValue:
    return protocol.DynamicValue(msgpack=msgpack.packb(value))


def is_unknown(value: Any) -> bool:
    return isinstance(value, msgpack.ExtType)


def is_known(value: Any) -> bool:
    """Whether neither the value nor anything in it is unknown."""
    if isinstance(value, dict):
        return all(map(is_known, value.values()))
    if isinstance(value, list):
        return all(map(is_known, value))
    return not is_unknown(value)


@functools.cache
def type_of(attribute_type: bytes) -> Any:
    """A type of cty: a name such as "string", or a list such as ["set", "string"]."""
    return json.loads(attribute_type)


def empty(kind: Any) -> Any:
    """The empty value of a type."""
    if isinstance(kind, str):
        return {"string": "", "number": 0, "bool": False}.get(kind)
    if kind[0] == "object":
        return {name: empty(field) for name, field in kind[1].items()}
    return {} if kind[0] == "map" else []


def elements(value: Any) -> list[Object]:
    """The objects of a nested block, however they are collected; none where they are unknown."""
    if isinstance(value, list) and not is_unknown(value):
        return [element for element in value if isinstance(element, dict)]
    return [value] if isinstance(value, dict) else []


def at(value: Any, path: str) -> Iterator[Any]:
    """All known values at a dotted path, which leads through the elements of collections."""
    if isinstance(value, list):
        for element in value:
            yield from at(element, path)
    elif path and isinstance(value, dict):
        name, _, rest = path.partition(".")
        yield from at(value.get(name), rest)
    elif not path and value is not None and not is_unknown(value):
        yield value


def with_attributes(block: Block, value: Object, change: Callable[[Any, Any], Any]) -> Object:
    """The object with `change(attribute, value)` for each attribute, those of nested blocks included."""
    result = dict(value)
    for attribute in block.attributes:
        result[attribute.name] = change(attribute, value.get(attribute.name))
    for nested in block.block_types:
        within = value.get(nested.type_name)

        def changed(element: Any, inner: Block = nested.block) -> Any:
            return with_attributes(inner, element, change) if isinstance(element, dict) else element

        if nested.nesting == NestedBlock.MAP and isinstance(within, dict):
            result[nested.type_name] = {key: changed(element) for key, element in within.items()}
        elif isinstance(within, list):
            result[nested.type_name] = [changed(element) for element in within]
        elif isinstance(within, dict):
            result[nested.type_name] = changed(within)
    return result


def absent(block: Block) -> Object:
    """An object of the block's shape in which nothing is set."""
    collected = (NestedBlock.LIST, NestedBlock.SET)
    nested = {each.type_name: [] if each.nesting in collected else None for each in block.block_types}
    return {**{attribute.name: None for attribute in block.attributes}, **nested}
