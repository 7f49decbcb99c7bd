"""The page's own std, with programs that only pretend to be rustup and Cargo."""

from __future__ import annotations

from unittest import mock

from tools.common import toolchain
from tools.common.files import write
from tools.install import __main__ as install
from tools.install import step
from tools.install.tests.bare_clone import BareClone

# What Cargo leaves behind, to be found in the folder in which it is started.
CARGO = (
    'deps="$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/deps"\n'
    '/bin/mkdir -p "$deps"\n'
    'for crate in core std empty; do echo > "$deps/lib$crate-1.rlib"; done'
)


class ThePagesStd(BareClone):
    def setUp(self) -> None:
        super().setUp()
        self.page_target = self.place / "target" / "page" / "cargo"
        self.enter(mock.patch.object(toolchain, "PAGE_TARGET", self.page_target))
        write(toolchain.TOOLS / "route", "rustup")

    def perform(self) -> None:
        step.perform([self.step()])

    def step(self) -> step.Step:
        return next(candidate for candidate in install.steps(["build"]) if candidate.name == "page-std")

    def test_it_is_compiled_once_and_the_page_is_built_with_it(self) -> None:
        self.provide("rustup", "exit 0")
        self.provide("cargo", CARGO)
        write(self.page_target / "mixed", "")
        self.assertIsNone(toolchain.small_page())
        self.perform()
        self.assertIn("component add", self.calls())
        root = toolchain.page_std_root()
        library = root / "lib" / "rustlib" / toolchain.WASM_TARGET / "lib"
        self.assertEqual(sorted(path.name for path in library.iterdir()), ["libcore-1.rlib", "libstd-1.rlib"])
        self.assertIn(f"--sysroot={root}", toolchain.small_page()["CARGO_ENCODED_RUSTFLAGS"])
        self.assertFalse(self.page_target.exists(), "what the old std was part of is forgotten")
        self.assertTrue(self.step().is_done())

    def test_without_its_sources_the_ordinary_std_serves(self) -> None:
        self.provide("rustup", "echo no route; exit 1")
        self.perform()
        self.assertIsNone(toolchain.small_page())
        self.assertIn("SKIPPED: `rustup component add` ended with exit code 1", self.stderr.getvalue())
        self.assertTrue(self.step().is_done(), "it is not tried again by every build")

    def test_a_std_that_does_not_compile_is_no_reason_to_have_no_page(self) -> None:
        self.provide("rustup", "exit 0")
        self.provide("cargo", "exit 101")
        self.perform()
        self.assertIsNone(toolchain.small_page())
        self.assertIn("SKIPPED: `cargo build` ended with exit code 101", self.stderr.getvalue())

    def test_debians_sources_are_there_already(self) -> None:
        write(toolchain.TOOLS / "route", "debian")
        self.provide("rustup", "exit 1")
        self.provide("cargo", CARGO)
        self.perform()
        self.assertTrue(toolchain.page_std_root().is_dir())
        self.assertNotIn("rustup", self.calls())

    def test_it_is_made_again_when_it_vanishes(self) -> None:
        self.provide("rustup", "exit 0")
        self.provide("cargo", CARGO)
        self.perform()
        toolchain.page_std_root().rename(self.place / "away")
        self.assertFalse(self.step().is_done())
