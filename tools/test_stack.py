"""What the stack says before anything runs."""

import os
import socket
import subprocess
import sys
import unittest
from unittest import mock

import build
import stack


class Settings(unittest.TestCase):
    def test_the_port_is_3050_unless_told_otherwise(self):
        with mock.patch.dict(os.environ, {"PORT": ""}):
            self.assertEqual(stack.port(), 3050)
        with mock.patch.dict(os.environ, {"PORT": "8081"}):
            self.assertEqual(stack.url(), "http://localhost:8081")

    def test_a_wrong_setting_is_one_sentence(self):
        for name, value in (("PORT", "http"), ("PORT", "70000"), ("STACK", "podman")):
            with self.subTest(name=name), mock.patch.dict(os.environ, {name: value}):
                with self.assertRaisesRegex(stack.StackError, f"{name} is '{value}', but must be"):
                    stack.choose(build.RELEASE)

    def test_a_taken_port_names_the_service_and_the_remedy(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            number = taken.getsockname()[1]
            with self.assertRaisesRegex(stack.StackError, f"port {number} for the gateway .* or x"):
                stack.refuse_taken_port("gateway", "127.0.0.1", number, "x")
        stack.refuse_taken_port("gateway", "127.0.0.1", number, "x")


class Pids(unittest.TestCase):
    def test_a_process_is_known_by_its_pid_and_its_start(self):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            started = stack._start_time(child.pid)
            self.assertTrue(started.isdigit())
        finally:
            child.communicate(b"\n")
        self.assertEqual(stack._start_time(child.pid), "")


if __name__ == "__main__":
    unittest.main()
