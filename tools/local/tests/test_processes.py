"""Processes of the local system: start, restart, end and their files."""

import contextlib
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

from tools.build import build
from tools.common import toolchain
from tools.common.files import script, write
from tools.common.tests.case import Case
from tools.local import processes, run_local, stack


class Pids(Case):
    def setUp(self):
        self.place = self.temporary_folder()
        programs = self.place / "target" / toolchain.musl_target() / build.RELEASE
        for name in build.SERVICES:
            script(programs / name, "exec sleep 30\n")
        for module, name, value in ((processes, "STATE", self.place / "run"), (build, "TARGET", self.place / "target")):
            self.enter(mock.patch.object(module, name, value))

    def started(self):
        with mock.patch.dict(os.environ, {"SCALE": "2"}):
            system = processes.Processes(build.RELEASE)
            system.start()
        self.addCleanup(
            lambda children: [child.kill() or child.wait() for child in children], [*system.children.values()]
        )
        return system

    def ends(self, system):
        children = [*system.children.values()]
        with mock.patch.object(processes, "STOP_SECONDS", 5), contextlib.redirect_stdout(io.StringIO()):
            ending = threading.Thread(target=system.down, daemon=True)
            ending.start()
            ending.join(20)
        self.assertFalse(ending.is_alive())
        self.assertEqual(len(children), 4)
        self.assertFalse({child.poll() for child in children} & {None, -signal.SIGKILL})

    def test_logs_are_followed_with_the_options_that_every_tail_has(self):
        script(self.place / "path" / "tail", 'case "$*" in *--*) exit 1 ;; esac\n')
        with mock.patch.dict(os.environ, {"PATH": f"{self.place / 'path'}:{os.environ['PATH']}"}):
            self.assertEqual(processes.Processes(build.RELEASE).stream_logs().wait(10), 0)

    def test_what_runs_stays_until_its_successor_is_built(self):
        before = self.started()
        with mock.patch.dict(os.environ, {"SCALE": "1"}), contextlib.redirect_stdout(io.StringIO()):
            after = processes.Processes(build.RELEASE)
            after.check_ports()
            self.assertEqual(before.unexpected_ends(), [])
            with mock.patch.object(after, "_choose_ports"):
                after.start()
            self.assertEqual(sorted(before.unexpected_ends()), sorted(before.children))
            after.down()

    def test_one_that_was_replaced_or_stopped_leaves_its_successor_alone(self):
        before = self.started()
        self.assertFalse(before.was_stopped())
        before.children["stats"].kill()
        before.children["stats"].wait()
        self.assertFalse(before.was_stopped())
        with contextlib.redirect_stdout(io.StringIO()), mock.patch.object(processes.Processes, "_choose_ports"):
            after = self.started()
            for child in before.children.values():
                child.wait(10)
            self.assertTrue(before.was_stopped())
            before.down()
            other = processes.Processes(build.RELEASE)
            self.assertEqual(
                {other._pid(name) for name in after.children}, {child.pid for child in after.children.values()}
            )
            other.down()
            self.assertTrue(after.was_stopped())

    def test_a_service_that_is_never_ready_shows_its_log(self):
        system = self.started()
        write(self.place / "run" / "stats.log", "no permission for /proc\n")
        with (
            mock.patch.object(processes, "wait_until_ready", side_effect=stack.StackError("no real answer")),
            contextlib.redirect_stdout(io.StringIO()) as said,
            self.assertRaises(stack.StackError),
        ):
            system.wait_until_ready()
        self.assertIn("no permission for /proc", said.getvalue())
        self.ends(system)

    def test_processes_end_although_their_files_are_gone(self):
        system = self.started()
        shutil.rmtree(self.place / "run")
        self.ends(system)

    def test_a_service_restarts_although_its_folder_is_gone(self):
        system = self.started()
        shutil.rmtree(self.place / "run")
        with contextlib.redirect_stdout(io.StringIO()):
            system.restart("frontend")
        self.ends(system)

    def test_a_service_runs_on_where_its_successor_finds_no_room(self):
        system = self.started()
        with mock.patch.object(Path, "write_bytes", side_effect=OSError(errno.ENOSPC, "No space left on device")):
            with self.assertRaises(OSError):
                system.restart("gateway")
        self.assertEqual(system.unexpected_ends(), [])
        self.ends(system)

    def test_logs_are_not_followed_beyond_a_killed_command(self):
        code = (
            "import os, signal; from tools.local import processes\n"
            "print(processes.Processes('release').stream_logs().pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        killed = subprocess.run([sys.executable, "-c", code], cwd=toolchain.ROOT, stdout=subprocess.PIPE, timeout=60)
        tail = int(killed.stdout)
        deadline = time.monotonic() + 10
        while processes._start_time(tail):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_ctrl_c_during_a_start_leaves_no_process_that_nothing_knows(self):
        with mock.patch.dict(os.environ, {"SCALE": "1"}):
            system = processes.Processes(build.RELEASE)
        start, started = subprocess.Popen, []

        def interrupted(*arguments, **options):
            started.append(start(*arguments, **options))
            signal.raise_signal(signal.SIGINT)
            return started[0]

        with mock.patch.object(subprocess, "Popen", interrupted), self.assertRaises(KeyboardInterrupt):
            system.start()
        self.addCleanup(lambda: started[0].kill() or started[0].wait())
        self.assertEqual([*system.children.values()], started)
        with contextlib.redirect_stdout(io.StringIO()):
            system.down()
        self.assertIsNotNone(started[0].poll())

    def test_down_forgets_processes_that_ended_by_themselves(self):
        write(self.place / "run" / "stats.pid", "1 0\n")
        with (
            mock.patch.object(run_local, "running_stacks", return_value=[]),
            mock.patch.object(toolchain, "engine", return_value=None),
            contextlib.redirect_stdout(io.StringIO()) as said,
        ):
            run_local.down()
        self.assertEqual(said.getvalue(), "stack: nothing is running\n")
        self.assertFalse((self.place / "run" / "stats.pid").exists())

    def test_processes_of_another_user_are_one_sentence(self):
        system = self.started()
        with mock.patch.object(os, "kill", side_effect=PermissionError):
            with self.assertRaisesRegex(stack.StackError, "belongs to another user"):
                system._stop(["gateway"])
        self.ends(system)

    def test_a_process_is_known_by_its_pid_and_its_start(self):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            started = processes._start_time(child.pid)
            self.assertTrue(started.isdigit())
        finally:
            child.communicate(b"\n")
        self.assertEqual(processes._start_time(child.pid), "")
