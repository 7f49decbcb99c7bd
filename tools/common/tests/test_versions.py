"""Versions are read and compared as they are written in their files."""

from __future__ import annotations

import unittest

from tools.common import versions
from tools.common.toolchain import ROOT


class TheVersions(unittest.TestCase):
    def test_the_locked_version_is_that_of_the_very_package(self) -> None:
        lock = (
            '[[package]]\nname = "wasm-bindgen-macro"\nversion = "9.9.9"\n\n'
            '[[package]]\nname = "wasm-bindgen"\nversion = "0.2.130"\nsource = "registry"\n'
        )
        self.assertEqual(versions.locked_version(lock, "wasm-bindgen"), "0.2.130")
        self.assertIsNone(versions.locked_version(lock, "bindgen"))

    def test_versions_are_compared_by_number(self) -> None:
        self.assertTrue(versions.at_least("1.100.0+dfsg1-1~deb12u2", "1.95.0"))
        self.assertFalse(versions.at_least("1.85.0+dfsg3-1", "1.95.0"))
        self.assertFalse(versions.at_least("(none)", "1.95.0"))

    def test_the_provider_is_pinned_once_for_the_application_and_the_account(self) -> None:
        pinned = versions.aws_provider(ROOT)
        account = (ROOT / "tf" / "preconfigured" / "versions.tf").read_text(encoding="utf-8")
        self.assertIn(f'version = "{pinned}"', account)
