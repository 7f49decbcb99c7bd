"""The recovered schema: how it is read out of the bindings, and what it must then have."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import sys
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

import tfplugin6_pb2 as protocol
from schema import SOURCE_MAP, Module, main, modules
from server import load, types_in

# An excerpt of the bindings' sources with the parts that schema.py reads.
SOURCE = (Path(__file__).parent / "data" / "bindings.ts").read_text(encoding="utf-8")


class Extraction(unittest.TestCase):
    def test_a_module_becomes_a_schema(self) -> None:
        module = Module(SOURCE)
        block = module.block()
        found = (module.type_name, module.kind, module.version)
        self.assertEqual(found, ("aws_thing", "TerraformResource", "6.0.1"))
        attributes = {each.name: each for each in block.attributes}
        self.assertEqual(
            {name: json.loads(each.type) for name, each in attributes.items()},
            {
                "name": "string",
                "ports": ["set", "number"],
                "admin_password": "string",
                "records": ["list", ["object", {"action": "string"}]],
            },
        )
        self.assertTrue(attributes["name"].required)
        self.assertTrue(attributes["ports"].computed and attributes["ports"].optional)
        self.assertTrue(attributes["admin_password"].sensitive and not attributes["name"].sensitive)
        [rule] = block.block_types
        self.assertEqual((rule.type_name, rule.nesting, rule.max_items), ("rule", protocol.Schema.NestedBlock.SET, 0))
        self.assertEqual([each.name for each in rule.block.attributes], ["action"])

    def test_a_wheel_of_another_version_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            wheel, output = Path(folder) / "bindings.whl", Path(folder) / "schema.pb"
            wheel.write_bytes(packed({"package/lib/thing/aws-thing.js": SOURCE}))
            with contextlib.redirect_stderr(io.StringIO()) as stderr:
                self.assertEqual(main([str(wheel), "6.0.2", str(output)]), 1)
            self.assertIn("made from version 6.0.1 of the provider, and tf/ pins 6.0.2", stderr.getvalue())
            self.assertFalse(output.exists())
            self.assertEqual([module.type_name for module in modules(wheel)], ["aws_thing"])


def packed(sources: dict[str, str]) -> bytes:
    """A wheel with an archive of JavaScript that has its TypeScript in source maps."""
    archive, wheel = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as files:
        for name, source in sources.items():
            encoded = base64.b64encode(json.dumps({"sourcesContent": [source]}).encode())
            content = b"exports;\n//# " + SOURCE_MAP + encoded
            member = tarfile.TarInfo(name)
            member.size = len(content)
            files.addfile(member, io.BytesIO(content))
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("bindings/_jsii/aws@1.0.0.jsii.tgz", archive.getvalue())
    return wheel.getvalue()


class Stored(unittest.TestCase):
    def setUp(self) -> None:
        self.path = Path(sys.prefix) / "schema.pb"

    def test_the_whole_provider_is_there(self) -> None:
        schema = load(self.path, None)
        self.assertGreater(len(schema.resource_schemas), 1500)
        self.assertGreater(len(schema.data_source_schemas), 600)
        self.assertIn("region", [each.name for each in schema.provider.block.attributes])

    def test_every_type_in_tf_is_there_and_no_other_is_served(self) -> None:
        tf = Path(__file__).resolve().parents[3] / "tf"
        named = types_in(tf)
        served = load(self.path, named)
        found = {*served.resource_schemas, *served.data_source_schemas}
        self.assertEqual(found, named)

    def test_the_statements_of_a_firewall_have_their_arguments(self) -> None:
        schema = load(self.path, {"aws_wafv2_web_acl"}).resource_schemas["aws_wafv2_web_acl"]
        [rule] = [each for each in schema.block.block_types if each.type_name == "rule"]
        [statement] = [each for each in rule.block.block_types if each.type_name == "statement"]
        self.assertIn("rate_based_statement", [each.type_name for each in statement.block.block_types])
