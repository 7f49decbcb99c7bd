"""Where promtool comes from, with programs that only pretend to be apt and dpkg."""

from tools.common import toolchain
from tools.install import __main__ as install
from tools.install.tests.bare_clone import BareClone

# Unpacks a promtool that answers with exit code 0, or the script given instead.
UNPACK = (
    '/bin/mkdir -p "$3/usr/bin"\n'
    'printf "#!/bin/sh\\n{script}\\n" > "$3/usr/bin/promtool"\n'
    '/bin/chmod +x "$3/usr/bin/promtool"'
)
# Downloads into the folder that it is started in.
DOWNLOAD = 'case "$*" in *" download prometheus") echo > prometheus.deb ;; esac'


class ThePromtool(BareClone):
    def install(self) -> str:
        (promtool,) = (step for step in install.steps(["test"]) if step.name == "promtool")
        return self.failure_of(promtool.action)

    def provide_debian(self, script: str = "exit 0") -> None:
        self.provide("apt-get", DOWNLOAD)
        self.provide("apt-cache", "exit 0")
        self.provide("dpkg-deb", UNPACK.format(script=script))

    def test_the_machine_s_own_is_taken_as_it_is(self) -> None:
        self.provide("promtool", "exit 0")
        self.provide_debian()
        self.assertEqual(self.install(), "")
        self.assertNotIn("apt-get", self.calls())
        self.assertFalse((toolchain.BIN / "promtool").exists())

    def test_debian_s_is_unpacked_below_the_tools_and_nothing_else_is_kept(self) -> None:
        self.provide_debian()
        self.assertEqual(self.install(), "")
        self.assertEqual(toolchain.program("promtool"), str(toolchain.BIN / "promtool"))
        self.assertEqual({path.name for path in toolchain.TOOLS.rglob("*.deb")}, set())
        self.assertFalse((toolchain.TOOLS / "prometheus").exists())
        self.assertIn(f"Dir::Cache={toolchain.TOOLS}", self.calls())

    def test_one_that_does_not_start_is_replaced_unless_the_package_has_none_that_does(self) -> None:
        self.provide("promtool", "exit 1")
        self.provide_debian(script="exit 1")
        self.assertIn("has no promtool that starts here", self.install())
        self.assertFalse((toolchain.BIN / "promtool").exists())
        self.provide_debian()
        self.assertEqual(self.install(), "")
        self.assertEqual(toolchain.program("promtool"), str(toolchain.BIN / "promtool"))

    def test_without_apt_it_is_skipped_aloud(self) -> None:
        self.assertEqual(self.install(), "")
        self.assertIn("SKIPPED: there is no promtool, and no apt-get", self.stderr.getvalue())
