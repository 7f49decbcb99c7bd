"""The stds of releases, with programs that only pretend to be rustup and Cargo."""

from __future__ import annotations

import os
from pathlib import Path

from tools.common import toolchain
from tools.common.files import write
from tools.install import __main__ as install
from tools.install import step
from tools.install.tests.bare_clone import BareClone

# What Cargo leaves behind, to be found in the folder in which it is started.
CARGO = (
    'while [ "$1" != --target ]; do shift; done\n'
    'deps="${CARGO_BUILD_BUILD_DIR:-$CARGO_TARGET_DIR}/$2/release/deps"\n'
    '/bin/mkdir -p "$deps"\n'
    'for crate in core std empty; do echo > "$deps/lib$crate-1.rlib"; done'
)


class OfThePage(BareClone):
    def setUp(self) -> None:
        super().setUp()
        write(toolchain.TOOLS / "route", "rustup")
        self.provide("rustup", "exit 0")
        self.provide("cargo", CARGO)
        self.target = toolchain.WASM_TARGET
        self.built = toolchain.PAGE_TARGET

    def variables(self) -> dict[str, str] | None:
        return toolchain.small_page()

    def root(self) -> Path:
        return toolchain.small_std_root(self.target)

    def perform(self) -> None:
        step.perform([self.step()])

    def step(self) -> step.Step:
        return next(candidate for candidate in install.steps(["build"]) if candidate.name == self.root().name)

    def test_it_is_compiled_once_and_releases_are_built_with_it(self) -> None:
        write(self.built / "mixed", "")
        self.assertIsNone(self.variables())
        self.perform()
        self.assertIn("component add", self.calls())
        library = self.root() / "lib" / "rustlib" / self.target / "lib"
        self.assertEqual(sorted(path.name for path in library.iterdir()), ["libcore-1.rlib", "libstd-1.rlib"])
        flags = (self.variables() or {})["CARGO_ENCODED_RUSTFLAGS"].split("\x1f")
        self.assertIn(f"--sysroot={self.root()}", flags)
        self.assertFalse([flag for flag in flags if " " in flag], "each is one argument of rustc")
        self.assertFalse(self.built.exists(), "what the old std was part of is forgotten")
        self.assertTrue(self.step().is_done())

    def test_another_folder_of_cargo_for_all_builds_is_for_other_projects(self) -> None:
        os.environ["CARGO_BUILD_BUILD_DIR"] = str(self.place / "builds")
        self.perform()
        library = self.root() / "lib" / "rustlib" / self.target / "lib"
        self.assertIn("libstd-1.rlib", [path.name for path in library.iterdir()])

    def test_without_its_sources_the_ordinary_std_serves(self) -> None:
        self.provide("rustup", "echo no route; exit 1")
        self.perform()
        self.assertIsNone(self.variables())
        self.assertIn("SKIPPED: `rustup component add` ended with exit code 1", self.stderr.getvalue())
        self.assertTrue(self.step().is_done(), "it is not tried again by every build")

    def test_a_std_that_does_not_compile_is_no_reason_to_have_no_release(self) -> None:
        self.provide("cargo", "exit 101")
        self.perform()
        self.assertIsNone(self.variables())
        self.assertIn("SKIPPED: `cargo build` ended with exit code 101", self.stderr.getvalue())

    def test_debians_sources_are_there_already(self) -> None:
        write(toolchain.TOOLS / "route", "debian")
        self.provide("rustup", "exit 1")
        self.perform()
        self.assertTrue(self.root().is_dir())
        self.assertNotIn("rustup", self.calls())

    def test_it_is_made_again_when_it_vanishes(self) -> None:
        self.perform()
        self.root().rename(self.place / "away")
        self.assertFalse(self.step().is_done())


class OfTheServices(OfThePage):
    def setUp(self) -> None:
        super().setUp()
        self.target = toolchain.musl_target()
        self.built = toolchain.TARGET / self.target / "release"

    def variables(self) -> dict[str, str] | None:
        return toolchain.small_services()
