"""Where `make cold` gets debootstrap and the keys of Debian's archive from."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools.ci import cold


class Debootstrap(unittest.TestCase):
    def command(self, installed: bool, keys: Path) -> list[str]:
        unpacked = ["env", "LD_LIBRARY_PATH=", "/unpacked/debootstrap"]
        with (
            mock.patch.object(cold.shutil, "which", return_value="/usr/sbin/debootstrap" if installed else None),
            mock.patch.object(cold.debian_program, "unpacked", return_value=unpacked),
            mock.patch.object(cold, "KEYS", keys),
        ):
            return cold.find_debootstrap()

    def test_an_installed_one_is_used_with_its_own_keys(self) -> None:
        with tempfile.NamedTemporaryFile() as keys:
            self.assertEqual(self.command(True, Path(keys.name)), ["debootstrap"])

    def test_an_unpacked_one_uses_the_keys_of_this_machine(self) -> None:
        """apt does not download the keys where their package is installed."""
        with tempfile.NamedTemporaryFile() as keys:
            self.assertEqual(self.command(False, Path(keys.name))[-1], f"--keyring={keys.name}")

    def test_without_keys_on_this_machine_those_of_the_package_are_used(self) -> None:
        last = self.command(False, Path("/nowhere/keys.gpg"))[-1]
        self.assertTrue(last.endswith("/debootstrap/nowhere/keys.gpg"), last)
