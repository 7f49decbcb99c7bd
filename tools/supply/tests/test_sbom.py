"""The list of crates in a binary, and the bill of materials made of it."""

import json
import struct
import unittest
import zlib

from tools.supply import sbom

LISTED = [
    {"name": "bytes", "version": "1.12.0", "source": "crates.io"},
    {"name": "cc", "version": "1.11.3", "source": "crates.io", "kind": "build"},
    {"name": "stats", "version": "0.1.0", "source": "local", "dependencies": [0, 1], "root": True},
]
KNOWN = sbom.Crates(
    {("bytes", "1.12.0"): "MIT/Apache-2.0", ("app", "0.1.0"): "MIT"},
    {("bytes", "1.12.0"): "b" * 64},
    {
        "stats": {("stats", "0.1.0"), ("bytes", "1.12.0")},
        "frontend": set(),
        "page": {("app", "0.1.0"), ("bytes", "1.12.0")},
    },
)


def executable(sections: dict[str, bytes]) -> bytes:
    """The least of an ELF file that has these sections."""
    named = {"": b"", **sections, ".shstrtab": b""}
    names = b"".join(name.encode() + b"\0" for name in named)
    named[".shstrtab"] = names
    content, entries = bytes(64), b""
    for name, data in named.items():
        place = 0 if not name else names.index(b"\0" + name.encode() + b"\0") + 1
        entries += struct.pack("<IIQQQQ", place, 1, 0, 0, len(content), len(data)) + bytes(24)
        content += data
    head = b"\x7fELF\x02\x01" + bytes(34) + struct.pack("<Q", len(content)) + bytes(10)
    return head + struct.pack("<HHH", 64, len(named), len(named) - 1) + content[64:] + entries


def made_of(listed, name=".dep-v0") -> bytes:
    return executable({".text": b"code", name: zlib.compress(json.dumps({"packages": listed}).encode())})


class TheListInside(unittest.TestCase):
    def test_it_is_read_from_its_section(self):
        self.assertEqual(sbom.packages(made_of(LISTED)), LISTED)

    def test_a_binary_without_one_or_with_a_broken_one_says_so(self):
        complete = made_of(LISTED)
        for binary, reason in (
            (made_of(LISTED, ".dep-v1"), "has no section .dep-v0"),
            (executable({".dep-v0": b"nonsense"}), "is damaged"),
            (executable({".dep-v0": zlib.compress(b"{}")}), "is damaged"),
            (complete[:-70], "table of sections is damaged"),
            (b"#!/bin/sh", "no 64-bit executable"),
        ):
            with self.assertRaisesRegex(sbom.NoList, reason):
                sbom.packages(binary)

    def test_a_list_that_would_fill_the_memory_is_refused(self):
        bomb = zlib.compress(bytes(sbom.LIST_BYTES + 1))
        with self.assertRaisesRegex(sbom.NoList, "more than"):
            sbom.packages(executable({".dep-v0": bomb}))


class TheBill(unittest.TestCase):
    def setUp(self):
        self.binary = made_of(LISTED)
        self.bill = sbom.sbom("stats", self.binary, KNOWN)
        self.components = {entry["name"]: entry for entry in self.bill["components"]}

    def test_it_has_every_crate_with_licence_checksum_and_whether_it_is_inside(self):
        self.assertEqual(
            self.components["bytes"],
            {
                "type": "library",
                "bom-ref": "pkg:cargo/bytes@1.12.0",
                "name": "bytes",
                "version": "1.12.0",
                "purl": "pkg:cargo/bytes@1.12.0",
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": "b" * 64}],
                "scope": "required",
            },
        )
        self.assertEqual(self.components["cc"]["scope"], "excluded")
        self.assertEqual(
            self.bill["dependencies"][-1],
            {"ref": "pkg:cargo/stats@0.1.0", "dependsOn": ["pkg:cargo/bytes@1.12.0", "pkg:cargo/cc@1.11.3"]},
        )

    def test_the_same_binary_gives_the_same_bill_and_another_one_another(self):
        self.assertEqual(sbom.sbom("stats", self.binary, KNOWN), self.bill)
        other = sbom.sbom("stats", self.binary + b"x", KNOWN)
        self.assertNotEqual(other["serialNumber"], self.bill["serialNumber"])

    def test_the_frontends_has_the_crates_of_the_page_too(self):
        listed = [{**package, "name": package["name"].replace("stats", "frontend")} for package in LISTED]
        bill = sbom.sbom("frontend", made_of(listed), KNOWN)
        page = {entry["name"] for entry in bill["components"] if sbom.PAGE in entry.get("properties", [])}
        self.assertEqual(page, {"app", "bytes"})
        self.assertEqual(sbom.differences("frontend", bill, made_of(listed)), [])

    def test_a_binary_of_another_service_has_no_bill_here(self):
        with self.assertRaisesRegex(sbom.NoList, "the binary is of stats, not gateway"):
            sbom.sbom("gateway", self.binary, KNOWN)

    def test_a_bill_that_does_not_match_is_reported_with_the_reason(self):
        self.assertEqual(sbom.differences("stats", self.bill, self.binary), [])
        larger = made_of([*LISTED, {"name": "evil", "version": "6.6.6", "source": "crates.io"}])
        found = sbom.differences("stats", self.bill, larger)
        self.assertIn("it is of a binary with another checksum", found)
        self.assertIn("it leaves out pkg:cargo/evil@6.6.6", found)
        self.assertIn(
            "it has pkg:cargo/evil@6.6.6, which is not in the binary",
            sbom.differences("stats", sbom.sbom("stats", larger, KNOWN), self.binary),
        )
        self.assertEqual(sbom.differences("gateway", self.bill, self.binary), ["it is of stats"])
