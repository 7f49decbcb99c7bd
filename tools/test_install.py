"""Tests of the installer that touch no network and compile nothing: `python3 -m unittest discover tools`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

import install
import toolchain
import versions

# What `rustup component list --installed` prints on a complete toolchain.
COMPLETE = "\n".join(["cargo", "clippy", "rustfmt", "rust-std-x86_64-unknown-linux-gnu"])


class InAnEmptyPlace(unittest.TestCase):
    """A temporary folder for the tools, and a PATH that holds only what a test puts there."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)
        self.path = self.place / "path"
        self.path.mkdir()
        self.stderr = io.StringIO()
        tools = self.place / "tools"
        environment = {
            "PATH": str(self.path),
            "HOME": str(self.place),
            "CARGO_HOME": str(self.place / "cargo"),
            "RUSTUP_HOME": str(self.place / "rustup"),
        }
        changes = [
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.multiple(
                toolchain, TOOLS=tools, BIN=tools / "bin", PYTHON=tools / "python", DEBIAN=tools / "debian"
            ),
            mock.patch.multiple(
                install, TOOLS=tools, BIN=tools / "bin", PYTHON=tools / "python", DEBIAN=tools / "debian"
            ),
            mock.patch.object(install, "BUILD", tools / "build"),
            contextlib.redirect_stderr(self.stderr),
        ]
        for change in changes:
            change.__enter__()
            self.addCleanup(change.__exit__, None, None, None)

    def provide(self, name: str, script: str) -> None:
        """An executable on PATH; everything it is asked goes to `asked`."""
        program = self.path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.place}/asked\n{script}\n')
        program.chmod(0o755)

    def asked(self) -> str:
        try:
            return (self.place / "asked").read_text()
        except FileNotFoundError:
            return ""

    def install_rust(self) -> str:
        """Run the step that chooses a route; the text of its failure, or nothing."""
        try:
            with install.Job.open("rust", "rust") as job:
                install.rust(job)
        except install.Failed as failure:
            return str(failure)
        return ""

    def provide_rustup(self, *, toolchains: str, add: str = "exit 0") -> None:
        self.provide(
            "rustup",
            'case "$1 $2" in\n'
            f'"toolchain list") echo "{toolchains}" ;;\n'
            f'"component list") echo "{COMPLETE}" ;;\n'
            f'"target add") {add} ;;\n'
            '"toolchain install") echo "automatic installation is disabled"; exit 1 ;;\n'
            "esac",
        )


class TheRoute(InAnEmptyPlace):
    def test_rustup_is_taken_when_its_targets_can_be_added(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-x86_64-unknown-linux-gnu (active)")
        self.assertEqual(self.install_rust(), "")
        self.assertEqual(toolchain.route(), "rustup")
        self.assertIn(f"target add --toolchain {toolchain.CHANNEL}", self.asked())
        self.assertIn(install.WASM_TARGET, self.asked())

    def test_debian_is_tried_when_a_target_cannot_be_added(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-host", add="echo no route; exit 1")
        with mock.patch.object(install, "rust_from_debian") as debian:
            self.assertEqual(self.install_rust(), "")
        debian.assert_called_once()
        self.assertEqual(toolchain.route(), "debian")
        self.assertIn("rustup cannot provide Rust here", self.stderr.getvalue())

    def test_a_hanging_rustup_is_given_up(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-host", add="/bin/sleep 60")
        started = time.monotonic()
        with mock.patch.object(install, "RUSTUP", install.Bound(total=5, silent=1)):
            failure = self.install_rust()
        self.assertLess(time.monotonic() - started, 10)
        self.assertIn("`rustup target add` printed nothing for 1 s", failure)

    def test_a_toolchain_that_cannot_be_installed_is_no_route(self) -> None:
        self.provide_rustup(toolchains="stable-host (default)")
        failure = self.install_rust()
        self.assertIn(f"toolchain install {toolchain.CHANNEL}", self.asked())
        self.assertIn("`rustup toolchain install` ended with exit code 1", failure)

    def test_a_channel_is_not_mistaken_for_a_longer_one(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}9-host")
        self.install_rust()
        self.assertIn("toolchain install", self.asked())

    def test_without_any_route_the_message_names_what_to_install(self) -> None:
        failure = self.install_rust()
        for words in (
            "rustup: there is no rustup",
            "debian: there is no apt-get",
            toolchain.musl_target(),
            "Install rustup (https://rustup.rs)",
            f"rustc-web {versions.DEBIAN_RUST_MINIMUM} or later",
        ):
            self.assertIn(words, failure)
        self.assertIsNone(toolchain.remembered_route())

    def test_an_archive_with_an_old_rust_is_no_route(self) -> None:
        self.provide("apt-get", "exit 0")
        self.provide("dpkg-deb", "exit 0")
        self.provide("apt-cache", "echo '  Candidate: 1.85.0+dfsg3-1'")
        with mock.patch.object(install, "dpkg_status", return_value=""):
            failure = self.install_rust()
        self.assertIn("the archive has rustc-web 1.85.0+dfsg3-1", failure)

    def test_a_forced_route_is_the_only_one_tried(self) -> None:
        os.environ["RUST_ROUTE"] = "debian"
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-host")
        self.assertIn("debian: there is no apt-get", self.install_rust())
        self.assertEqual(self.asked(), "")

    def test_the_last_choice_is_kept_while_it_works(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-host")
        install.write(toolchain.TOOLS / "route", "debian")
        with mock.patch.object(install, "rust_from_debian"):
            self.assertEqual(self.install_rust(), "")
        self.assertEqual(toolchain.route(), "debian")

    def test_an_unknown_route_is_one_sentence_and_exit_code_64(self) -> None:
        os.environ["RUST_ROUTE"] = "snap"
        self.assertEqual(install.main([]), 64)
        self.assertEqual(len(self.stderr.getvalue().splitlines()), 1)


class TheStamp(InAnEmptyPlace):
    def setUp(self) -> None:
        super().setUp()
        self.pin = "1.0"
        self.runs = 0
        self.fails = False
        self.step = install.Step("tool", "a tool", "seconds", lambda: self.pin, self.act)
        patch = mock.patch.object(install, "steps", lambda _groups: [self.step])
        patch.start()
        self.addCleanup(patch.stop)
        install.write(toolchain.TOOLS / "route", "rustup")

    def act(self, _job: install.Job) -> None:
        self.runs += 1
        if self.fails:
            raise KeyboardInterrupt

    def test_a_second_run_does_nothing(self) -> None:
        self.assertEqual(install.main([]), 0)
        with mock.patch("subprocess.Popen", side_effect=AssertionError("a program was started")):
            self.assertEqual(install.main([]), 0)
        self.assertEqual(self.runs, 1)

    def test_a_changed_pin_runs_the_step_again(self) -> None:
        install.main([])
        self.pin = "1.1"
        install.main([])
        self.assertEqual(self.runs, 2)

    def test_an_interrupted_step_runs_again(self) -> None:
        self.fails = True
        self.assertEqual(install.main([]), 130)
        self.fails = False
        self.assertEqual(install.main([]), 0)
        self.assertEqual(self.runs, 2)

    def test_a_step_that_fails_after_a_success_is_due_again_with_the_old_pin(self) -> None:
        install.main([])
        self.pin, self.fails = "1.1", True
        install.main([])
        self.pin, self.fails = "1.0", False
        install.main([])
        self.assertEqual(self.runs, 3)


class TheFiles(unittest.TestCase):
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

    def test_an_installed_rust_of_debian_does_not_count_as_installed(self) -> None:
        status = (
            "Package: gcc\nStatus: installed\n\nPackage: rustc-web\nStatus: installed\n\n"
            "Package: libstd-rust-web-dev\nSource: rustc-web (1.96.0)\n\nPackage: make\n"
        )
        self.assertEqual(
            install.without_rust(status), "Package: gcc\nStatus: installed\n\nPackage: make\n"
        )


if __name__ == "__main__":
    unittest.main()
