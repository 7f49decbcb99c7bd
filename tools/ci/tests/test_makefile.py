"""`make` lists the most important commands, `make help-all` every command."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tools.ci.workflows import rules
from tools.common.toolchain import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# More would not be read.
MOST = 15


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """make with these arguments, in an environment with these variables."""
    # The options of a make that runs these tests are not those of this one.
    others = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, env={**others, **variables}
    )


@unittest.skipIf(shutil.which("make") is None, "make is not installed")
class Surroundings(unittest.TestCase):
    def test_the_startup_file_of_shells_is_no_environment(self) -> None:
        for given, variables, module in (
            ((), {"ENV": "/root/.shrc"}, "tools.local.run_local"),
            ((), {"ENV": "staging"}, "tools.cloud.deploy"),
            (("ENV=a/b",), {"ENV": "/root/.shrc"}, "tools.cloud.deploy"),
        ):
            with self.subTest(given=given, variables=variables):
                self.assertIn(f"{module} logs", run("--dry-run", "logs", *given, **variables).stdout)

    def test_the_scripts_are_found_with_a_safe_path(self) -> None:
        self.assertIn("OWNERS has 'team'", run("codeowners", OWNERS="team", PYTHONSAFEPATH="1").stderr)

    def test_another_package_of_that_name_is_not_taken_for_the_scripts(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "tools").mkdir()
            (Path(folder) / "tools" / "__init__.py").touch()
            done = run("bench", "S=nothing", PYTHONPATH=folder)
        self.assertNotIn("ModuleNotFoundError", done.stderr)
        self.assertIn("nothing", done.stderr)

    def test_python_may_be_in_a_folder_with_a_space(self) -> None:
        with tempfile.TemporaryDirectory(prefix="a b") as folder:
            (Path(folder) / "python3").symlink_to(sys.executable)
            path = f"{folder}:{os.environ['PATH']}"
            self.assertIn("OWNERS has 'team'", run("codeowners", OWNERS="team", PATH=path).stderr)

    def test_python_is_found_by_a_shell(self) -> None:
        """make before 4.3 starts a command without special characters itself, and `command` is no program."""
        [words] = re.findall(r"\$\(shell ([^)]*)\)", MAKEFILE)
        self.assertIn(">", words)

    def test_a_shell_does_not_read_the_name_of_a_service(self) -> None:
        for name in ('a"b', "a`id`b", "a;id"):
            for target in ("new", "remove"):
                self.assertIn(repr(name), run(target, f"SERVICE={name}", TRY="no").stderr)

    def test_commands_run_one_after_the_other(self) -> None:
        slow = "PYTHON=sleep 0.2; echo begin; sleep 0.2; echo"
        done = run("-j8", "down", "clean", slow)
        self.assertEqual([line[:5] for line in done.stdout.splitlines()], ["begin", "-m to", "begin", "-m to"])


@unittest.skipIf(shutil.which("make") is None, "make is not installed")
class Help(unittest.TestCase):
    def printed(self, *arguments: str) -> str:
        done = run(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def listed(self, text: str) -> list[str]:
        return re.findall(r"^  make ([a-z0-9-]+)", text, re.MULTILINE)

    def test_it_is_short_and_in_groups(self) -> None:
        text = self.printed()
        commands = self.listed(text)
        self.assertTrue(10 <= len(commands) <= MOST, commands)
        groups = [line for line in text.splitlines() if line and not line.startswith(" ")]
        self.assertEqual(groups, ["Develop", "Run", "Build", "Deploy to AWS, with ENV="])

    def test_commands_for_workflows_are_in_the_long_list_alone(self) -> None:
        section = MAKEFILE[MAKEFILE.index("## For workflows") :]
        hidden = rules.makefile_targets(section)
        self.assertGreater(len(hidden), 5)
        self.assertEqual(hidden & set(self.listed(self.printed())), set())

    def test_the_long_list_has_every_command_once(self) -> None:
        commands = self.listed(self.printed("help-all"))
        self.assertEqual(len(commands), len(set(commands)))
        self.assertEqual(set(commands), rules.makefile_targets(MAKEFILE))
