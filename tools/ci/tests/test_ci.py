"""Decisions of the workflows' make targets; runner.py in e2e/deploy/ runs them completely."""

import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools.ci import ci, github
from tools.cloud import deploy, plans, session
from tools.cloud.releases import Release
from tools.common import environments, progress
from tools.common.environments import Refused
from tools.common.tests.case import Case, git
from tools.supply import images, oci, release

VERSION = Release("1" * 40, {"stats": f"r@sha256:{'1' * 64}"}, "2026-11-25T00:00:00Z")


def change(address: str, *actions: str) -> dict:
    return {"address": address, "change": {"actions": list(actions)}}


class Previews(unittest.TestCase):
    def test_a_preview_is_the_pattern_with_a_state_and_names_of_its_own(self):
        preview, pattern = environments.named("pr-12"), environments.named("preview")
        self.assertEqual(preview.state_key, "environments/pr-12/terraform.tfstate")
        self.assertEqual(preview.variables, pattern.variables)
        self.assertTrue(preview.preview and not pattern.preview)
        *_, file = session.variables_of(preview, VERSION)
        self.assertEqual(json.loads(Path(file.split("=")[1]).read_text(encoding="utf-8"))["environment"], "pr-12")

    def session(self, name: str, *keys: str) -> session.Session:
        aws = mock.Mock()
        aws.pages.side_effect = lambda *_call, Prefix, **_more: [
            {"Contents": [{"Key": key} for key in keys if key.startswith(Prefix)]}
        ]
        return session.Session(environments.named(name), aws, "123456789012", aws)

    def test_a_preview_needs_what_previews_share(self):
        """Without it Terraform would only find that there is no load balancer of that name."""
        for keys in ((), ("environments/preview-2/terraform.tfstate", "environments/preview/releases.json")):
            with self.assertRaisesRegex(Refused, "pr-12 uses .* run `make deploy ENV=preview` first"):
                self.session("pr-12", *keys).variables(VERSION)
        prepared = self.session("pr-12", "environments/preview/terraform.tfstate")
        self.assertEqual(prepared.variables(VERSION), session.variables_of(prepared.environment, VERSION))
        # Other environments have their own.
        self.assertTrue(self.session("dev").variables(VERSION))

    def test_what_previews_share_has_terraform_of_its_own_and_no_images(self):
        preview = self.session("preview")
        self.assertEqual(preview.environment.terraform, environments.TF / "previews")
        self.assertEqual(self.session("pr-12").environment.terraform, environments.TF)
        (file,) = preview.variables(None)
        values = json.loads(Path(file.split("=")[1]).read_text(encoding="utf-8"))
        self.assertEqual(values, {"region": "us-east-1", "account_id": None, "account_role": None})

    def test_it_is_not_destroyed_under_a_preview(self):
        keys = ("environments/pr-1/terraform.tfstate", "environments/pr-x/terraform.tfstate")
        preview = self.session("preview", *keys)
        with mock.patch.object(deploy, "session", return_value=preview):
            with self.assertRaisesRegex(Refused, "preview is used by pr-1: destroy"):
                deploy.do_destroy()

    def test_commands_about_services_do_not_take_it(self):
        with mock.patch.dict(os.environ, {"ENV": "preview"}):
            for target in (deploy.do_logs, deploy.do_smoke, deploy.do_rollback, ci.do_apply, ci.do_run):
                with self.assertRaisesRegex(Refused, "runs no services", msg=target):
                    target()

    def test_no_other_name_is_one(self):
        for name in ("pr-", "pr-0", "pr-01", "pr-x", "pr-1/../prod", "PR-1", "pr-1234567890"):
            with self.assertRaises(Refused, msg=name):
                environments.named(name)

    def test_orphans_are_previews_whose_pull_request_is_not_open(self):
        keys = [
            *("environments/pr-1/terraform.tfstate", "environments/pr-1/releases.json"),
            *("environments/pr-2/terraform.tfstate", "environments/pr-30/terraform.tfstate"),
            *("environments/pr-3/releases.json", "environments/pr-x/terraform.tfstate"),
        ]
        for found, opened, expected in ((keys, {2}, '["pr-1", "pr-30"]'), ([], set(), "[]")):
            aws = self.session("preview", *found).aws
            with (
                mock.patch.multiple(ci, account_session=lambda aws=aws: (aws, "123456789012", {}), say=mock.Mock()),
                mock.patch.multiple(github, Repository=mock.DEFAULT, output=mock.DEFAULT) as hub,
            ):
                hub["Repository"]().open_pull_requests.return_value = opened
                ci.do_stale_previews()
            hub["output"].assert_called_once_with("stale-previews", previews=expected)


class Settings(unittest.TestCase):
    def test_another_directory_is_refused(self):
        with mock.patch.dict(os.environ, {"DIRECTORY": "tf/modules/app"}), self.assertRaisesRegex(Refused, "DIRECTORY"):
            session.of_account()

    def test_addresses_come_from_the_account_s_outputs_where_they_are_given(self):
        outputs = {"repositories": {"stats": "registry.example/stats"}}
        with mock.patch.dict(os.environ, {"ACCOUNT": json.dumps(outputs)}):
            self.assertEqual(images.addresses(mock.Mock(), "repositories", "x"), outputs["repositories"])
        with mock.patch.dict(os.environ, {"ACCOUNT": "nonsense"}), self.assertRaises(Refused):
            images.addresses(mock.Mock(), "repositories", "x")

    def test_main_waits_for_the_account_and_pull_requests_do_not(self):
        with mock.patch.dict(os.environ, {"CHANGED": "true"}):
            with self.assertRaisesRegex(progress.Failed, "an administrator runs `make bootstrap`"):
                ci.do_registry()


class Order(unittest.TestCase):
    def test_a_slower_run_does_not_undo_a_newer_one(self):
        with tempfile.TemporaryDirectory() as folder:
            git(Path(folder), "init", "--quiet")
            commits = []
            for message in ("first", "second"):
                git(Path(folder), "commit", "--quiet", "--allow-empty", "--message", message)
                commits.append(git(Path(folder), "rev-parse", "HEAD"))
            first, second = commits
            self.assertTrue(ci.superseded(first, second, Path(folder)))
            for running in (first, "", "3" * 40):
                self.assertFalse(ci.superseded(second, running, Path(folder)), running)
            self.assertFalse(ci.superseded(second, second, Path(folder)))


class KeptPlans(Case):
    def setUp(self):
        folder = self.temporary_folder()
        for name in ("PLANS", "REPORTS"):
            self.enter(mock.patch.object(plans, name, folder / name))

    def test_exactly_what_was_kept_comes_back(self):
        plans.keep("staging", VERSION, True, "a digest")
        found = plans.kept("staging", VERSION.revision)
        self.assertEqual((found.digest, found.release, found.changed), ("a digest", VERSION, True))

    def test_terraform_s_own_file_is_not_kept(self):
        """It holds secrets, and artifacts of a public repository are public."""
        plans.keep("staging", VERSION, True, "a digest")
        self.assertEqual([file.name for file in plans.folder("staging").iterdir()], ["planned.json"])

    def test_a_digest_is_of_what_changes_and_of_nothing_else(self):
        def plan(after, desired=2, address="a", actions=("update",)):
            before = {"image": "old", "desired_count": desired}
            change = {"before": before, "after": {"image": after, "desired_count": desired}}
            changed = {"address": address, "change": {**change, "actions": list(actions)}}
            other = {"address": "z", "change": {"before": {}, "after": {}, "actions": ["no-op"]}}
            return plans.digest({"resource_changes": [changed, other]})

        self.assertEqual(plan("new"), plan("new", desired=5))
        for other in (plan("newer"), plan("new", address="b"), plan("new", actions=("delete",))):
            self.assertNotEqual(plan("new"), other)
        outputs = {"url": {"before": "a", "after": "b", "actions": ["update"]}}
        self.assertNotEqual(plans.digest({}), plans.digest({"output_changes": outputs}))

    def test_another_commit_s_plan_and_none_are_refused(self):
        with self.assertRaisesRegex(Refused, "there is no plan of staging"):
            plans.kept("staging", VERSION.revision)
        plans.keep("staging", VERSION, True, "a digest")
        with self.assertRaisesRegex(Refused, "is of the commit 111111111111, and 222222222222"):
            plans.kept("staging", "2" * 40)
        plans.forget("staging")
        with self.assertRaises(Refused):
            plans.kept("staging", VERSION.revision)

    def test_a_report_names_what_changes_and_no_value(self):
        changed = {**change("b", "update"), "before": "secret", "after": "secret"}
        entries = [change("a", "create"), changed, change("c", "no-op"), change("d", "delete", "create")]
        text = plans.report("staging", {"resource_changes": entries})
        self.assertIn("**Plan of staging**: 1 new, 1 changed, 1 replaced", text)
        self.assertNotIn("secret", text)
        self.assertNotIn(" c", text.replace("changed", ""))
        self.assertIn("nothing changes", plans.report("staging", {}))

    def test_sizes_stand_beside_those_of_main(self):
        text = plans.sizes({"stats": 1500, "gateway": 4000}, {"stats": 1000, "gateway": 4000})
        self.assertIn("| stats | 1,500 | 1,000 | +500 |", text)
        self.assertIn("| together | 5,500 | 5,000 | +500 |", text)
        self.assertIn("| stats | 1,500 |  |  |", plans.sizes({"stats": 1500}, {}))


class Reviews(Case):
    def setUp(self):
        self.enter(mock.patch.dict(os.environ, {"GITHUB_REPOSITORY": "a/b", "GITHUB_TOKEN": "t"}))
        self.called = self.enter(mock.patch.object(github.Repository, "_call"))

    def protected(self, name, rules, inside="true"):
        self.called.return_value = {"protection_rules": [{"type": rule} for rule in rules]}
        with mock.patch.dict(os.environ, {"GITHUB_ACTIONS": inside}):
            ci.protected(environments.named(name))
        return self.called

    def test_prod_is_refused_without_a_reviewer(self):
        for rules in ([], ["branch_policy"]):
            with self.assertRaisesRegex(Refused, "prod of the repository's settings has no"):
                self.protected("prod", rules)
        self.assertIn("environments/prod", str(self.protected("prod", ["required_reviewers"]).call_args))

    def test_other_environments_and_work_by_hand_are_not_asked(self):
        for name, inside in (("staging", "true"), ("prod", "")):
            self.protected(name, [], inside).assert_not_called()

    def test_a_setting_within_a_block_protects_nothing(self):
        for text in ("a = 1\nprotect = true # yes\n", 'a = "{" # {\nb = { c = [\n  1] }\n\t protect = true\n'):
            self.assertTrue(environments.protects(text), text)
        for text in ("protect = false\n", "a = {\n  b = [1]\n  protect = true\n}\n", "# protect = true\n"):
            self.assertFalse(environments.protects(text), text)

    def test_earlier_runs_that_wait_are_ended_and_later_ones_are_not(self):
        runs = [{"run_number": number, "id": number * 10} for number in (3, 9, 4)]
        self.called.return_value = {"workflow_runs": runs}
        self.assertEqual(github.Repository().supersede("main.yaml", 5), [3, 4])
        ended = [call.args[1] for call in self.called.call_args_list if call.args[0] == "POST"]
        self.assertEqual(ended, [f"repos/a/b/actions/runs/{run}/cancel" for run in (30, 40)])

    def test_a_run_that_has_ended_since_it_was_listed_stops_no_deployment(self):
        runs = [{"run_number": number, "id": number * 10} for number in (3, 4)]
        for code, expected in ((409, [4]), (403, None)):
            self.called.side_effect = [{"workflow_runs": runs}, github.GitHubError("POST: Cannot cancel", code), {}]
            if expected is None:
                self.assertRaises(github.GitHubError, github.Repository().supersede, "main.yaml", 5)
            else:
                self.assertEqual(github.Repository().supersede("main.yaml", 5), expected)

    def test_a_private_repository_is_attested_where_github_does(self):
        for private, variable, expected in (
            ("false", "", True),
            ("", "", True),
            ("true", "", False),
            ("true", "on", True),
        ):
            with (
                mock.patch.dict(os.environ, {"PRIVATE": private, "ATTEST": variable}),
                mock.patch.object(github, "say") as say,
            ):
                self.assertIs(github.can_attest(), expected)
                self.assertIs(say.called, not expected)


class Comments(Case):
    def setUp(self):
        self.folder = self.temporary_folder()

    def test_it_begins_with_what_a_reviewer_looks_for(self):
        (self.folder / "plan-pr-7.md").write_text("**Plan**\n")
        (self.folder / "page.png").write_text("no text")
        variables = {"URL": "http://a.example", "SCREENSHOT": "http://b.example", "COMMIT": "1" * 40}
        text = ci.comment(variables, self.folder)
        self.assertTrue(text.startswith("## Preview: http://a.example\n[screenshot](http://b.example)"))
        self.assertIn("**Plan**", text)
        self.assertTrue(ci.comment({}, self.folder).startswith("## There is no preview"))

    def test_it_fits_into_what_github_takes(self):
        (self.folder / "long.md").write_text("x" * 100_000)
        self.assertLess(len(ci.comment({}, self.folder)), 65_000)

    def test_outputs_are_those_that_are_named_and_one_line_each(self):
        file = self.folder / "output"
        with mock.patch.dict(os.environ, {"GITHUB_OUTPUT": str(file)}):
            github.output("plan", changed="true")
            for bad in ({"change": "true"}, {"changed": "true\nurl=http://evil.example"}):
                self.assertRaises(ValueError, github.output, "plan", **bad)
        self.assertEqual(file.read_text(), "changed=true\n")


class Releases(unittest.TestCase):
    changelog = "# Changelog\n\n## Unreleased\n\n- later\n\n## 1.2.0 - 2026-11-25\n\n- now\n\n## 1.1.0\n"

    def test_its_text_is_the_changelog_s_section(self):
        self.assertEqual(release.changelog_section(self.changelog, "1.2.0"), "- now")

    def test_a_version_without_a_text_is_refused(self):
        for version in ("1.3.0", "1.1.0"):
            with self.assertRaises(Refused, msg=version):
                release.changelog_section(self.changelog, version)

    def test_an_archive_is_the_same_whenever_it_is_packed(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "stats")
            file.write_text("code")
            first = release.packed([file])
            os.utime(file, (1, 1))
            self.assertEqual(release.packed([file]), first)


class BothProcessors(unittest.TestCase):
    def test_one_name_leads_to_the_image_of_each(self):
        platforms = {name: oci.Image(name.encode(), b"{}", b"layer") for name in ("X86_64", "ARM64")}
        index = json.loads(oci.index(platforms))
        found = {entry["platform"]["architecture"]: entry["digest"] for entry in index["manifests"]}
        self.assertEqual(found, {"amd64": platforms["X86_64"].digest, "arm64": platforms["ARM64"].digest})
        self.assertEqual(oci.index(platforms), oci.index(dict(reversed(list(platforms.items())))))


class TagsOfImages(unittest.TestCase):
    """Tags cannot be moved, so bytes of a laptop must not have the tags of a workflow's images."""

    def tags(self, inside, attested_by, multi_platform):
        environment = mock.Mock(architecture="ARM64", attested_by=attested_by, preview=False)
        with (
            mock.patch.dict(os.environ, {"GITHUB_ACTIONS": inside, "ACCOUNT": '{"repositories": {"a": "b"}}'}),
            mock.patch.object(images.commit, "made_from", return_value="1234 2026-11-25"),
        ):
            return images.Images(mock.Mock(), environment, "1234")._tags("stats", multi_platform)

    def test_a_workflow_sees_and_makes_its_own_alone(self):
        self.assertEqual(self.tags("true", None, multi_platform=True), ["1234"])
        self.assertEqual(self.tags("true", "acme/shop", multi_platform=False), ["1234"])

    def test_by_hand_there_are_others_unless_attestations_are_wanted(self):
        self.assertEqual(self.tags("", None, multi_platform=False), ["1234", "1234-local", "1234-arm64-local"])
        self.assertEqual(self.tags("", None, multi_platform=True), ["1234", "1234-local"])
        self.assertEqual(self.tags("", "acme/shop", multi_platform=False), ["1234"])


class HalfPushed(unittest.TestCase):
    def test_an_image_without_a_word_for_each_processor_is_made_again(self):
        registry = mock.Mock()
        registry.exactly.return_value = {"manifests": [{"digest": "amd64"}, {"digest": "arm64"}]}
        for attached, lacks_attestation in (
            ({"index", "amd64", "arm64"}, False),
            ({"index", "amd64"}, True),
            ({"amd64", "arm64"}, True),
            (set(), True),
        ):
            registry.attached = lambda digest, *_, attached=attached: ["a bundle"] if digest in attached else []
            self.assertIs(images.lacks_attestation(registry, "index"), lacks_attestation, attached)
