"""The parts of `make test`: what runs when, what is printed, and what a failure does."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools.ci import report
from tools.ci import test as parts
from tools.ci.test import Part, Run
from tools.common.environments import Refused
from tools.common.tests.case import Case


def nothing() -> None:
    pass


class Parts(Case):
    def setUp(self) -> None:
        self.folder = self.temporary_folder()
        self.output = io.StringIO()

    def perform(self, known: dict[str, Part], scripts: dict[str, str]) -> Run:
        """A run of made-up parts, each a piece of Python."""
        run = Run(dict(known))
        with (
            mock.patch.multiple(parts, PARTS=known, LOGS=self.folder, LOOK_SECONDS=0.01),
            mock.patch.object(parts, "command", lambda name: [sys.executable, "-c", scripts[name]]),
            contextlib.redirect_stdout(self.output),
        ):
            parts.perform(run)
        return run

    def test_a_part_starts_after_what_it_needs(self) -> None:
        mark = self.folder / "built"
        known = {"test": Part(nothing, ("build",)), "build": Part(nothing)}
        run = self.perform(
            known, {"build": f"import time; time.sleep(0.2); open({str(mark)!r}, 'w')", "test": f"open({str(mark)!r})"}
        )
        self.assertEqual(run.failed, {})
        self.assertEqual(set(run.seconds), {"build", "test"})

    def test_two_parts_run_at_once_unless_they_need_the_same_thing(self) -> None:
        # Each waits for the other's file, so that they only end together.
        meet = (
            "import pathlib, sys, time\n"
            "here, there = map(pathlib.Path, ({!r}, {!r})); here.touch()\n"
            "end = time.monotonic() + 20\n"
            "while not there.exists() and time.monotonic() < end: time.sleep(0.01)\n"
            "sys.exit(not there.exists())"
        )
        a, b = str(self.folder / "a"), str(self.folder / "b")
        run = self.perform({"a": Part(nothing), "b": Part(nothing)}, {"a": meet.format(a, b), "b": meet.format(b, a)})
        self.assertEqual(run.failed, {})
        ports = frozenset({"ports"})
        known = {"a": Part(nothing, alone_with=ports), "b": Part(nothing, alone_with=ports)}
        with mock.patch.object(parts, "PARTS", known):
            self.assertEqual(parts.startable(Run(dict(known))), ["a"])

    def test_a_failure_is_named_and_starts_nothing_else(self) -> None:
        known = {"bad": Part(nothing), "later": Part(nothing, ("bad",))}
        run = self.perform(known, {"bad": "print('why'); raise SystemExit(1)", "later": "print('never')"})
        self.assertEqual(list(run.failed), ["bad"])
        self.assertIn("make test PARTS=bad", run.failed["bad"])
        self.assertIn("why", self.output.getvalue())
        self.assertNotIn("never", self.output.getvalue())

    def test_the_output_of_two_parts_never_mixes(self) -> None:
        chatty = "import time\nfor _ in range(20): print({!r}, flush=True); time.sleep(0.01)"
        known = {"a": Part(nothing), "b": Part(nothing)}
        self.perform(known, {"a": chatty.format("from a"), "b": chatty.format("from b")})
        lines = [line for line in self.output.getvalue().splitlines() if line.startswith("from")]
        self.assertEqual(sorted(lines, key=lines.index), lines)
        self.assertEqual(len(lines), 40)

    def test_the_last_lines_of_a_failed_part_are_at_the_end(self) -> None:
        known = {"bad": Part(nothing), "slow": Part(nothing)}
        slow = (
            "import time\n"
            f"while 'why' not in open({str(self.folder / 'bad.log')!r}).read(): time.sleep(0.01)\n"
            "time.sleep(0.5); print('unrelated')"
        )
        bad = "import sys; print('first'); print('x\\n' * 100); sys.exit('why')"
        run = self.perform(known, {"bad": bad, "slow": slow})
        with contextlib.redirect_stdout(self.output):
            report.print_log_ends(run.failed, self.folder)
        end = self.output.getvalue().rsplit("unrelated", 1)[1]
        self.assertIn("why", end)
        self.assertNotIn("first", end)

    def test_parts_bring_what_they_need_and_unknown_ones_are_refused(self) -> None:
        with mock.patch.dict(os.environ, {"PARTS": "gateway"}):
            self.assertEqual(set(parts.selected(())), {"release", "tools", "gateway"})
        with mock.patch.dict(os.environ, {"PARTS": "gatewy"}):
            with self.assertRaisesRegex(Refused, "gatewy.*expected some of"):
                parts.selected(())

    def test_every_black_box_test_belongs_to_a_part(self) -> None:
        """Whatever lies under e2e is either run with the running system or named as a part of its own."""
        folders = {path.name for path in (parts.ROOT / "e2e").iterdir() if list(path.glob("**/test_*.py"))}
        self.assertEqual(folders - {"deploy"}, {*parts.OWN_FOLDERS, parts.PAGE_FOLDER})
        for name in parts.OWN_PROCESSES:
            self.assertTrue((parts.ROOT / "e2e" / f"test_{name}.py").is_file(), name)

    def test_every_test_of_the_page_belongs_to_one_part(self) -> None:
        selected: list[str] = []

        def pytest(_name: str, arguments: list[str]) -> None:
            selected.extend(argument for argument in arguments if argument.startswith("e2e/"))

        with mock.patch.object(parts, "pytest", pytest), mock.patch.object(parts, "browser", lambda: "chromium"):
            for name in parts.PAGE_TESTS:
                parts.PARTS[name].run()
        folder = parts.ROOT / "e2e" / parts.PAGE_FOLDER
        files = [str(path.relative_to(parts.ROOT)) for path in folder.rglob("test_*.py")]
        # A file in two parts would be in this list twice.
        self.assertEqual(sorted(selected), sorted(files))

    @unittest.skipIf(importlib.util.find_spec("pytest") is None, "pytest is not installed here")
    def test_pytest_finds_the_tests_of_every_package(self) -> None:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tools"]
        done = subprocess.run(command, cwd=parts.ROOT, stdout=subprocess.PIPE, timeout=120)
        found = set(re.findall(r"^(tools/\S+\.py)::", done.stdout.decode(), re.MULTILINE))
        files = {str(file.relative_to(parts.ROOT)) for file in (parts.ROOT / "tools").rglob("test_*.py")}
        # Others need the packages of another environment.
        self.assertLessEqual({file for file in files if "/supply/" not in file}, found)


class Repeated(unittest.TestCase):
    """Tests of the system that fail once."""

    def outcome(self, failures: list[list[str]], code: int | None = 1) -> list[list[str]]:
        """The commands of a part whose runs leave these failures behind, one list for each run."""
        commands = []

        def run(command: list[str], bound: int = 0) -> None:
            commands.append(command)
            if failures[len(commands) - 1]:
                raise parts.Failed("failed", code)

        def last_failed(_cache: Path) -> list[str]:
            return failures[len(commands) - 1]

        with mock.patch.object(parts, "run", run), mock.patch.object(parts, "last_failed", last_failed):
            parts.pytest("page", ["e2e/x.py"])
        return commands

    def test_a_few_failures_are_repeated_once(self):
        self.assertEqual(len(self.outcome([[]])), 1)
        commands = self.outcome([["a"], []])
        self.assertEqual([("--last-failed" in command) for command in commands], [False, True])

    def test_many_failures_repeated_failures_and_aborted_runs_fail_the_part(self):
        many = [str(number) for number in range(6)]
        # The run did not come to its end with exit codes other than 1.
        for failures, code in (([["a"], ["a"]], 1), ([many], 1), *(([["a"], []], code) for code in (None, 2, 3))):
            with self.subTest(failures=failures, code=code), self.assertRaises(parts.Failed):
                self.outcome(failures, code)

    def test_the_failures_are_those_of_the_last_run(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(parts.last_failed(Path(folder)), [])
            file = Path(folder, "v", "cache", "lastfailed")
            file.parent.mkdir(parents=True)
            file.write_text('{"e2e/b.py::y": true, "e2e/a.py::x": true}')
            self.assertEqual(parts.last_failed(Path(folder)), ["e2e/a.py::x", "e2e/b.py::y"])
