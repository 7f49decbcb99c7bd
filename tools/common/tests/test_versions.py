"""Versions are read and compared as they are written in their files."""

import re
import tempfile
import unittest
from pathlib import Path

from tools.common import versions
from tools.common.toolchain import ROOT


class TheVersions(unittest.TestCase):
    def test_the_locked_version_is_that_of_the_very_package(self) -> None:
        lock = (
            '[[package]]\nname = "wasm-bindgen-macro"\nversion = "9.9.9"\n\n'
            '[[package]]\nname = "wasm-bindgen"\nversion = "0.2.130"\nsource = "registry"\n'
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "Cargo.lock").write_text(lock)
            self.assertEqual(versions.wasm_bindgen(Path(folder)), "0.2.130")

    def test_the_hashes_of_a_wheel_are_those_of_the_very_package(self) -> None:
        def entry(name: str, digit: str) -> str:
            wheels = "".join(f'    {{ url = "x", hash = "sha256:{digit * 63}{n}" }},\n' for n in range(2))
            source = f'source = {{ registry = "x" }}\nsdist = {{ hash = "sha256:{"f" * 64}" }}'
            return f'[[package]]\nname = "{name}"\nversion = "0.{digit}"\n{source}\nwheels = [\n{wheels}]\n\n'

        lock = entry("typos", "1") + entry("uv", "2") + entry("uvicorn", "3")
        self.assertEqual(versions.locked_wheels(lock, "uv"), ("0.2", [f"sha256:{'2' * 63}{n}" for n in range(2)]))
        version, hashes = versions.locked_wheels((ROOT / "uv.lock").read_text(encoding="utf-8"), "uv")
        self.assertRegex(version, r"^[0-9.]+$")
        self.assertGreater(len(hashes), 1)

    def test_every_dependency_group_is_found(self) -> None:
        groups = versions.dependency_groups((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        self.assertEqual(groups["deploy"], '"boto3", "pytest"')
        self.assertIn("ziglang==", groups["build"])
        self.assertTrue({"checkov", "envoy", "lint", "provider-schema", "sigstore", "test", "uv"} <= set(groups))

    def test_versions_are_compared_by_number(self) -> None:
        self.assertTrue(versions.at_least("1.100.0+dfsg1-1~deb12u2", "1.95.0"))
        self.assertFalse(versions.at_least("1.85.0+dfsg3-1", "1.95.0"))
        self.assertFalse(versions.at_least("(none)", "1.95.0"))

    def test_every_configuration_has_the_same_provider(self) -> None:
        pinned = versions.aws_provider(ROOT)
        for folder in ("", "preconfigured", "previews"):
            text = (ROOT / "tf" / folder / "versions.tf").read_text(encoding="utf-8")
            # "required_version" is a range.
            self.assertEqual(re.findall(r' version\s*= "(.*)"', text), [pinned], folder)
