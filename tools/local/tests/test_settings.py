"""Every setting of a service is in docs/settings.md, reaches the service under Compose, or is refused aloud."""

import os
import re
import unittest
from unittest import mock

import yaml

from tools.build import build
from tools.ci.check import code_lines
from tools.common import catalog
from tools.common.tests.case import Case
from tools.common.toolchain import ROOT
from tools.local import compose_only, given_settings, run_local, stack

SOURCES = {
    "every service": ("crates/service/src",),
    **{name: (f"{service.crate}/src",) for name, service in catalog.ALL.items()},
}
PREFIXES = (*(service.prefix for service in catalog.ALL.values()), "BACKEND", "ECS", "LOG", "DRAIN")
NAME = re.compile(rf'"((?:{"|".join(PREFIXES)})_[A-Z_0-9]+)"')
# Only in the development build of the frontend; docker-compose.dev.yaml and processes.py set it.
DEVELOPMENT = {"FRONTEND_PAGE_FOLDER"}
# Set by AWS for a task's containers.
OF_ECS = {"ECS_CONTAINER_METADATA_URI_V4"}


COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))


def declared(service: str) -> set[str]:
    """The names that the source of a service reads, without its tests."""
    files = [file for place in SOURCES[service] for file in (ROOT / place).rglob("*.rs")]
    lines = (line for file in files for line in code_lines(file.read_text(encoding="utf-8")))
    return {name for line in lines for name in NAME.findall(line)}


def documented() -> dict[str, set[str]]:
    """The names in each section of docs/settings.md."""
    sections: dict[str, set[str]] = {}
    section = ""
    for line in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## (.+)", line):
            section = heading[1].lower()
        elif line.startswith("| `") and section:
            sections.setdefault(section, set()).update(re.findall(r"`([A-Z][A-Z_0-9]+)`", line.split("|")[1]))
    return sections


def composed(service: str) -> dict[str, str]:
    """The environment of a service in docker-compose.yaml, with what all have in common."""
    return COMPOSE["services"][service]["environment"]


class EverySetting(unittest.TestCase):
    def test_the_table_has_every_setting_that_a_service_reads_and_no_other(self) -> None:
        table = documented()
        for service in SOURCES:
            self.assertGreater(len(declared(service)), 1, service)
            self.assertEqual(table[service], declared(service) - DEVELOPMENT, service)

    def test_compose_passes_every_setting_to_its_service(self) -> None:
        addresses = {name: f"{name}:{service.port}" for name, service in catalog.ALL.items()}
        routes = catalog.gateway_settings(catalog.ALL.values(), addresses, "${GATEWAY_ROUTES:-}")["GATEWAY_ROUTES"]
        fixed = OF_ECS | DEVELOPMENT | set(given_settings.FIXED["containers"])
        for service in build.SERVICES:
            passed, read = composed(service), declared(service) | declared("every service")
            for name in read - fixed:
                self.assertIn(name, passed, f"{service} in docker-compose.yaml")
                begin = re.escape(routes.partition("$")[0]) if name == "GATEWAY_ROUTES" else ""
                self.assertRegex(passed[name], rf"^{begin}\$\{{{name}:-[^}}]*\}}$")
            self.assertLessEqual(set(passed), read, service)

    def test_the_container_of_the_gateway_has_room_for_all_its_threads(self) -> None:
        source = (ROOT / "services/gateway/src/settings.rs").read_text(encoding="utf-8")
        most = int(re.search(r'"GATEWAY_THREADS",\s*"a whole number from 1 to (\d+)"', source)[1])
        self.assertGreater(COMPOSE["services"]["gateway"]["pids_limit"], most + 64)

    def test_every_file_of_a_setting_is_looked_for_in_the_folder_that_is_mounted(self) -> None:
        ends = ("_FILE", "_KEY", "_CERTIFICATE", "_CA")
        files = {name for service in build.SERVICES for name in declared(service) if name.endswith(ends)}
        self.assertEqual(files, set(given_settings.FILES))


class WithoutEffect(unittest.TestCase):
    def refused(self, kind: str, **given: str) -> str:
        return "\n".join(given_settings.ineffective_settings(kind, given))

    def test_a_setting_that_reaches_its_service_is_accepted(self) -> None:
        given = {name: "x" for service in SOURCES for name in declared(service) - DEVELOPMENT}
        for name in (*given_settings.FIXED["containers"], *given_settings.FILES):
            given.pop(name, None)
        self.assertEqual(self.refused("containers", **given), "")
        self.assertEqual(self.refused("processes", **given), "")

    def test_what_the_way_of_running_decides_is_refused_with_what_to_do_instead(self) -> None:
        self.assertIn("BIND and PORT", self.refused("containers", GATEWAY_LISTEN="0.0.0.0:80"))
        self.assertIn("BIND and PORT", self.refused("processes", GATEWAY_LISTEN="0.0.0.0:80"))
        self.assertIn("always 0.0.0.0:8080", self.refused("containers", STATS_LISTEN="127.0.0.1:1"))
        self.assertEqual(self.refused("processes", STATS_LISTEN="127.0.0.1:1"), "")
        self.assertIn("STATS_ROOT has no effect", self.refused("containers", STATS_ROOT="/mnt"))
        self.assertEqual(self.refused("containers", STATS_LISTEN=""), "")

    def test_a_file_that_a_container_does_not_see_is_refused(self) -> None:
        for name in given_settings.FILES:
            message = self.refused("containers", **{name: "/home/me/some.file"})
            self.assertIn(f"FILES=./folder {name}=/files/some.file", message)
            self.assertIn(name, self.refused("containers", **{name: "/files/some.file"}))
            self.assertEqual(self.refused("containers", FILES="x", **{name: "/files/some.file"}), "")
            self.assertEqual(self.refused("processes", **{name: "/home/me/some.file"}), "")

    def test_a_name_that_no_service_knows_is_refused(self) -> None:
        self.assertEqual(self.refused("containers", GATEWAY_HTTPS="on"), "GATEWAY_HTTPS is not a setting")
        # A process reports it itself; variables set by Kubernetes are ignored.
        self.assertEqual(self.refused("processes", GATEWAY_HTTPS="on"), "")
        self.assertEqual(self.refused("containers", STATS_PORT_8080_TCP="x", STATS_SERVICE_HOST="x"), "")

    def test_the_stack_refuses_before_anything_starts(self) -> None:
        with mock.patch.dict(os.environ, {"GATEWAY_LISTEN": "0.0.0.0:80", "STACK": "processes"}):
            with self.assertRaisesRegex(stack.StackError, "settings that cannot take effect"):
                run_local.choose(build.RELEASE)


class Elsewhere(Case):
    """On macOS and Windows, Compose does all of it."""

    version = "v2.25.0"

    def run_target(self, target: str, folder: str = "", **given: str) -> tuple[int, list]:
        calls = []
        answers = {"version": self.version, "ps": "1234" if folder else "", "--format": folder}

        def answer(command):
            return next(text for word, text in answers.items() if word in command)

        def run(command, env, **_):
            calls.append(command)
            self.environment = env
            return mock.Mock(returncode=0)

        self.enter(
            mock.patch.object(compose_only.sys, "platform", "darwin"),
            mock.patch.object(compose_only.toolchain, "engine", lambda: "28.0.0"),
            mock.patch.object(compose_only.toolchain, "compose", lambda: ["docker", "compose"]),
            mock.patch.object(
                compose_only.toolchain,
                "answer",
                lambda command: next(answers[word] for word in command if word in answers),
            ),
            mock.patch.object(compose_only.subprocess, "run", run),
            mock.patch.dict(os.environ, given),
        )
        self.assertTrue(compose_only.needed())
        return run_local.main([target]) if target != "dev" else compose_only.run("dev"), calls

    def test_make_dev_builds_and_watches(self) -> None:
        code, calls = self.run_target("dev")
        # Whatever files COMPOSE_FILE names for another project.
        files = ["--file", "docker-compose.yaml", "--file", "docker-compose.override.yaml"]
        self.assertEqual((code, calls[0][:9]), (0, ["docker", "compose", *files, "up", "--build", "--watch"]))

    def test_a_compose_that_cannot_watch_is_named(self) -> None:
        for self.version, code in (("2.24.7", 1), ("2.40.3-desktop.1", 0), ("5.0.0", 0)):
            self.assertEqual(self.run_target("dev")[0], code, self.version)

    def test_make_up_waits_until_it_is_healthy(self) -> None:
        _, calls = self.run_target("up")
        self.assertLessEqual({"--build", "--detach", "--wait"}, set(calls[0]))

    def test_instances_address_and_folder_are_those_of_linux(self) -> None:
        _, calls = self.run_target("dev", SCALE="5", BIND="::1", FILES="files", PORT="")
        self.assertEqual(calls[0][-2:], ["--scale", "stats=5"])
        self.assertEqual(self.environment["BIND"], "[::1]")
        self.assertEqual(self.environment["FILES"], os.path.realpath("files"))
        self.assertEqual(self.environment["PORT"], "")

    def test_a_wrong_number_of_instances_is_refused_there_too(self) -> None:
        code, calls = self.run_target("dev", SCALE="x")
        self.assertEqual((code, calls), (64, []))

    def test_the_containers_of_another_clone_are_left_alone(self) -> None:
        code, calls = self.run_target("down", str(self.temporary_folder()))
        self.assertEqual((code, calls), (1, []))
        code, calls = self.run_target("down", str(ROOT))
        self.assertEqual((code, len(calls)), (0, 1))

    def test_settings_without_effect_are_refused_there_too(self) -> None:
        code, calls = self.run_target("up", GATEWAY_LISTEN="0.0.0.0:80")
        self.assertEqual((code, calls), (64, []))
