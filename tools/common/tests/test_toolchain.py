"""Nothing that is compiled depends on where this machine keeps sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools.common import toolchain
from tools.common.files import script
from tools.common.tests.case import Case


class Places(Case):
    def setUp(self):
        self.folder = self.temporary_folder().resolve()
        self.addCleanup(toolchain.std_source_names.cache_clear)

    def flags(self, line="commit-hash: " + "a" * 40, home="home"):
        text = f'case "$1" in --print) echo {self.folder}/sysroot ;; *) echo "release: 1.2.3"; echo "{line}" ;; esac\n'
        script(self.folder / "rustc", text)
        toolchain.std_source_names.cache_clear()
        with mock.patch.dict(os.environ, {"CARGO_HOME": str(self.folder / home)}):
            return toolchain.remap_path_flags({"PATH": f"{self.folder}:{os.environ['PATH']}"})

    def test_sources_have_no_place_and_stds_the_official_one(self):
        registry = f"{self.folder}/home/registry/src/"
        self.assertEqual(
            self.flags(),
            [
                f"--remap-path-prefix={registry}=",
                f"--remap-path-prefix={registry}{toolchain.CRATES_IO}=",
                f"--remap-path-prefix={self.folder}/sysroot/lib/rustlib/src/rust=/rustc/{'a' * 40}",
            ],
        )

    def test_a_rustc_of_a_distribution_has_a_release_and_no_commit(self):
        self.assertTrue(self.flags("commit-hash: unknown")[-1].endswith("=/rustc/1.2.3"))

    def test_the_build_date_is_fixed_in_every_environment(self):
        with mock.patch.dict(os.environ, {"SOURCE_DATE_EPOCH": "1795000000"}):
            self.assertEqual(toolchain.environment_for("rustup")["SOURCE_DATE_EPOCH"], "0")

    def test_a_place_with_a_space_would_be_two_flags(self):
        self.assertEqual(len(self.flags(home="a home")), 1)


class TheCaller(unittest.TestCase):
    """Variables and files that a user has for other projects."""

    def environment(self, **given):
        with mock.patch.dict(os.environ, given):
            return toolchain.environment_for("rustup")

    def test_another_target_and_its_flags_are_for_other_projects(self):
        flags = "-Clink-arg=-fuse-ld=mold"
        found = self.environment(CARGO_BUILD_TARGET="wasm32-wasip1", CARGO_BUILD_RUSTFLAGS=flags, RUSTFLAGS=flags)
        self.assertEqual([name for name, value in found.items() if flags in value or value == "wasm32-wasip1"], [])

    def test_flags_for_all_programs_do_not_reach_the_page(self):
        """Cargo takes `build.rustflags` only for a target that has no flags of its own."""
        name = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS"
        self.assertIn("-", self.environment(**{name: ""})[name])
        with mock.patch.object(toolchain, "remap_path_flags", return_value=[]):
            self.assertIn("-", self.environment()[name])

    def test_pip_installs_into_the_virtual_environment(self):
        given = {"PYTHONPATH": "/opt/ros", "PIP_TARGET": "/opt", "PIP_PREFIX": "/opt", "PIP_USER": "yes"}
        found = self.environment(PIP_INDEX_URL="https://mirror.example", **given)
        self.assertEqual({name: found.get(name) for name in given}, {**dict.fromkeys(given), "PIP_USER": "0"})
        self.assertEqual(found["PIP_INDEX_URL"], "https://mirror.example")

    def test_uv_reads_its_lock_without_the_settings_of_other_projects(self):
        given = {"UV_DEFAULT_INDEX": "https://mirror.example", "UV_EXCLUDE_NEWER": "2025-01-01", "UV_CACHE_DIR": "/c"}
        found = self.environment(**given)
        self.assertEqual({name: found[name] for name in found if name.startswith("UV_")}, {"UV_CACHE_DIR": "/c"})

    def test_a_user_without_a_home_is_one_sentence(self):
        with mock.patch.dict(os.environ, {"CARGO_HOME": ""}), mock.patch.object(Path, "home", side_effect=RuntimeError):
            with self.assertRaisesRegex(SystemExit, "set HOME"):
                toolchain.environment_for("rustup")

    def test_trunk_starts_without_color(self):
        for given, expected in (("1", "true"), ("false", "true"), ("", None)):
            self.assertEqual(self.environment(NO_COLOR=given).get("NO_COLOR"), expected)


class TheTools(unittest.TestCase):
    def test_a_linked_folder_is_the_folder_itself(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve() / "work tree"
            shutil.copytree(toolchain.ROOT / "tools" / "common", root / "tools" / "common")
            shutil.copy(toolchain.ROOT / "rust-toolchain.toml", root)
            (root.parent / "shared").mkdir()
            (root / ".tools").symlink_to(root.parent / "shared")
            command = [sys.executable, "-c", "from tools.common import toolchain; print(toolchain.BIN)"]
            done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, timeout=60)
            self.assertEqual(done.stdout.decode().strip(), str(root.parent / "shared" / "bin"))

    def test_a_command_runs_where_it_is_called_and_sees_no_path_of_the_scripts(self):
        code = "import os; print(os.getcwd(), os.environ.get('PYTHONPATH'))"
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [str(toolchain.ROOT / "tools" / "with"), "python3", "-c", code],
                cwd=folder,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdout=subprocess.PIPE,
                check=True,
                timeout=60,
            )
            self.assertEqual(done.stdout.decode().split(), [str(Path(folder).resolve()), "None"])
