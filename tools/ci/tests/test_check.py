"""The check of the arrows must be able to fail."""

import shutil
import subprocess
import unittest
from pathlib import Path

from tools.ci import check
from tools.common import toolchain
from tools.common.files import write
from tools.common.tests.case import Case, git
from tools.common.toolchain import ROOT

UV = toolchain.TOOLS / "uv" / "bin" / "uv"


def package(name, *dependencies, kind=None):
    entries = [{"name": dependency, "kind": kind} for dependency in dependencies]
    return {"name": name, "dependencies": entries}


class Arrows(Case):
    def setUp(self):
        self.root = self.temporary_folder()
        for place in check.SILENT:
            path = self.root / place
            path = path if path.suffix else path / "lib.rs"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("fn nothing() {}\n")

    def broken(self, *packages):
        return list(check.broken_rules({"packages": list(packages)}, self.root))

    def test_the_allowed_arrows_pass(self):
        stats = package("stats", "wire", "service", "server", "hyper")
        gateway = package("gateway", "pingora-core", "service")
        self.assertEqual(self.broken(stats, gateway, package("app", "wire", "yew")), [])

    def test_a_service_must_not_know_a_service_nor_the_gateway_wire(self):
        self.assertEqual(self.broken(package("frontend", "stats")), ["frontend must not depend on stats"])
        self.assertEqual(self.broken(package("gateway", "wire")), ["gateway must not depend on wire"])

    def test_the_harness_is_for_tests(self):
        self.assertEqual(self.broken(package("stats", "testing", kind="dev")), [])
        self.assertEqual(len(self.broken(package("stats", "testing"))), 1)

    def test_a_new_member_must_be_placed(self):
        self.assertIn("surprise is new", self.broken(package("surprise"))[0])

    def test_pure_code_must_not_read_clocks_or_files(self):
        file = self.root / "services/stats/src/collect/lib.rs"
        file.write_text("// std::fs in a comment is fine\nuse std::time::Instant;\n")
        self.assertEqual(self.broken(), ["services/stats/src/collect/lib.rs:2 must not name Instant"])
        for hidden in (
            "use std::{fs, path::Path};",
            "let text = fs::read_to_string(path);",
            "let stats = procfs::KernelStats::current();",
        ):
            file.write_text(hidden)
            self.assertEqual(len(self.broken()), 1, hidden)
        for test in ("fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n", "#![cfg(test)]\nuse std::fs;\n"):
            file.write_text(test)
            self.assertEqual(self.broken(), [], test)

    def test_modules_must_not_form_a_cycle(self):
        for name, other in ("ab", "ba"):
            (self.root / "crates/http-semantics/src" / f"{name}.rs").write_text(f"use crate::{other}::T;")
        (message,) = self.broken()
        self.assertTrue(message.startswith("crates/http-semantics/src: crate has a cycle"))


@unittest.skipUnless(UV.exists(), "uv is not installed")
class PythonLock(Case):
    def test_it_does_not_depend_on_the_index_of_the_user(self):
        mirror = 'index = [{ url = "https://mirror.example/simple", default = true }]\n'
        config = self.temporary_folder()
        write(config / "uv" / "uv.toml", mirror)
        done = subprocess.run(
            [str(UV), "lock", "--check", "--offline", "--quiet"],
            cwd=ROOT,
            env={**toolchain.environment_for("rustup"), "XDG_CONFIG_HOME": str(config)},
            capture_output=True,
            timeout=60,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))


@unittest.skipUnless(Path(check.lint("actionlint")).exists(), "actionlint is not installed")
class Workflows(Case):
    def test_they_are_checked_also_in_a_folder_of_another_repository(self):
        outer = self.temporary_folder()
        git(outer, "init", "--quiet")
        root = outer / "copy"
        shutil.copytree(ROOT / ".github", root / ".github")
        for code in (0, 1):
            done = subprocess.run(check.workflows(root), cwd=root, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, code, done.stdout)
            write(root / ".github" / "workflows" / "broken.yaml", "on: nothing\n")
