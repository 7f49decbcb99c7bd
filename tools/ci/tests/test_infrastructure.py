"""Which tests of tf/ run with which provider, with a Terraform that only records what it is asked."""

import contextlib
import io
import os
import re
from pathlib import Path
from unittest import mock

from tools.ci import infrastructure
from tools.cloud import terraform
from tools.common import toolchain
from tools.common.files import write
from tools.install import __main__ as install
from tools.install import pypi
from tools.install.tests.bare_clone import BareClone

VERSION = 'case "$*" in *version*) echo \'{"terraform_version": "1.11.4"}\'; exit 0 ;; esac\n'
# Downloads nothing, unless the fake runs it; the fake's Python is recorded with its arguments.
WITHOUT_NETWORK = 'case "$*" in *" init "*) [ -n "$TF_REATTACH_PROVIDERS" ] ;; esac'


class TheProviders(BareClone):
    def setUp(self) -> None:
        super().setUp()
        self.stdout = io.StringIO()
        self.enter(
            mock.patch.object(terraform, "DATA", self.place / "data"),
            mock.patch.object(infrastructure, "SCHEMA", toolchain.TOOLS / "provider" / "schema.pb"),
            # Both have tests of their own and need programs.
            mock.patch.object(infrastructure, "checkov", lambda: None),
            contextlib.redirect_stdout(self.stdout),
        )

    def install_fake(self) -> None:
        write(infrastructure.SCHEMA, "a schema")
        python = toolchain.TOOLS / "provider" / "bin" / "python"
        # It leaves out its own script and the option with its folder, and runs the rest.
        write(
            python,
            f'#!/bin/sh\necho "fake $*" >> {self.place}/calls\n[ "$1" = -m ] && exit 0\n'
            'shift 3; TF_REATTACH_PROVIDERS=here exec "$@"\n',
        )
        python.chmod(0o755)

    def calls_of_the_real_provider(self) -> list[str]:
        """The commands of Terraform that did not run within the fake."""
        lines = self.calls().splitlines()
        within = [line.partition(" terraform ")[2] for line in lines if line.startswith("fake ")]
        alone = [line.partition(" ")[2] for line in lines if line.startswith("terraform ")]
        for line in within:
            if line:
                alone.remove(line)
        return [line for line in alone if "version" not in line and " fmt " not in line]

    def test_without_a_download_the_fake_is_enough_and_the_rest_is_skipped_with_a_message(self) -> None:
        self.provide("terraform", VERSION + WITHOUT_NETWORK)
        self.install_fake()
        infrastructure.check()
        tests = [line for line in self.calls().splitlines() if line.startswith("fake ") and " test " in line]
        environments = len(infrastructure.environments())
        self.assertGreater(environments, 0)
        # Each folder's own, and for the root those of its refusals and of previews.
        self.assertEqual(len(tests), len(infrastructure.FOLDERS) + 1 + 2 * environments)
        self.assertIn("-m unittest discover -s", self.calls())
        [attempt] = self.calls_of_the_real_provider()
        self.assertIn(" init ", attempt)
        self.assertIn("test: SKIPPED: module with the real provider", self.stdout.getvalue())

    def test_where_the_provider_can_be_downloaded_everything_is_validated_and_planned_with_it(self) -> None:
        self.provide("terraform", VERSION)
        self.install_fake()
        infrastructure.check()
        commands = [
            re.sub(r"-chdir=.+/(\w+) (init|validate|test) .*", r"\1 \2", line)
            for line in self.calls_of_the_real_provider()
        ]
        folders = [folder.name for folder in infrastructure.FOLDERS.values()]
        expected = [f"{folder} {command}" for folder in folders for command in ("init", "validate")]
        self.assertEqual(commands, expected + ["tf test"] * len(infrastructure.environments()))
        for line in self.calls_of_the_real_provider():
            # No account: with anything but mocks the provider would sign in.
            self.assertNotRegex(line, "test (?!.*plan_offline)")
        self.assertNotRegex(self.stdout.getvalue(), "SKIPPED: .*provider")

    def test_a_failure_with_the_real_provider_fails_the_check(self) -> None:
        fails = 'case "$*" in *validate*) [ -n "$TF_REATTACH_PROVIDERS" ] ;; esac'
        self.provide("terraform", VERSION + fails)
        self.install_fake()
        with self.assertRaisesRegex(infrastructure.Failed, "module with the real provider: validate"):
            infrastructure.check()

    def test_a_fake_that_is_not_installed_fails_the_check(self) -> None:
        self.provide("terraform", VERSION)
        with self.assertRaisesRegex(infrastructure.Failed, "run `make tools`"):
            infrastructure.check()

    def test_without_terraform_the_tests_are_skipped_with_a_message(self) -> None:
        infrastructure.check()
        self.assertIn("test: SKIPPED: the tests of tf/: terraform is missing", self.stdout.getvalue())

    def test_nothing_outside_of_the_repository_is_used(self) -> None:
        self.install_fake()
        os.environ["TF_AWS_STANDIN"] = "/elsewhere/with-aws"
        python, provider, _, folder = infrastructure.fake()
        self.assertTrue(Path(python).is_relative_to(toolchain.TOOLS))
        for path in (provider, folder):
            self.assertTrue(Path(path).is_relative_to(toolchain.ROOT))


class TheStep(BareClone):
    def test_a_changed_schema_or_protocol_makes_it_due_again(self) -> None:
        [step] = [each for each in install.steps(["test"]) if each.name == "provider"]
        before = step.inputs()
        for name in ("schema.py", "tfplugin6.proto"):
            with self.subTest(name), mock.patch.object(pypi, "PROVIDER", self.place / "provider"):
                for each in ("schema.py", "tfplugin6.proto"):
                    text = (infrastructure.PROVIDER / each).read_text(encoding="utf-8")
                    write(pypi.PROVIDER / each, text + ("\n" if each == name else ""))
                self.assertNotEqual(step.inputs(), before)
        self.assertEqual(step.inputs(), before)
        write(toolchain.TOOLS / "provider" / "schema.pb", "a schema")
        self.assertNotEqual(step.inputs(), before)
