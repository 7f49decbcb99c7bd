"""Checks of the local system before it starts."""

import contextlib
import dataclasses
import errno
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from tools.build import build
from tools.common import catalog, toolchain
from tools.common.files import script, write
from tools.common.ports import free_port
from tools.common.tests.case import Case
from tools.local import containers, processes, run_local, service_files, stack


def checked(profile):
    """The processes of a system whose ports can be used."""
    system = processes.Processes(profile)
    system.check_ports()
    return system


class Settings(Case):
    def taken(self):
        """A port that another program has until the test ends."""
        return self.enter(socket.create_server(("127.0.0.1", 0))).getsockname()[1]

    def test_a_wrong_setting_is_one_sentence(self):
        for name, value, check in (
            *(("PORT", value, run_local.choose) for value in ("http", "70000", "\u00b2")),
            *(("BIND", value, run_local.choose) for value in ("localhost", "nonsense")),
            ("STACK", "podman", run_local.choose),
            *(("STATS_LISTEN", f"127.0.0.1{port}", checked) for port in (":99999", "", ":0")),
            *(("SCALE", value, checked) for value in ("0", "21", "x", "-1", "1.5", "\u0663")),
        ):
            with self.subTest(name=name), mock.patch.dict(os.environ, {name: value}):
                with self.assertRaisesRegex(stack.StackError, f"{name} is '{value}', but must be"):
                    check(build.RELEASE)

    def test_the_address_that_is_printed_answers_and_the_one_that_is_asked_needs_no_name(self):
        for bind, port, url, asked in (
            ("", "", "http://localhost:3050", "http://127.0.0.1:3050"),
            ("", "8081", "http://localhost:8081", "http://127.0.0.1:8081"),
            ("0.0.0.0", "", "http://localhost:3050", "http://127.0.0.1:3050"),
            ("::", "", "http://localhost:3050", "http://127.0.0.1:3050"),
            ("[::1]", "", "http://[::1]:3050", "http://[::1]:3050"),
            ("127.0.0.2", "", "http://127.0.0.2:3050", "http://127.0.0.2:3050"),
            ("2001:db8::1", "", "http://[2001:db8::1]:3050", "http://[2001:db8::1]:3050"),
        ):
            with self.subTest(bind=bind), mock.patch.dict(os.environ, {"BIND": bind, "PORT": port}):
                self.assertEqual((stack.url(), stack.asked()), (url, asked))

    def test_services_behind_the_gateway_answer_the_names_that_it_passes_on(self):
        here = "127.0.0.1:8080"
        for listen, bind, hosts, expected in (
            (here, "", "", "127.0.0.1"),
            (here, "127.0.0.2", "", "127.0.0.2"),
            (here, "127.0.0.2", "example.org", "example.org,127.0.0.2"),
            (here, "::1", "", "[::1]"),
            (here, "0.0.0.0", "", "*"),
            (here, "0.0.0.0", "example.org", "example.org"),
            # Any name.
            ("0.0.0.0:8080", "", "", ""),
        ):
            with self.subTest(bind=bind), mock.patch.dict(os.environ, {"BIND": bind, "GATEWAY_HOSTS": hosts}):
                self.assertEqual(processes.passed_hosts(listen), expected)

    def test_a_taken_port_names_the_service_and_the_remedy(self):
        number = self.taken()
        with self.assertRaisesRegex(stack.StackError, f"port {number} for the gateway .* or x"):
            stack.refuse_taken_port("gateway", "127.0.0.1", number, "x")
        stack.refuse_taken_port("gateway", "127.0.0.1", free_port(), "x")

    def test_localhost_must_not_lead_to_another_program(self):
        """Browsers ask ::1 first, where Vite and Node listen."""
        try:
            other = self.enter(socket.create_server(("::1", 0), family=socket.AF_INET6))
        except OSError:
            self.skipTest("this machine has no ::1")
        number = other.getsockname()[1]
        with mock.patch.dict(os.environ, {"BIND": "", "PORT": str(number)}):
            with self.assertRaisesRegex(stack.PortTaken, f"port {number} for the gateway .*in use"):
                stack.refuse_taken_port("gateway", "127.0.0.1", number, "x")
            stack.refuse_taken_port("stats", "127.0.0.1", number, "x")
        with mock.patch.dict(os.environ, {"BIND": "127.0.0.2", "PORT": str(number)}):
            stack.refuse_taken_port("gateway", "127.0.0.2", number, "x")

    def test_an_address_or_a_port_that_this_machine_does_not_have_is_named(self):
        with self.assertRaisesRegex(stack.StackError, "192.0.2.1 for the gateway is no address of this machine"):
            stack.refuse_taken_port("gateway", "192.0.2.1", 3050, "x")
        for number, message in (
            (errno.EAFNOSUPPORT, "is no address of this machine"),
            (errno.EACCES, "only root may use it"),
        ):
            with mock.patch.object(socket, "socket", side_effect=OSError(number, os.strerror(number))):
                with self.assertRaisesRegex(stack.StackError, message):
                    stack.refuse_taken_port("gateway", "::1", 80, "x")

    def test_the_engine_publishes_ports_that_only_root_may_use(self):
        system = containers.Containers(build.RELEASE, ["docker", "compose"])
        with (
            mock.patch.dict(os.environ, {"PORT": "80"}),
            mock.patch.object(system, "_output", return_value=""),
            mock.patch.object(containers, "refuse_taken_port", side_effect=AssertionError),
        ):
            system.check_ports()

    def test_only_ports_of_the_running_system_itself_may_be_taken(self):
        address = f"127.0.0.1:{self.taken()}"
        with mock.patch.dict(os.environ, {"PORT": str(free_port()), "STATS_LISTEN": address}):
            system = processes.Processes(build.RELEASE)
            with mock.patch.object(system, "_held", return_value={address}):
                system.check_ports()
            with mock.patch.object(system, "_held", return_value={"127.0.0.1:1"}):
                with self.assertRaisesRegex(stack.StackError, "cannot be used"):
                    system.check_ports()

    def with_stats_on(self, number, port):
        """The system with another port of stats and of the gateway, and what it prints."""
        self.enter(
            mock.patch.object(processes, "STATE", self.temporary_folder()),
            mock.patch.dict(catalog.ALL, stats=dataclasses.replace(catalog.ALL["stats"], port=number)),
            mock.patch.dict(os.environ, {"PORT": str(port), "FRONTEND_LISTEN": f"127.0.0.1:{free_port()}"}),
        )
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            system = checked(build.RELEASE)
        self.assertIn(f"port {number} is taken, so stats listens on {system.listen['stats']}", printed.getvalue())
        return system

    def test_a_service_behind_the_gateway_takes_another_port_unless_it_was_given_one(self):
        number = self.taken()
        system = self.with_stats_on(number, free_port())
        self.assertEqual(system._upstreams()["GATEWAY_STATS"], system.listen["stats"])
        with mock.patch.dict(os.environ, {"STATS_LISTEN": f"127.0.0.1:{number}"}):
            with self.assertRaisesRegex(stack.StackError, f"port {number} for the stats .* STATS_LISTEN="):
                checked(build.RELEASE)

    def test_a_service_behind_the_gateway_leaves_it_its_port(self):
        number = free_port()
        system = self.with_stats_on(number, number)
        self.assertEqual(system.listen["gateway"], f"127.0.0.1:{number}")
        self.assertNotEqual(system.listen["stats"], system.listen["gateway"])
        for address, bind, refused in (
            ("127.0.0.1", "", True),
            ("127.0.0.3", "127.0.0.2", False),
            ("0.0.0.0", "127.0.0.2", True),
        ):
            given = {"BIND": bind, "STATS_LISTEN": f"{address}:{number}"}
            with self.subTest(address), mock.patch.dict(os.environ, given):
                expected = self.assertRaisesRegex(stack.PortTaken, "is the gateway's")
                with expected if refused else contextlib.nullcontext():
                    checked(build.RELEASE)

    def test_no_proxy_stands_between_the_system_and_its_first_answer(self):
        address = self.respond(body=b"here")
        with mock.patch.dict(os.environ, {"http_proxy": "http://127.0.0.1:9", "no_proxy": "x", "NO_PROXY": "x"}):
            self.assertEqual(stack.answer(address), b"here")


class Ends(Case):
    """`kill`, a closed terminal and `nohup` while `make up` starts the system."""

    def setUp(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def up(self, number):
        """The exit code of `make up` that gets a signal while it starts, and whether it has stopped the system."""
        system = mock.Mock()
        system.start.side_effect = lambda: signal.raise_signal(number)
        with (
            mock.patch.object(build, "ensure_tools"),
            mock.patch.object(build, "build"),
            mock.patch.object(run_local, "choose", return_value=system),
        ):
            return run_local.main(["up"]), system.down.called

    def test_each_signal_that_ends_it_stops_what_it_has_started(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                signal.signal(number, signal.SIG_DFL)
                self.assertEqual(self.up(number), (130, True))

    def test_nohup_keeps_it_running(self):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.assertEqual(self.up(signal.SIGHUP), (0, False))

    def test_a_closed_terminal_does_not_keep_it_from_stopping(self):
        stopped = self.temporary_folder() / "stopped"
        code = (
            "import os, signal; from unittest import mock\n"
            "from tools.build import build; from tools.local import run_local\n"
            "build.ensure_tools = build.build = lambda *_: None\n"
            "system = mock.Mock(); run_local.choose = lambda _: system\n"
            "system.start = lambda: (os.close(1), os.dup2(broken, 1), os.kill(os.getpid(), signal.SIGHUP))\n"
            f"system.down = lambda: (print('stopping', flush=True), open({str(stopped)!r}, 'w'))\n"
            "reader, broken = os.pipe(); os.close(reader)\n"
            "run_local.main(['up'])\n"
        )
        subprocess.run([sys.executable, "-c", code], cwd=toolchain.ROOT, capture_output=True, timeout=60)
        self.assertTrue(stopped.exists())


class Upstreams(unittest.TestCase):
    def routes(self, change=lambda _: None, **given):
        """The routes of the gateway with these settings, without services of `make new`."""
        core = {name: service for name, service in catalog.ALL.items() if service.address_setting or service.public}
        with (
            mock.patch.dict(catalog.ALL, core, clear=True),
            mock.patch.dict(os.environ, {"GATEWAY_ROUTES": "", **given}),
        ):
            system = processes.Processes(build.RELEASE)
            change(system)
            return system._upstreams().get("GATEWAY_ROUTES")

    def test_the_gateway_gets_the_addresses_of_all_services(self):
        added = {"added": service_files.new_service("added", 8099)}
        given = {"FRONTEND_LISTEN": "127.0.0.1:3001", "GATEWAY_STATS": "10.0.0.1:80", "GATEWAY_ROUTES": "/mine mine:1"}
        with mock.patch.dict(catalog.ALL, added), mock.patch.dict(os.environ, given):
            settings = processes.Processes(build.RELEASE)._upstreams()
        self.assertEqual(settings["GATEWAY_STATS"], "10.0.0.1:80")
        self.assertEqual(settings["GATEWAY_FRONTEND"], "127.0.0.1:3001")
        routes = settings["GATEWAY_ROUTES"].split("; ")
        self.assertIn("/added 127.0.0.1:8099 check=/healthz", routes)
        self.assertEqual(routes[-1], "/mine mine:1")

    def test_without_other_services_the_routes_are_those_of_the_environment(self):
        self.assertIsNone(self.routes())
        self.assertEqual(self.routes(GATEWAY_ROUTES="/a b:1"), "/a b:1")

    def test_requests_for_stats_are_spread_over_all_instances(self):
        def change(system):
            self.assertEqual(system.replicas, ["stats-2", "stats-3"])
            system.listen.update({"stats": "127.0.0.1:1", "stats-2": "127.0.0.1:2", "stats-3": "127.0.0.1:3"})

        found = self.routes(change, SCALE="3", GATEWAY_ROUTES="/mine mine:1")
        self.assertEqual(found, "/stats 127.0.0.1:1,127.0.0.1:2,127.0.0.1:3 check=/healthz; /mine mine:1")


class Engines(Case):
    def test_variables_of_other_projects_do_not_keep_compose_from_starting(self):
        """A file `.env` may name published images, and what the environment has comes before it."""
        with mock.patch.dict(os.environ, {"COMPOSE_IGNORE_ORPHANS": "true", "DOCKER_DEFAULT_PLATFORM": "linux/arm64"}):
            environment = containers.Containers(build.RELEASE, ["docker", "compose"]).environment
        expected = {"COMPOSE_IGNORE_ORPHANS": "false", "DOCKER_DEFAULT_PLATFORM": ""}
        expected.update({"IMAGES": "system-stats", "PULL_POLICY": "never"})
        self.assertEqual({name: environment[name] for name in expected}, expected)

    @contextlib.contextmanager
    def docker(self, place, commands):
        """A script in a folder is the command docker; yields the output."""
        script(place / "docker", commands)
        with (
            mock.patch.dict(os.environ, {"PATH": f"{place}:{os.environ['PATH']}", "STACK": ""}),
            contextlib.redirect_stdout(io.StringIO()) as said,
        ):
            yield said

    def test_the_reason_why_no_engine_answers_is_that_of_docker(self):
        place = self.temporary_folder()
        with self.docker(place, "echo 'permission denied while trying to connect' >&2; exit 1\n") as said:
            self.assertIsInstance(run_local.choose(build.RELEASE), processes.Processes)
            self.assertIn("(permission denied while trying to connect; add this user to the group", said.getvalue())
            with mock.patch.dict(os.environ, {"STACK": "containers"}):
                with self.assertRaisesRegex(stack.StackError, "permission denied.*without STACK, processes run"):
                    run_local.choose(build.RELEASE)
        with mock.patch.dict(os.environ, {"PATH": str(place / "empty")}):
            self.assertEqual(toolchain.engine_fault(), "")

    def test_podman_in_place_of_docker_is_no_engine(self):
        """It says its own version to be that of the server, also where no socket answers Compose."""
        place = self.temporary_folder()
        with self.docker(place, "case $1 in --version) echo podman version 4.3.1 ;; *) exit 125 ;; esac\n") as said:
            self.assertIsInstance(run_local.choose(build.RELEASE), processes.Processes)
        self.assertIn("no sign of a Docker engine (the command docker is Podman)", said.getvalue())

    def test_containers_of_another_clone_are_left_alone(self):
        """Compose knows them by the project's name, which is the same in all clones."""
        root = os.path.realpath(toolchain.ROOT)
        with tempfile.TemporaryDirectory() as clone, tempfile.TemporaryDirectory() as place:
            os.symlink(root, f"{place}/link")
            for folder, own in ((clone, False), (root, True), (f"{place}/link", True), (f"{place}/moved", True)):
                system = containers.Containers(build.RELEASE, ["docker", "compose"])
                output = io.StringIO()
                with (
                    mock.patch.object(system, "_output", return_value="1234"),
                    mock.patch.object(toolchain, "answer", return_value=folder),
                    mock.patch.object(toolchain, "compose", return_value=["docker", "compose"]),
                    mock.patch.object(run_local, "Containers", return_value=system),
                    mock.patch.object(system, "down") as down,
                    contextlib.redirect_stdout(output),
                ):
                    run_local.down()
                    self.assertEqual((down.called, system.is_running()), (own, own), folder)
                    if not own:
                        self.assertIn(f"started in {clone}: `make down` there", output.getvalue())
                        with self.assertRaisesRegex(stack.StackError, "COMPOSE_PROJECT_NAME=other make up PORT="):
                            system.check_ports()

    def test_containers_that_were_removed_or_replaced_are_seen(self):
        place = self.temporary_folder()
        script(place / "compose", f'case "$*" in *" ps "*) cat {place}/ids ;; *" down "*) >{place}/down ;; esac\n')
        system = containers.Containers(build.QUICK, [str(place / "compose")])
        write(place / "ids", "1\n2\n")
        with mock.patch.object(build, "pack"):
            system.start()
            self.assertFalse(system.was_stopped())
            write(place / "ids", "1\n3\n")
            system.restart("stats")
        for ids, stopped in (("1\n4\n", False), ("3\n", False), ("5\n6\n", True), ("", True)):
            write(place / "ids", ids)
            self.assertEqual(system.was_stopped(), stopped, ids)
            with contextlib.redirect_stdout(io.StringIO()):
                system.down()
            self.assertNotEqual((place / "down").exists(), stopped, ids)
            (place / "down").unlink(missing_ok=True)

    def chosen(self, endpoint, wanted=""):
        with (
            mock.patch.object(toolchain, "engine", return_value="28"),
            mock.patch.object(toolchain, "compose", return_value=["docker", "compose"]),
            mock.patch.object(toolchain, "answer", return_value=endpoint),
            mock.patch.dict(os.environ, {"STACK": wanted}),
            contextlib.redirect_stdout(io.StringIO()) as said,
        ):
            return type(run_local.choose(build.RELEASE)).__name__, said.getvalue()

    def test_an_engine_on_another_machine_does_not_see_the_page_and_publishes_elsewhere(self):
        for endpoint, expected in (
            ("unix:///run/user/1000/docker.sock", "Containers"),
            ("tcp://localhost:2375", "Containers"),
            ("tcp://127.0.0.1:2375", "Containers"),
            ("tcp://[::1]:2375", "Containers"),
            (None, "Containers"),
            ("tcp://docker:2376", "Processes"),
            ("ssh://user@server", "Processes"),
        ):
            self.assertEqual(self.chosen(endpoint)[0], expected, endpoint)
        self.assertIn("ssh://user@server", self.chosen("ssh://user@server")[1])
        self.assertEqual(self.chosen("ssh://user@server", "containers")[0], "Containers")

    def test_containers_that_do_not_answer_may_be_elsewhere(self):
        system = containers.Containers(build.RELEASE, ["docker", "compose"])
        with (
            mock.patch.object(containers, "wait_until_ready", side_effect=stack.StackError("no real answer")),
            mock.patch.object(system, "print_logs"),
            self.assertRaisesRegex(stack.StackError, "no real answer.*STACK=processes"),
        ):
            system.wait_until_ready()
