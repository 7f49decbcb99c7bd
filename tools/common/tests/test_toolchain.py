"""Nothing that is compiled depends on where this machine keeps sources."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools.common import toolchain
from tools.common.files import script, write
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

    def test_a_compiler_a_profile_and_flags_of_c_are_for_other_projects(self):
        given = {
            **dict.fromkeys(("RUSTC", "CARGO_BUILD_RUSTC", "CARGO_INCREMENTAL", "CARGO_PROFILE_RELEASE_LTO"), "x"),
            **dict.fromkeys(("CFLAGS", "CXXFLAGS", "TARGET_CFLAGS", "LDFLAGS", "CPATH"), "-march=native"),
            **dict.fromkeys(("CMAKE_GENERATOR", "CMAKE_TOOLCHAIN_FILE", "TRUNK_BUILD_PUBLIC_URL"), "x"),
            **{f"CARGO_TARGET_{name}_UNKNOWN_LINUX_MUSL_LINKER": "musl-gcc" for name in ("X86_64", "AARCH64")},
        }
        kept = {"CC": "clang", "CARGO_BUILD_JOBS": "1", "CARGO_HTTP_CAINFO": "/ca.pem", "C_INCLUDE_PATH": "/include"}
        with mock.patch.dict(os.environ, {"ARCHITECTURE": "x86_64"}):
            found = self.environment(**given, **kept)
        other = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER"
        self.assertEqual({name: found[name] for name in {*given, *kept} - {other} if name in found}, kept)

    def test_flags_for_all_programs_do_not_reach_the_page(self):
        """Cargo takes `build.rustflags` only for a target that has no flags of its own."""
        name = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS"
        self.assertIn("-", self.environment(**{name: ""})[name])
        with mock.patch.object(toolchain, "remap_path_flags", return_value=[]):
            self.assertIn("-", self.environment()[name])

    def test_flags_for_a_kind_of_target_are_for_other_projects(self):
        """Cargo adds those of `target.'cfg(…)'` in a configuration to every variable but one."""
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            write(place / "src" / "lib.rs", "")
            write(place / "Cargo.toml", '[package]\nname = "x"\nedition = "2021"\n[workspace]\n')
            write(place / ".cargo" / "config.toml", '[target.\'cfg(all())\']\nrustflags = ["--cfg", "foreign"]\n')
            for own, expected in (({}, True), (toolchain.own_flags(toolchain.WASM_TARGET), False)):
                variables = {**toolchain.environment(), **toolchain.cargo_folders(place / "target"), **own}
                if shutil.which("cargo", path=variables["PATH"]) is None:
                    self.skipTest("Cargo is not installed")
                command = ["cargo", "check", "--verbose", "--offline", "--target", toolchain.WASM_TARGET]
                done = subprocess.run(command, cwd=place, env=variables, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr.decode())
                self.assertEqual(b"foreign" in done.stderr, expected)
                shutil.rmtree(place / "target")

    def test_pip_installs_into_the_virtual_environment(self):
        options = ("TARGET", "PREFIX", "PYTHON", "CONSTRAINT", "NO_DEPS", "EDITABLE", "PLATFORM", "REQUIREMENT")
        foreign = dict.fromkeys(("PYTHONPATH", "PIP_PYTHON_VERSION", *(f"PIP_{option}" for option in options)), "x")
        way = dict.fromkeys(("INDEX_URL", "CERT", "PROXY", "EXTRA_INDEX_URL", "DEFAULT_TIMEOUT"), "x")
        way = {f"PIP_{name}": value for name, value in way.items()}
        found = self.environment(**foreign, **way, PIP_USER="yes")
        kept = {name: found[name] for name in (*foreign, *way, "PIP_USER") if name in found}
        self.assertEqual(kept, {**way, "PIP_USER": "0"})

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


class TheCompose(Case):
    def test_one_that_does_not_know_the_name_of_a_project_is_too_old(self):
        for version, found in (("2.2.3", False), ("v2.3.3", True), ("2.20.2+ds1-0ubuntu1", True), ("1.29.2", False)):
            place = self.temporary_folder()
            script(place / "docker", f'[ "$1 $2 $3" = "compose version --short" ] && echo {version}\n')
            with mock.patch.dict(os.environ, {"PATH": str(place)}), mock.patch.object(toolchain, "PYTHON", place):
                self.assertEqual(toolchain.compose() is not None, found, version)

    def test_an_engine_that_does_not_answer_is_asked_once(self):
        """Such as one behind a VPN: each question would take 20 s."""
        place = self.temporary_folder()
        script(place / "docker", f'[ "$1" = version ] && echo >> {place}/calls && exec sleep 30\n')
        self.enter(mock.patch.dict(os.environ, {"PATH": f"{place}:{os.environ['PATH']}"}))
        self.enter(mock.patch.object(toolchain, "QUESTION_SECONDS", 0.5), mock.patch.object(toolchain, "LATE", {}))
        for _ in range(2):
            self.assertIsNone(toolchain.engine())
            self.assertIn("docker does not answer within", toolchain.engine_fault())
        self.assertEqual((place / "calls").read_text(), "\n")


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
