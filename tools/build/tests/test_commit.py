"""The commit of a binary: the last one that changed any of its inputs."""

import os
import shutil
import subprocess
import unittest
from unittest import mock

from tools.build import commit
from tools.common.tests.case import Case, git

DATE = "2026-11-25T01:02:03+02:00"


class MadeFrom(Case):
    def setUp(self):
        folder = self.temporary_folder()
        self.root = folder / "original"
        self.git("init", "--quiet", str(self.root), at=folder)
        self.pin("1.0")
        self.first = self.commit("services/stats/src/main.rs", "Cargo.lock", "README.md")

    def git(self, *arguments, at=None):
        return git(at or self.root, *arguments, GIT_COMMITTER_DATE=DATE)

    def write(self, place):
        file = self.root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((file.read_text() if file.exists() else "") + "more\n")

    def pin(self, build, test="1.0"):
        text = f'[dependency-groups]\nbuild = [\n    "zig=={build}",\n]\ntest = ["pytest=={test}"]\n\n[tool.uv]\n'
        (self.root / "pyproject.toml").write_text(text)

    def commit(self, *places):
        for place in places:
            self.write(place)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "x")
        return self.git("rev-parse", "HEAD")

    def of(self, service, root=None):
        return commit.made_from(service, root or self.root)

    def test_it_has_the_date_of_the_commit_in_utc(self):
        self.assertEqual(self.of("stats"), f"{self.first} 2026-11-24T23:02:03Z")

    def test_a_service_that_was_not_changed_keeps_its_commit(self):
        for place in ("README.md", "services/gateway/src/main.rs", "services/stats/tests/stats.rs"):
            self.commit(place)
        self.assertIn(self.first, self.of("stats"))
        newest = self.commit("crates/wire/src/lib.rs")
        self.assertIn(newest, self.of("stats"))
        self.assertIn(newest, self.of("frontend"))
        self.assertNotIn(newest, self.of("gateway"))

    def test_uncommitted_changes_are_reported(self):
        self.write("README.md")
        self.assertIn(f"{self.first} ", self.of("stats"))
        self.write("services/stats/src/new.rs")
        self.assertIn(f"{self.first}-dirty ", self.of("stats"))
        self.assertIn(f"{self.first} ", self.of("gateway"))
        self.git("config", "status.showUntrackedFiles", "no")
        self.assertIn(f"{self.first}-dirty ", self.of("stats"))

    def test_a_copy_below_another_repository_is_not_changed(self):
        for name in self.git("ls-files").splitlines():
            (self.root / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).rename(self.root / "copy" / name)
        below = self.commit("copy/services/stats/src/main.rs")
        self.assertIn(f"{below} ", self.of("stats", self.root / "copy"))

    def test_of_the_wheels_only_those_that_compile_are_an_input(self):
        self.pin("1.0", test="2.0")
        self.assertIn(f"{self.first} ", self.of("stats"))
        self.commit("README.md")
        self.assertIn(f"{self.first} ", self.of("stats"))
        self.pin("1.1", test="2.0")
        self.assertIn(f"{self.first}-dirty ", self.of("stats"))
        newest = self.commit("README.md")
        self.assertIn(f"{newest} ", self.of("stats"))
        self.assertIn(f"{newest} ", self.of("gateway"))
        self.commit("README.md")
        self.assertIn(f"{newest} ", self.of("stats"))
        later = self.commit("services/stats/src/main.rs")
        self.assertIn(f"{later} ", self.of("stats"))

    def test_a_clone_without_history_does_not_pretend_to_know(self):
        self.commit("README.md")
        shallow = self.root.with_name("shallow")
        self.git("clone", "--quiet", "--depth=1", f"file://{self.root}", str(shallow))
        self.assertIsNone(self.of("stats", shallow))
        self.git("fetch", "--quiet", "--unshallow", at=shallow)
        self.assertIn(self.first, self.of("stats", shallow))

    @unittest.skipIf(shutil.which("ssh-keygen") is None, "ssh-keygen is not installed")
    def test_a_signature_that_log_shows_is_no_commit(self):
        key = self.root.with_name("key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60)
        for setting in ("log.showSignature=true", "gpg.format=ssh", f"user.signingKey={key}", "commit.gpgSign=true"):
            self.git("config", *setting.split("="))
        newest = self.commit("services/stats/src/main.rs")
        self.assertEqual(self.of("stats"), f"{newest} 2026-11-24T23:02:03Z")

    def test_the_reason_is_that_of_git(self):
        (self.root / ".git").rename(self.root / "git")
        self.assertIn("not a git repository", commit.unknown(self.root))

    @unittest.skipIf(os.geteuid() != 0, "only root can give a folder away")
    def test_a_folder_of_another_user_is_the_reason(self):
        os.chown(self.root, 65534, 65534)
        os.chown(self.root / ".git", 65534, 65534)
        with mock.patch.dict(os.environ, {"GIT_CONFIG_GLOBAL": "/dev/null"}):
            self.assertIsNone(self.of("stats"))
            self.assertIn("dubious ownership", commit.unknown(self.root))

    def test_outside_of_git_there_is_none(self):
        self.assertIsNone(self.of("stats", self.root.parent))
