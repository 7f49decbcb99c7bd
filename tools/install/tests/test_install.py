"""The installer as a whole: what runs again, and when."""

import errno
import fcntl
import os
import sys
from unittest import mock

from tools.common import toolchain
from tools.common.files import write
from tools.install import __main__ as install
from tools.install import browser, cargo_tools, pypi, step
from tools.install.progress import Failed, Job
from tools.install.step import Step
from tools.install.tests.bare_clone import BareClone


class TheStamp(BareClone):
    def setUp(self) -> None:
        super().setUp()
        self.pin = "1.0"
        self.runs = 0
        self.fails = False
        self.step = Step("tool", "a tool", "seconds", lambda: self.pin, self.act)
        self.enter(mock.patch.object(install, "steps", lambda _groups: [self.step]))
        write(toolchain.TOOLS / "route", "rustup")

    def act(self, _job: Job) -> None:
        self.runs += 1
        if self.fails:
            raise KeyboardInterrupt

    def test_a_second_run_does_nothing(self) -> None:
        self.assertEqual(install.main([]), 0)
        with mock.patch("subprocess.Popen", side_effect=AssertionError("a program was started")):
            self.assertEqual(install.main([]), 0)
        self.assertEqual(self.runs, 1)

    def test_a_changed_pin_runs_the_step_again(self) -> None:
        for self.pin in ("1.0", "1.1"):
            install.main([])
        self.assertEqual(self.runs, 2)

    def test_an_interrupted_step_runs_again(self) -> None:
        for self.fails, code in ((True, 130), (False, 0)):
            self.assertEqual(install.main([]), code)
        self.assertEqual(self.runs, 2)

    def test_a_step_that_fails_after_a_success_is_due_again_with_the_old_pin(self) -> None:
        for self.pin, self.fails in (("1.0", False), ("1.1", True), ("1.0", False)):
            install.main([])
        self.assertEqual(self.runs, 3)


class ARun(BareClone):
    def test_an_unknown_route_is_one_sentence_and_exit_code_64(self) -> None:
        os.environ["RUST_ROUTE"] = "snap"
        self.assertEqual(install.main([]), 64)
        self.assertEqual(len(self.stderr.getvalue().splitlines()), 1)

    def test_another_processor_is_refused_before_anything_is_downloaded(self) -> None:
        os.environ["ARCHITECTURE"] = "armv7l"
        with mock.patch.object(install, "pending", side_effect=AssertionError("it begins")):
            self.assertEqual(install.main(["dev"]), 64)
        self.assertIn("armv7l-unknown-linux-musl", self.stderr.getvalue())

    def test_a_folder_that_would_be_two_entries_of_path_is_refused(self) -> None:
        with mock.patch.object(toolchain, "TOOLS", self.place / "a:b" / ".tools"):
            self.assertEqual(install.main([]), 64)
        self.assertIn("without ':'", self.stderr.getvalue())

    def test_a_dumb_terminal_gets_whole_lines(self) -> None:
        for name, codes in (("xterm", True), ("dumb", False)):
            os.environ["TERM"] = name
            with mock.patch.object(self.stderr, "isatty", return_value=True), Job.open("x", "x") as job:
                job.say(name)
            self.assertEqual("\x1b[K" in self.stderr.getvalue(), codes, name)
            self.stderr.truncate(0)

    def test_a_run_does_not_wait_for_ever_for_another(self) -> None:
        toolchain.TOOLS.mkdir()
        with (toolchain.TOOLS / "lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with mock.patch.object(step, "ANOTHER_RUN_SECONDS", 0.1):
                self.assertEqual(install.main([]), 1)
        self.assertIn("another run is installing; waiting for it", self.stderr.getvalue())
        self.assertIn("another run is not done after", self.stderr.getvalue())

    def test_a_file_system_without_locks_is_no_reason_to_install_nothing(self) -> None:
        for number in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            with mock.patch.object(fcntl, "flock", side_effect=OSError(number, os.strerror(number))):
                with step.installer_lock():
                    pass

    def test_a_folder_that_another_user_owns_is_one_sentence(self) -> None:
        with mock.patch.object(step.Path, "mkdir", side_effect=PermissionError(13, "Permission denied", ".tools")):
            self.assertEqual(install.main([]), 1)
        self.assertEqual(self.stderr.getvalue(), "tools: [Errno 13] Permission denied: '.tools'\n")


class AnEnvironment(BareClone):
    def test_the_missing_module_is_that_of_the_python_that_runs(self) -> None:
        """python3-venv does not help a newer Python beside the distribution's own."""
        self.provide("apt-get", "exit 0")
        with (
            mock.patch.object(pypi.importlib.util, "find_spec", return_value=None),
            mock.patch.object(os, "geteuid", return_value=1000),
        ):
            found = self.failure_of(lambda job: pypi.own_venv(job, "aws", "deploy"))
        self.assertIn(f" python3.{sys.version_info[1]}-venv", found)

    def test_that_of_another_work_tree_is_not_cleared(self) -> None:
        """A rehearsal's clone links to the tools of the work tree."""
        write(self.place / "elsewhere" / "kept", "")
        toolchain.TOOLS.mkdir()
        (toolchain.TOOLS / "aws").symlink_to(self.place / "elsewhere")
        with Job.open("aws", "aws") as job, self.assertRaisesRegex(Failed, "another work tree"):
            pypi.own_venv(job, "aws", "deploy")
        self.assertTrue((self.place / "elsewhere" / "kept").exists())

    def test_a_link_to_a_finished_one_is_finished(self) -> None:
        """A rehearsal's clone links to the environments that its job has, and must not install them."""
        other = self.place / "elsewhere"
        write(other / "aws" / "bin" / "python", "a program")
        with mock.patch.object(toolchain, "TOOLS", other):
            finished = pypi.venv("aws")
        toolchain.TOOLS.mkdir()
        (toolchain.TOOLS / "aws").symlink_to(other / "aws")
        self.assertEqual(pypi.venv("aws"), finished)


class TheSteps(BareClone):
    def test_a_browser_of_snap_is_not_taken(self) -> None:
        """Its /tmp is another one, so it does not find the profile that Playwright makes there."""
        self.provide("firefox", "exec /snap/bin/firefox")
        self.assertIsNone(browser.existing("firefox"))
        with mock.patch.object(browser.shutil, "which", lambda name: f"/snap/bin/{name}"):
            self.assertIsNone(browser.existing("chromium"))
        self.provide("google-chrome", "echo Google Chrome 150")
        self.assertEqual(browser.existing("firefox", "google-chrome"), str(self.path / "google-chrome"))

    def test_the_checks_bring_the_cargo_that_they_ask(self) -> None:
        names = [each.name for each in install.steps(["check"])]
        rust = names.index(f"rust-{toolchain.musl_target()}")
        self.assertLess(rust, names.index("cargo-deny"))
        self.assertEqual(len(names), len(set(names)))
        self.assertNotIn("trunk", names)

    def test_a_program_is_compiled_for_this_machine_in_a_folder_of_its_own(self) -> None:
        """Whatever `build.target`, `build.build-dir` and `registry.default` a user has configured."""
        self.provide("cargo", f'echo "$CARGO_BUILD_TARGET $CARGO_BUILD_BUILD_DIR" >> {self.place}/calls')
        with Job.open("tool", "tool") as job:
            (toolchain.TOOLS / "build" / "tool").mkdir(parents=True)
            cargo_tools.cargo_install(job, "tool", "1.0", [], "tool")
        self.assertIn(f"host-tuple {toolchain.TOOLS}/build/tool\n", self.calls())
        self.assertIn(" --registry crates-io ", self.calls())

    def test_what_went_with_a_cleared_folder_is_due_again(self) -> None:
        """Compose lives beside other packages of Python, whose folder is cleared when one changes."""
        place = toolchain.PYTHON / "bin" / "docker-compose"
        write(place, "a program")
        [compose] = [candidate for candidate in install.steps(["build"]) if candidate.name == "compose"]
        before = compose.inputs()
        place.unlink()
        self.assertNotEqual(compose.inputs(), before)

    def test_a_virtual_environment_whose_python_is_gone_is_due_again(self) -> None:
        for step_name in ("aws", "sigstore", "lint", "rehearsal", "provider", "checkov"):
            python = toolchain.TOOLS / step_name / "bin" / "python"
            write(self.place / "python3.11", "a program")
            python.parent.mkdir(parents=True)
            python.symlink_to(self.place / "python3.11")
            [found] = [candidate for candidate in install.steps(["test"]) if candidate.name == step_name]
            before = found.inputs()
            (self.place / "python3.11").unlink()
            self.assertNotEqual(found.inputs(), before, step_name)
