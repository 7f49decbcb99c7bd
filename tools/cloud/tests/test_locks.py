"""The checksums of Terraform's provider, with a Terraform that only records what it is asked."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools.cloud import locks, terraform
from tools.common.files import write
from tools.install.tests.bare_clone import BareClone

VERSION = 'case "$*" in *version*) echo \'{"terraform_version": "1.11.4"}\'; exit 0 ;; esac\n'


class TheLock(BareClone):
    def setUp(self) -> None:
        super().setUp()
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.enter(contextlib.redirect_stdout(self.stdout), contextlib.redirect_stderr(self.stderr))

    def test_every_folder_is_locked_for_every_platform(self) -> None:
        self.provide("terraform", VERSION)
        self.assertEqual(locks.main([]), 0)
        asked = [line for line in self.calls().splitlines() if "providers lock" in line]
        self.assertEqual(len(asked), len(locks.FOLDERS))
        for line, folder in zip(asked, ("tf", "tf/preconfigured", "tf/previews")):
            self.assertRegex(line, rf"-chdir=.+/{folder} providers lock")
            for platform in ("linux_amd64", "linux_arm64", "darwin_arm64"):
                self.assertIn(f"-platform={platform}", line)
        self.assertIn("git add --force tf/.terraform.lock.hcl tf/preconf", self.stdout.getvalue())

    def test_without_a_registry_it_fails_and_says_what_it_needs(self) -> None:
        self.provide("terraform", f"{VERSION}exit 1\n")
        self.assertEqual(locks.main([]), 1)
        self.assertIn("needs a network", self.stderr.getvalue())

    def test_every_configuration_with_a_provider_of_its_own_is_locked(self) -> None:
        found = {file.parent for file in locks.TF.rglob("versions.tf") if ' version = "' in file.read_text()}
        self.assertEqual({file for file in found if "modules" not in file.parts}, set(locks.FOLDERS))


class Verifying(BareClone):
    def init(self, committed: bool) -> str:
        self.provide("terraform", "")
        with mock.patch.object(terraform, "committed", return_value=committed):
            with mock.patch.object(terraform, "DATA", self.place / "data"):
                terraform.Terraform(self.place, "dev", "us-east-1", None).init("-reconfigure")
        (line,) = [line for line in self.calls().splitlines() if " init " in line]
        return line

    def test_checksums_in_the_repository_are_verified_and_not_extended(self) -> None:
        self.assertIn("-lockfile=readonly", self.init(True))

    def test_without_them_terraform_takes_the_first_provider_that_it_finds(self) -> None:
        self.assertNotIn("-lockfile", self.init(False))


class TheRepository(unittest.TestCase):
    def test_a_file_that_terraform_has_made_by_itself_is_not_part_of_it(self) -> None:
        self.assertTrue(terraform.committed(Path(__file__).with_name("test_drift.py")))
        self.assertFalse(terraform.committed(Path(__file__).with_name("absent")))
        with tempfile.TemporaryDirectory() as place:
            write(Path(place, terraform.LOCK), "# made by terraform init\n")
            self.assertFalse(terraform.committed(Path(place, terraform.LOCK)))
