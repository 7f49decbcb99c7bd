"""The environment of a caller: a hook of git, a proxy, an old Python."""

import contextlib
import errno
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import tools
from tools.common.environments import Refused
from tools.common.files import next_step, script, write
from tools.common.progress import Failed, exit_code
from tools.common.tests.case import Case
from tools.common.toolchain import ROOT


def seen(**given: str) -> dict[str, str]:
    """The environment of a script that was started with these variables."""
    names = ("no_proxy", "NO_PROXY", "GIT_DIR", "GIT_INDEX_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    code = "import tools, os, json; print(json.dumps(dict(os.environ)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env={**environment, **given}, check=True, stdout=subprocess.PIPE, timeout=60
    )
    return json.loads(done.stdout)


class Surroundings(unittest.TestCase):
    def test_a_hook_of_git_does_not_choose_the_repository(self) -> None:
        found = seen(GIT_DIR="/elsewhere/.git", GIT_INDEX_FILE="/elsewhere/.git/index", GIT_AUTHOR_NAME="a")
        self.assertNotIn("GIT_DIR", found)
        self.assertNotIn("GIT_INDEX_FILE", found)
        self.assertEqual(found["GIT_AUTHOR_NAME"], "a")

    def test_loopback_is_requested_without_a_proxy(self) -> None:
        loopback = "localhost,127.0.0.1,::1"
        for given, expected in (
            ({}, loopback),
            ({"no_proxy": ".corp"}, f".corp,{loopback}"),
            ({"NO_PROXY": ".corp"}, f".corp,{loopback}"),
            ({"no_proxy": f".corp,{loopback}"}, f".corp,{loopback}"),
            ({"no_proxy": "*"}, "*"),
        ):
            with self.subTest(given):
                self.assertEqual(seen(http_proxy="http://127.0.0.1:9", **given)["no_proxy"], expected)

    def test_a_search_path_of_cd_does_not_lead_elsewhere(self) -> None:
        command = [f"{ROOT.name}/tools/with", "true"]
        done = subprocess.run(
            command, cwd=ROOT.parent, env={**os.environ, "CDPATH": ".:/tmp"}, capture_output=True, timeout=60
        )
        self.assertNotIn(b"ModuleNotFoundError", done.stderr)

    @unittest.skipIf(shutil.which("git") is None, "git is not installed")
    def test_git_for_windows_checks_out_scripts_that_linux_runs(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("tools/with", ".gitattributes"):
                shutil.copy(ROOT / name, folder)
            script = Path(folder) / "with"
            git = ["git", "-C", folder, "-c", "core.autocrlf=true"]
            for words in (["init"], ["add", "."]):
                subprocess.run([*git, *words], check=True, capture_output=True, timeout=60)
            script.unlink()
            subprocess.run([*git, "checkout", "with"], check=True, capture_output=True, timeout=60)
            self.assertNotIn(b"\r", script.read_bytes())

    def test_a_command_that_needs_linux_says_so(self) -> None:
        with mock.patch.object(sys, "platform", "win32"):
            with self.assertRaisesRegex(SystemExit, "needs Linux: run it in WSL"):
                runpy.run_path(str(ROOT / "tools/install/__init__.py"))

    def test_an_old_python_is_named(self) -> None:
        with mock.patch.object(sys, "version_info", (3, 8, 10)):
            with self.assertRaisesRegex(SystemExit, "3.9 or newer"):
                runpy.run_path(str(tools.__file__))


FULL = "the disk is full, or a quota is used up: `make clean` frees some of it"


class Disks(Case):
    """Errors of the file system name the next step."""

    def step(self, number: int, path: str) -> str:
        return next_step(OSError(number, os.strerror(number), path))

    def test_what_root_has_left_is_given_back(self) -> None:
        folder = self.temporary_folder() / "a b"
        folder.mkdir()
        elsewhere = (f"{folder.parent}/lock", "/nowhere/lock", "/var/run/docker.sock")
        with (
            mock.patch.object(os, "geteuid", return_value=os.geteuid() + 1),
            mock.patch.object(Path, "cwd", return_value=folder),
        ):
            for path in elsewhere:
                self.assertEqual(self.step(errno.EACCES, path), "", path)
            for number in (errno.EACCES, errno.EPERM):
                found = self.step(number, f"{folder}/lock")
                self.assertIn(f"such as after `sudo make`: `sudo chown -R $(id -u) '{folder}'`", found)
            write(folder / "below" / "file", "")
            self.assertIn(f"chown -R $(id -u) '{folder}'`", self.step(errno.EACCES, f"{folder}/below/file"))
        self.assertEqual(self.step(errno.EACCES, f"{folder}/lock"), "")

    def test_a_file_system_without_programs_or_writes_is_named(self) -> None:
        program = self.temporary_folder() / "program"
        script(program, "exit 0\n")
        with mock.patch.object(os, "statvfs", return_value=mock.Mock(f_flag=os.ST_NOEXEC | os.ST_NOSUID)):
            self.assertIn("mounted with noexec", self.step(errno.EACCES, str(program)))
        self.assertEqual(self.step(errno.EACCES, str(program)), "")
        self.assertIn("read-only", self.step(errno.EROFS, str(program)))
        self.assertEqual(self.step(errno.EDQUOT, str(program)), FULL)
        self.assertEqual(self.step(errno.ENOENT, str(program)), "")


class ExitCodes(unittest.TestCase):
    def test_they_follow_from_the_failure_which_is_one_line(self) -> None:
        for error, code, line in (
            (None, 0, ""),
            (Refused("ENV is missing"), 64, "name: ENV is missing\n"),
            (Failed("a test failed"), 1, "name: a test failed\n"),
            (OSError(28, "No space left on device"), 1, f"name: [Errno 28] No space left on device; {FULL}\n"),
            (KeyboardInterrupt(), 130, ""),
        ):
            with self.subTest(error=error), contextlib.redirect_stderr(io.StringIO()) as stderr:
                self.assertEqual(exit_code("name", mock.Mock(side_effect=[error])), code)
                self.assertEqual(stderr.getvalue(), line)
