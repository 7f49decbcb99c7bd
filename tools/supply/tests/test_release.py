"""Artifacts of a release: images in a registry, and a Compose file that names them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import unittest
from typing import Callable
from unittest import mock

from tools.build import build
from tools.ci import ci, github
from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.tests.case import Case
from tools.common.toolchain import ROOT
from tools.supply import release
from tools.supply.tests.test_oci import ARM, INTEL

COMPOSE = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
IMAGES = {name: f"ghcr.io/acme/system-stats/{name}:1.2.3@sha256:{'ab' * 32}" for name in build.SERVICES}


class TheRepository(unittest.TestCase):
    def name(self, remote: str, given: str = "") -> str:
        with mock.patch.object(github.toolchain, "answer", lambda _: remote or None):
            with mock.patch.dict(os.environ, {"GITHUB_REPOSITORY": given}):
                return github.repository_name()

    def test_its_owner_is_that_of_the_workflow_or_of_the_remote(self) -> None:
        self.assertEqual(self.name("https://github.com/else/where.git", "Acme/system-stats"), "Acme/system-stats")
        for remote in (
            "https://github.com/acme/system-stats.git",
            "https://github.com/acme/system-stats",
            "git@github.com:acme/system-stats.git",
            "ssh://git@github.com/acme/system-stats.git",
        ):
            self.assertEqual(self.name(remote), "acme/system-stats", remote)

    def test_a_remote_elsewhere_names_no_owner(self) -> None:
        for remote in ("", "/srv/git/system-stats.git", "https://example.org/acme/system-stats"):
            with self.assertRaisesRegex(Refused, "GITHUB_REPOSITORY=owner/name"):
                self.name(remote)

    def test_an_image_has_a_name_in_lower_case(self) -> None:
        with mock.patch.dict(os.environ, {"GITHUB_REPOSITORY": "Acme/System-Stats", "REGISTRY": ""}):
            self.assertEqual(release.address("stats"), "ghcr.io/acme/system-stats/stats")


class CodeOwners(unittest.TestCase):
    def owners(self, given: str) -> list[str]:
        with mock.patch.dict(os.environ, {"OWNERS": given, "GITHUB_REPOSITORY": "acme/system-stats"}):
            with mock.patch.object(ci, "write") as write, contextlib.redirect_stdout(io.StringIO()):
                ci.do_codeowners()
        return write.call_args.args[1].splitlines()[-1].split()

    def test_they_are_the_owner_of_the_repository_or_those_that_are_named(self) -> None:
        self.assertEqual(self.owners(""), ["*", "@acme"])
        self.assertEqual(self.owners("@acme/platform jane@example.org"), ["*", "@acme/platform", "jane@example.org"])

    def test_what_github_would_not_understand_is_refused(self) -> None:
        for wrong in ("acme", "@acme/", "@"):
            with self.assertRaisesRegex(Refused, "OWNERS has"):
                self.owners(wrong)


class ComposeFile(unittest.TestCase):
    def test_it_names_every_image_by_digest_and_builds_nothing(self) -> None:
        text = release.compose_file(IMAGES, COMPOSE)
        self.assertEqual(re.findall(r"^    image: (.*)$", text, re.MULTILINE), list(IMAGES.values()))
        for word in ("pull_policy", "build:", "IMAGES", "TAG"):
            self.assertNotIn(word, text)

    def test_the_rest_is_as_in_the_repository(self) -> None:
        differs = re.compile(r"^(#|  #|    image:|  pull_policy:)")
        same = [line for line in COMPOSE.splitlines() if not differs.match(line)]
        text = release.compose_file(IMAGES, COMPOSE)
        self.assertEqual([line for line in text.splitlines() if not differs.match(line)], same)

    def test_a_name_with_a_hyphen_is_a_name(self) -> None:
        text = release.compose_file({"a-b": "r/a-b@x"}, "    image: ${IMAGES:-system-stats}/a-b:${TAG:-latest}\n")
        self.assertIn("    image: r/a-b@x\n", text)

    @unittest.skipIf(toolchain.compose() is None, "needs Docker Compose")
    def test_compose_reads_it_from_its_standard_input(self) -> None:
        text = release.compose_file(IMAGES, COMPOSE)
        command = [*toolchain.compose(), "-f", "-", "config", "--format", "json"]
        done = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True, timeout=60)
        services = json.loads(done.stdout)["services"]
        self.assertEqual({name: about["image"] for name, about in services.items()}, IMAGES)


class Publishing(Case):
    def setUp(self) -> None:
        self.registry = mock.Mock()
        self.registry.digest_of.return_value = None
        self.enter(
            mock.patch.object(release, "published", lambda name: self.registry),
            mock.patch.object(
                release, "unpacked", lambda architecture, name: ARM if architecture == "ARM64" else INTEL
            ),
            mock.patch.object(release, "releasable", lambda: ("v1", "notes")),
            mock.patch.dict(os.environ, {"GITHUB_REPOSITORY": "acme/system-stats", "S": "stats"}),
        )

    def test_both_processors_are_pushed_before_the_names_that_lead_to_them(self) -> None:
        release.image()
        calls = [(call[0], *call[1][1:]) for call in self.registry.mock_calls if call[0] != "digest_of"]
        version = release.version()
        self.assertEqual({calls[0][1], calls[1][1]}, {f"{version}-amd64", f"{version}-arm64"})
        self.assertEqual([call[0] for call in calls], ["push", "push", "name", "put"])
        index = json.loads(self.registry.name.call_args[0][0])
        self.assertEqual(
            index["annotations"]["org.opencontainers.image.source"], "https://github.com/acme/system-stats"
        )
        self.assertEqual(len(index["manifests"]), 2)

    def test_a_version_to_try_is_not_the_latest(self) -> None:
        with mock.patch.object(release, "version", lambda: "1.0.0-rc.1"):
            release.image()
        self.registry.put.assert_not_called()

    def test_a_private_repository_is_not_attested(self) -> None:
        for private, expected in (("false", "true"), ("true", "false")):
            with (
                mock.patch.dict(os.environ, {"PRIVATE": private, "ATTEST": ""}),
                mock.patch.object(github, "output") as output,
                mock.patch.object(github, "say"),
            ):
                release.image()
            self.assertEqual(output.call_args.kwargs["attest"], expected)

    def test_an_unknown_service_is_refused(self) -> None:
        with mock.patch.dict(os.environ, {"S": "nginx"}), self.assertRaisesRegex(Refused, "S is 'nginx'"):
            release.image()


class ATagThatCannotBeReleased(Case):
    def refused(self, action: Callable[[], None], tag: str, on_main: str | None, changelog: str) -> str:
        """The refusal, before anything is built or pushed."""
        variables = {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": tag, "GITHUB_REPOSITORY": "acme/shop", "S": "stats"}
        root = self.temporary_folder()
        (root / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
        with (
            mock.patch.dict(os.environ, variables),
            mock.patch.multiple(release, ROOT=root, version=lambda: "1.0.0"),
            mock.patch.object(release.toolchain, "answer", return_value=on_main),
            mock.patch.multiple(release, finished_binaries=mock.DEFAULT, published=mock.DEFAULT) as later,
            self.assertRaises(Refused) as refused,
        ):
            action()
        self.assertFalse(any(step.called for step in later.values()))
        return str(refused.exception)

    def test_it_is_refused_before_the_build_and_before_the_push(self) -> None:
        noted = "## 1.0.0\n\nThe first one.\n"
        for action in (release.dist, release.image):
            for tag, on_main, changelog, why in (
                ("v1.0.1", "origin/main", noted, "the tag is v1.0.1, and the workspace's version is 1.0.0"),
                ("v1.0.0", "", noted, "v1.0.0 is not of a commit on main"),
                ("v1.0.0", "origin/main", "## Unreleased\n", "CHANGELOG.md has nothing under `## 1.0.0`"),
            ):
                self.assertEqual(self.refused(action, tag, on_main, changelog), why)


class AtGitHub(unittest.TestCase):
    def calls(self, tag: str, releases: list[dict]) -> list[tuple]:
        """The calls for a release of one file, where GitHub has the releases `there`."""
        place = {"id": 7, "upload_url": "https://uploads{?name}", "html_url": "https://page"}
        releases = [{**place, **entry} for entry in releases]
        call = mock.Mock(return_value=place)
        with (
            mock.patch.dict(os.environ, {"GITHUB_REPOSITORY": "acme/shop", "GITHUB_TOKEN": "t"}),
            mock.patch.multiple(github.Repository, _list=lambda _self, _path: iter(releases), _call=call),
        ):
            github.Repository().release(tag, "notes", [ROOT / "LICENSE"])
        return [entry.args for entry in call.mock_calls]

    def test_only_a_version_to_try_is_a_prerelease(self) -> None:
        for tag, expected in (("v1.0.0", False), ("v1.0.0-rc.1", True)):
            created, _uploaded, published = self.calls(tag, [])
            self.assertEqual((created[0], created[2]["prerelease"]), ("POST", expected))
            self.assertEqual(published[2], {"draft": False, "body": "notes", "prerelease": expected})

    def test_a_file_that_arrived_in_part_is_sent_again(self) -> None:
        def sent(state: str) -> list[str]:
            assets = [{"id": 9, "name": "LICENSE", "state": state}]
            return [call[0] for call in self.calls("v1.0.0", [{"tag_name": "v1.0.0", "draft": True, "assets": assets}])]

        self.assertEqual(sent("uploaded"), ["PATCH"])
        self.assertEqual(sent("starter"), ["DELETE", "POST", "PATCH"])
