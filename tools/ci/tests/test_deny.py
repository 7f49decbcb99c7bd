"""Rules of deny.toml: each one is violated once, in a copy of the workspace."""

import shutil
import subprocess
import unittest

from tools.ci import check
from tools.common import toolchain
from tools.common.tests.case import Case, git
from tools.common.toolchain import ROOT

# Some 300 crates over a slow line.
DOWNLOAD_SECONDS = 600
ADVISORY = """\
```toml
[advisory]
id = "RUSTSEC-2026-9999"
package = "%s"
date = "2026-11-25"

[versions]
patched = []
```

# A flaw

Made up.
"""


@unittest.skipIf(
    toolchain.recorded_route() is None or toolchain.program("cargo-deny") is None,
    "cargo-deny is not installed: `make tools`",
)
class TheRules(Case):
    @classmethod
    def setUpClass(cls):
        # The rules are asked offline; a build downloads only what its own features and platform need.
        command = ["cargo", "fetch", "--locked"]
        subprocess.run(command, cwd=ROOT, env=toolchain.environment(), check=True, timeout=DOWNLOAD_SECONDS)

    def setUp(self):
        folder = self.temporary_folder()
        self.root = folder / "copy"
        # For git, RustSec's database is in a folder here.
        self.elsewhere = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{folder}/.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/",
        }
        for name in ("Cargo.toml", "Cargo.lock", "deny.toml", "crates", "services", "bench"):
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, self.root / name, ignore=shutil.ignore_patterns("dist", "target", "fixtures")
                )
            else:
                self.root.mkdir(exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)

    def change(self, name, old, new):
        text = (self.root / name).read_text()
        self.assertIn(old, text)
        (self.root / name).write_text(text.replace(old, new, 1))

    def cargo_deny(self, *checks):
        # Its lock file follows the changed manifests, from what is downloaded already.
        command = [word for word in check.deny(*checks) if word != "--locked"]
        done = subprocess.run(
            [*command[:2], "--offline", *command[2:]] if "advisories" not in checks else command,
            cwd=self.root,
            env={**toolchain.environment(), **self.elsewhere},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        return done.returncode, done.stdout.decode()

    def refused(self, reason, *checks):
        code, text = self.cargo_deny(*checks)
        self.assertNotEqual(code, 0, text)
        self.assertIn(reason, text)

    def test_the_workspace_passes(self):
        code, text = self.cargo_deny("licenses", "bans", "sources")
        self.assertEqual(code, 0, text)

    def test_only_the_gateway_names_pingora_and_only_the_page_yew(self):
        self.change("services/stats/Cargo.toml", "[dependencies]\n", "[dependencies]\npingora-core.workspace = true\n")
        self.refused("crate 'pingora-core = 0.9.1' is explicitly banned", "bans")
        self.change("services/stats/Cargo.toml", "pingora-core.workspace", "yew.workspace")
        self.refused("crate 'yew = 0.23.0' is explicitly banned", "bans")

    def test_any_version_and_a_second_one_are_not_taken(self):
        self.change("Cargo.toml", 'memchr = "2"', 'memchr = "*"')
        self.refused("wildcard", "bans")
        self.change("deny.toml", '    { crate = "hashbrown@0.14"', '    # { crate = "hashbrown@0.14"')
        self.refused("duplicate entries for crate 'hashbrown'", "bans")

    def test_a_license_that_is_not_allowed_is_rejected(self):
        self.change("deny.toml", '"ISC", ', "")
        self.refused("license is not explicitly allowed", "licenses")

    def test_a_crate_from_elsewhere_is_not(self):
        self.change("deny.toml", 'unknown-git = "deny"', 'unknown-git = "deny"\nallow-registry = []')
        self.refused("detected 'registry' source not explicitly allowed", "sources")

    def database(self, package):
        """A fake of RustSec's database, with one advisory."""
        folder = self.root.parent / "RustSec" / "advisory-db"
        file = folder / "crates" / package / "RUSTSEC-2026-9999.md"
        file.parent.mkdir(parents=True)
        file.write_text(ADVISORY % package)
        for command in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "-m", "one"]):
            git(folder, *command)
        # Which versions are withdrawn is asked of crates.io.
        place = f'db-path = "{self.root.with_name("databases")}"\nyanked = "allow"\n'
        self.change("deny.toml", 'yanked = "deny"\n', place)

    def test_an_advisory_about_what_is_used_is_an_error_and_another_one_is_not(self):
        self.database("hyper")
        self.refused("RUSTSEC-2026-9999", "advisories")

    def test_an_advisory_about_something_else_is_none(self):
        self.database("left-pad")
        code, text = self.cargo_deny("advisories")
        self.assertEqual(code, 0, text)

    def test_a_database_that_cannot_be_reached_is_no_good_news(self):
        self.database("left-pad")
        shutil.rmtree(self.root.parent / "RustSec")
        self.refused("failed to fetch", "advisories")
