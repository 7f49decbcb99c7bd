"""The choice of the route to Rust, with programs that only pretend to be rustup and apt."""

import os
import time
import unittest
from unittest import mock

from tools.common import toolchain, versions
from tools.common.files import write
from tools.install import rust
from tools.install.progress import Bound
from tools.install.tests.bare_clone import BareClone

# Output of `rustup component list --installed` on a complete toolchain.
COMPLETE = "\n".join(["cargo", "clippy", "rustfmt", "rust-std-x86_64-unknown-linux-gnu"])


class TheRoute(BareClone):
    def install_rust(self) -> str:
        return self.failure_of(rust.rust)

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

    def test_rustup_is_taken_when_its_targets_can_be_added(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-x86_64-unknown-linux-gnu (active)")
        self.assertEqual(self.install_rust(), "")
        self.assertEqual(toolchain.route(), "rustup")
        self.assertIn(f"target add --toolchain {toolchain.CHANNEL}", self.calls())
        self.assertIn(toolchain.WASM_TARGET, self.calls())

    def test_debian_is_tried_when_a_target_cannot_be_added(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-host", add="echo no route; exit 1")
        with mock.patch.object(rust, "debian") as debian:
            self.assertEqual(self.install_rust(), "")
        debian.assert_called_once()
        self.assertEqual(toolchain.route(), "debian")
        self.assertIn("rustup cannot provide Rust here", self.stderr.getvalue())

    def test_a_hanging_rustup_is_given_up(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-host", add="/bin/sleep 60")
        started = time.monotonic()
        with mock.patch.object(rust, "RUSTUP", Bound(total=5, silent=1)):
            failure = self.install_rust()
        self.assertLess(time.monotonic() - started, 10)
        self.assertIn("`rustup target add` printed nothing for 1 s", failure)

    def test_a_toolchain_that_cannot_be_installed_is_no_route(self) -> None:
        self.provide_rustup(toolchains="stable-host (default)")
        failure = self.install_rust()
        self.assertIn(f"toolchain install {toolchain.CHANNEL}", self.calls())
        # rustup itself stays as it is.
        self.assertIn("--no-self-update", self.calls())
        self.assertIn("`rustup toolchain install` ended with exit code 1", failure)

    def test_a_channel_is_not_mistaken_for_a_longer_one(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}9-host")
        self.install_rust()
        self.assertIn("toolchain install", self.calls())

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
        self.assertIsNone(toolchain.recorded_route())

    def provide_apt(self, policy: str) -> None:
        for name, script in (("apt-get", "exit 0"), ("dpkg-deb", "exit 0"), ("apt-cache", policy)):
            self.provide(name, script)
        self.enter(mock.patch.object(rust, "dpkg_status", return_value=""))

    def test_an_archive_with_an_old_rust_is_no_route_and_apt_is_read_in_english(self) -> None:
        os.environ["LC_ALL"] = "de_DE.UTF-8"
        text = "Candidate: 1.85.0+dfsg3-1"
        self.provide_apt(f'[ "$LC_ALL" = C ] && echo "  {text}" || echo "  Installationskandidat: 1.85.0"')
        self.assertIn("the archive has rustc-web 1.85.0+dfsg3-1", self.install_rust())

    def test_a_forced_route_is_the_only_one_tried(self) -> None:
        os.environ["RUST_ROUTE"] = "debian"
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-host")
        self.assertIn("debian: there is no apt-get", self.install_rust())
        self.assertEqual(self.calls(), "")

    def test_the_last_choice_is_kept_while_it_works(self) -> None:
        self.provide_rustup(toolchains=f"{toolchain.CHANNEL}-host")
        write(toolchain.TOOLS / "route", "debian")
        with mock.patch.object(rust, "debian"):
            self.assertEqual(self.install_rust(), "")
        self.assertEqual(toolchain.route(), "debian")


class TheDebianRoute(unittest.TestCase):
    def test_an_installed_rust_of_debian_does_not_count_as_installed(self) -> None:
        status = (
            "Package: gcc\nStatus: installed\n\nPackage: rustc-web\nStatus: installed\n\n"
            "Package: libstd-rust-web-dev\nSource: rustc-web (1.96.0)\n\nPackage: make\n"
        )
        self.assertEqual(rust.without_rust(status), "Package: gcc\nStatus: installed\n\nPackage: make\n")
