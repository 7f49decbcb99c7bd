"""Processes of the local system: start, restart, end and their files."""

import contextlib
import dataclasses
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
from tools.common import catalog, toolchain
from tools.common.files import script, write
from tools.common.tests.case import Case
from tools.local import processes, run_local, stack


class Pids(Case):
    def setUp(self):
        self.place = self.temporary_folder()
        programs = self.place / "target" / toolchain.musl_target() / build.RELEASE
        for name in build.SERVICES:
            script(programs / name, "exec sleep 30\n")
        self.enter(mock.patch.object(processes, "STATE", self.place / "run"))
        self.enter(mock.patch.object(build, "TARGET", self.place / "target"))
        self.printed = self.enter(contextlib.redirect_stdout(io.StringIO()))

    def system(self, scale=1):
        with mock.patch.dict(os.environ, {"SCALE": str(scale)}):
            return processes.Processes(build.RELEASE)

    def started(self):
        system = self.system(scale=2)
        system.start()
        for child in system.children.values():
            self.addCleanup(lambda child=child: child.kill() or child.wait())
        return system

    def ends(self, system):
        children = [*system.children.values()]
        with mock.patch.object(processes, "STOP_SECONDS", 5):
            ending = threading.Thread(target=system.down, daemon=True)
            ending.start()
            ending.join(20)
        self.assertFalse(ending.is_alive())
        self.assertEqual(len(children), 4)
        self.assertFalse({child.poll() for child in children} & {None, -signal.SIGKILL})

    def test_logs_are_followed_with_the_options_that_every_tail_has(self):
        script(self.place / "path" / "tail", 'case "$*" in *--*) exit 1 ;; esac\n')
        with mock.patch.dict(os.environ, {"PATH": f"{self.place / 'path'}:{os.environ['PATH']}"}):
            self.assertEqual(self.system().stream_logs().wait(10), 0)

    def test_a_service_of_make_new_gets_no_setting_that_it_refuses(self):
        added = dataclasses.replace(catalog.ALL["stats"], address_setting=None)
        with mock.patch.dict(catalog.ALL, {"stats": added}):
            children = self.started().children
        for name, expected in (("stats", False), ("frontend", True)):
            settings = Path(f"/proc/{children[name].pid}/environ").read_text()
            self.assertEqual(f"{name.upper()}_HOSTS=" in settings, expected, name)

    def test_what_runs_stays_until_its_successor_is_built(self):
        before = self.started()
        after = self.system()
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
        with mock.patch.object(processes.Processes, "_choose_ports"):
            after = self.started()
        for child in before.children.values():
            child.wait(10)
        self.assertTrue(before.was_stopped())
        before.down()
        other = self.system()
        pids = {other._pid(name) for name in after.children}
        self.assertEqual(pids, {child.pid for child in after.children.values()})
        other.down()
        self.assertTrue(after.was_stopped())

    def test_a_service_that_is_never_ready_shows_its_log(self):
        system = self.started()
        write(self.place / "run" / "stats.log", "no permission for /proc\n")
        with mock.patch.object(processes, "wait_until_ready", side_effect=stack.StackError("no real answer")):
            with self.assertRaises(stack.StackError):
                system.wait_until_ready()
        self.assertIn("no permission for /proc", self.printed.getvalue())
        self.ends(system)

    def test_processes_end_although_their_files_are_gone(self):
        system = self.started()
        shutil.rmtree(self.place / "run")
        self.ends(system)

    def test_a_service_restarts_although_its_folder_is_gone(self):
        system = self.started()
        shutil.rmtree(self.place / "run")
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
        system, start, started = self.system(), subprocess.Popen, []

        def interrupted(*arguments, **options):
            started.append(start(*arguments, **options))
            signal.raise_signal(signal.SIGINT)
            return started[0]

        with mock.patch.object(subprocess, "Popen", interrupted), self.assertRaises(KeyboardInterrupt):
            system.start()
        self.addCleanup(lambda: started[0].kill() or started[0].wait())
        self.assertEqual([*system.children.values()], started)
        system.down()
        self.assertIsNotNone(started[0].poll())

    def test_down_forgets_processes_that_ended_by_themselves(self):
        write(self.place / "run" / "stats.pid", "1 0\n")
        with mock.patch.multiple(run_local, running_stacks=list, toolchain=mock.Mock(**{"engine.return_value": None})):
            run_local.down()
        self.assertEqual(self.printed.getvalue(), "stack: nothing is running\n")
        self.assertFalse((self.place / "run" / "stats.pid").exists())

    def test_processes_of_another_user_are_one_sentence(self):
        system = self.started()
        with mock.patch.object(os, "kill", side_effect=PermissionError):
            with self.assertRaisesRegex(stack.StackError, "belongs to another user"):
                system._stop(["gateway"])
        self.ends(system)

    def test_a_process_is_known_by_its_pid_and_its_start(self):
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            self.assertTrue(processes._start_time(child.pid).isdigit())
            child.communicate(b"\n")
        self.assertEqual(processes._start_time(child.pid), "")
