"""Terraform as a process: signals, time limits and what is left after them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from tools.cloud import terraform
from tools.common.tests.case import Case
from tools.common.toolchain import ROOT

# Terraform frees its lock after one interrupt. The second one ends it at once, and so does SIGHUP.
FAKE = """#!{python}
import signal, sys, time
log = open({log!r}, "a", buffering=1)
def note(number, _frame):
    print(signal.Signals(number).name, file=log)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, note)
print("started", file=log)
deadline = time.monotonic() + 20
while open({log!r}).read().count("SIG") == 0 and time.monotonic() < deadline:
    print("working", flush=True)
    time.sleep(0.02)
for _ in range(10):
    time.sleep(0.1)
    print("finishing", flush=True)
print("lock freed", file=log)
sys.exit(1)
"""
TARGET = """
import sys
from pathlib import Path
from tools.cloud import deploy, terraform
terraform.DATA = Path({place!r})
run = lambda: terraform.Terraform(Path({place!r}), "shop", "us-east-1", None).apply()
sys.exit(deploy.main(["deploy"], {{"deploy": run}}))
"""


class Circumstances(Case):
    def test_another_command_for_the_same_environment_does_not_replace_a_plan(self) -> None:
        """`make cost` while `make deploy` has planned and not yet applied."""
        place = self.temporary_folder()
        text = f"from pathlib import Path; from tools.cloud import terraform; terraform.DATA = Path({str(place)!r})\n"
        text += "file = terraform.Terraform(Path('/'), 'shop', 'us-east-1', None).plan_file\n"
        text += "file.write_text('x'); print(file)"
        names = {
            subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True, capture_output=True, text=True).stdout
            for _ in range(2)
        }
        self.assertEqual(len(names), 2)
        # A plan has secrets in clear text.
        self.assertEqual(list((place / "shop").iterdir()), [])

    def test_settings_for_another_project_do_not_reach_terraform(self) -> None:
        """TF_VAR_name would give the roles and the bucket of the account another name."""
        foreign = ("TF_VAR_name", "TF_WORKSPACE", "TF_CLI_ARGS", "TF_CLI_ARGS_apply")
        kept = {"TF_LOG": "debug", "TF_PLUGIN_CACHE_DIR": "/cache", "AWS_PROFILE": "admin"}
        with mock.patch.dict("os.environ", {**dict.fromkeys(foreign, "x"), **kept}):
            found = terraform.environment()
        self.assertEqual(set(foreign) & set(found), set())
        self.assertLessEqual(kept.items(), found.items())

    def test_a_signal_while_terraform_starts_waits_until_it_can_be_passed_on(self) -> None:
        after = False
        with self.assertRaises(KeyboardInterrupt), terraform.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            after = True
        self.assertTrue(after)
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)

    def test_a_profile_of_an_environment_counts_more_than_keys_in_the_shell(self) -> None:
        """As in boto3, so that both work in one account."""
        keys = dict.fromkeys(terraform.KEYS, "x")
        with tempfile.TemporaryDirectory() as place, mock.patch.object(terraform, "DATA", Path(place)):
            with mock.patch.dict("os.environ", keys):
                with_profile = terraform.Terraform(Path(place), "shop", "us-east-1", "admin").variables
                without = terraform.Terraform(Path(place), "shop", "us-east-1", None).variables
        self.assertEqual((with_profile["AWS_PROFILE"], set(keys) & set(with_profile)), ("admin", set()))
        self.assertLessEqual(keys.items(), without.items())


class Signals(Case):
    def setUp(self) -> None:
        self.place = self.temporary_folder()
        self.log = self.place / "log"
        self.install("terraform")

    def install(self, name: str) -> None:
        fake = self.place / name
        fake.write_text(FAKE.format(python=sys.executable, log=str(self.log)))
        fake.chmod(0o755)

    def begun(self, *prefix: str, piped: bool = False) -> subprocess.Popen:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", TARGET.format(place=str(self.place))],
            cwd=ROOT,
            env={**os.environ, "PATH": f"{self.place}{os.pathsep}{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
        deadline = time.monotonic() + 20
        while not (self.log.is_file() and "started" in self.log.read_text()):
            self.assertLess(time.monotonic(), deadline, "the command does not start")
            time.sleep(0.02)
        return process

    def ended(self, process: subprocess.Popen) -> tuple[int, list[str]]:
        _, text = process.communicate(timeout=20)
        self.assertIn("interrupted; run the same command again to continue", text)
        return process.returncode, self.log.read_text().split("\n")[1:-1]

    def test_terraform_is_interrupted_once_and_frees_its_lock(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for whole_group in (True, False):
                with self.subTest(signal=number.name, whole_group=whole_group):
                    self.log.unlink(missing_ok=True)
                    process = self.begun()
                    (os.killpg if whole_group else os.kill)(process.pid, number)
                    self.assertEqual(self.ended(process), (130, ["SIGINT", "lock freed"]))

    def test_a_script_in_place_of_terraform_hands_the_interrupt_on(self) -> None:
        self.install("terraform-1.11")
        (self.place / "terraform").write_text(f"#!/bin/sh\n{self.place}/terraform-1.11 $@\nexit $?\n")
        process = self.begun()
        os.kill(process.pid, signal.SIGTERM)
        self.assertEqual(self.ended(process), (130, ["SIGINT", "lock freed"]))

    def test_a_reader_that_is_gone_does_not_end_terraform(self) -> None:
        """`make deploy | tee log`: Terraform dies of a broken pipe, with its lock and without a state."""
        process = self.begun(piped=True)
        process.stdout.close()
        time.sleep(0.3)
        self.assertEqual(self.log.read_text(), "started\n")
        os.kill(process.pid, signal.SIGTERM)
        process.stdout = None
        self.assertEqual(self.ended(process), (130, ["SIGINT", "lock freed"]))

    def test_a_signal_that_arrives_twice_counts_once(self) -> None:
        """`timeout make deploy`: both timeout and make send SIGTERM to the command."""
        process = self.begun()
        for _ in range(2):
            os.kill(process.pid, signal.SIGTERM)
            time.sleep(0.2)
        self.assertEqual(self.ended(process), (130, ["SIGINT", "lock freed"]))

    def test_a_second_ctrl_c_is_passed_on(self) -> None:
        process = self.begun()
        os.kill(process.pid, signal.SIGINT)
        deadline = time.monotonic() + 20
        while "SIGINT" not in self.log.read_text():
            self.assertLess(time.monotonic(), deadline, "the first one is not passed on")
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        self.assertEqual(self.ended(process), (130, ["SIGINT", "SIGINT", "lock freed"]))

    @unittest.skipUnless(Path("/usr/bin/nohup").exists(), "nohup is not installed here")
    def test_nohup_survives_the_end_of_the_terminal(self) -> None:
        process = self.begun("nohup")
        os.killpg(process.pid, signal.SIGHUP)
        time.sleep(0.3)
        self.assertEqual(self.log.read_text(), "started\n")
        os.kill(process.pid, signal.SIGINT)
        self.assertEqual(self.ended(process), (130, ["SIGINT", "lock freed"]))
