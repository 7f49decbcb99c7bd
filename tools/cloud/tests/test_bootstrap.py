"""One-time setup of an account and a repository: service-linked roles, and the lines for GitHub."""

import contextlib
import io
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools.cloud import bootstrap, subjects
from tools.cloud.aws import AwsError
from tools.cloud.subjects import Repository
from tools.common.environments import Refused
from tools.common.tests.case import Case


class LinkedRoles(unittest.TestCase):
    def made(self, *there, refused=False):
        def call(_service, operation, **parameters):
            if operation == "create_service_linked_role":
                return made.append(parameters["AWSServiceName"])
            if refused:
                raise AwsError("iam list_roles", "AccessDenied", "no")
            service = parameters["PathPrefix"].split("/")[2]
            return {"Roles": [{"RoleName": "x"}] if service in there else []}

        made = []
        bootstrap.linked_roles(mock.Mock(call=call), lambda _: None)
        return made

    def test_a_new_account_gets_all_three(self):
        self.assertEqual(self.made(), list(bootstrap.LINKED_ROLES))

    def test_those_that_are_there_are_left_alone(self):
        self.assertEqual(self.made(*bootstrap.LINKED_ROLES), [])
        self.assertEqual(self.made(*bootstrap.LINKED_ROLES[1:]), ["ecs.amazonaws.com"])

    def test_what_cannot_be_seen_is_not_taken_for_missing(self):
        with self.assertRaises(AwsError):
            self.made(refused=True)


class AnInterruptedRun(Case):
    """The state that it leaves on this machine, in what a later run finds."""

    def setUp(self):
        self.folder = self.temporary_folder()
        self.state = self.folder / "terraform.tfstate"
        places = {"FOLDER": self.folder, "LOCAL_STATE": self.state}
        self.enter(*(mock.patch.object(bootstrap, name, value) for name, value in places.items()))

    def leave(self, account="111111111111", region="us-east-1", lineage="a"):
        data = {"aws_caller_identity": {"account_id": account}, "aws_region": {"region": region}}
        resources = [{"type": kind, "instances": [{"attributes": value}]} for kind, value in data.items()]
        self.state.write_text(json.dumps({"lineage": lineage, "resources": resources}))

    def unfinished(self, bucket=None):
        def call(_service, operation, **_):
            self.assertEqual(operation, "get_object")
            if bucket is None:
                raise AwsError("s3 get_object", "NoSuchKey", "no")
            return {"Body": io.BytesIO(json.dumps(bucket).encode())}

        return bootstrap.unfinished(mock.Mock(call=call, region="us-east-1"), "111111111111")

    def test_it_continues_with_that_state(self):
        self.assertIs(self.unfinished(), False)
        self.leave()
        self.assertIs(self.unfinished(), True)
        # Interrupted before anything was written, and while it was.
        self.state.write_text("")
        self.assertIs(self.unfinished(), True)
        self.state.write_text('{"lineage": "a", ')
        with self.assertRaisesRegex(Refused, "is cut off; terraform.tfstate.backup"):
            self.unfinished()

    def test_the_state_of_another_account_or_region_is_refused(self):
        for place, found in (({"account": "222222222222"}, "222222222222"), ({"region": "eu-west-1"}, "eu-west-1")):
            self.leave(**place)
            with self.assertRaisesRegex(Refused, f"in {found} that was interrupted.*finish it there first"):
                self.unfinished()
            self.assertTrue(self.state.is_file())

    def test_a_state_that_has_arrived_in_the_bucket_is_not_moved_again(self):
        self.leave()
        self.assertIs(self.unfinished({"lineage": "a", "serial": 9}), False)
        self.assertFalse(self.state.exists())

    def test_another_state_in_the_bucket_is_not_overwritten(self):
        self.leave()
        with self.assertRaisesRegex(Refused, "is another one"):
            self.unfinished({"lineage": "b"})
        self.assertTrue(self.state.is_file())

    def test_a_second_region_is_refused_before_half_of_it_is_there(self):
        def prepared(*regions):
            def call(_service, operation, Prefix):
                self.assertEqual(operation, "list_buckets")
                return {"Buckets": [{"Name": f"{Prefix}{region}"} for region in regions]}

            bootstrap.elsewhere(mock.Mock(call=call, region="us-east-1"), "111111111111")

        with self.assertRaisesRegex(Refused, "prepared in eu-west-1 .*us-east-1 needs another account"):
            prepared("eu-west-1")
        prepared()
        prepared("us-east-1")

    def test_only_bootstrap_prepares_an_account(self):
        def call(_service, operation, **_):
            self.assertEqual(operation, "head_bucket")
            raise AwsError("s3 head_bucket", "404", "no")

        aws = mock.Mock(call=call, region="us-east-1")
        with mock.patch.object(bootstrap, "begin") as begin, self.assertRaisesRegex(Refused, "is not prepared"):
            bootstrap.ensure(aws, "111111111111", None, lambda _: None)
        begin.assert_not_called()


class AnOldCommit(unittest.TestCase):
    def ensured(self, may_create, *actions):
        change = {"address": 'aws_iam_role.task["hello"]', "change": {"actions": list(actions)}}
        run = mock.Mock(**{"plan.return_value": True, "show.return_value": {"resource_changes": [change]}})
        with (
            mock.patch.multiple(bootstrap, unfinished=mock.Mock(return_value=False), exists=mock.Mock()),
            mock.patch.multiple(bootstrap, state=mock.Mock(return_value=run), folder=mock.Mock()),
        ):
            bootstrap.ensure(mock.Mock(region="us-east-1"), "1", None, lambda _: None, may_create)
        return run.apply.call_count

    def test_a_deployment_of_it_does_not_remove_a_new_service_from_the_account(self):
        for actions in (("delete",), ("delete", "create")):
            with self.assertRaisesRegex(Refused, r'would remove aws_iam_role.task\["hello"\] from the account'):
                self.ensured(False, *actions)

    def test_images_are_removed_by_hand_before_anything_else_is(self):
        names = ("system-stats/hello", "system-stats/preview/hello")
        changes = [
            {
                "address": f'aws_ecr_repository.{kind}["hello"]',
                "change": {"actions": ["delete"], "before": {"name": name}},
            }
            for kind, name in zip(("this", "preview"), names)
        ]

        def call(_service, _operation, repositoryName, maxResults):
            return {"imageIds": [{"imageTag": "1"}] if repositoryName in full else []}

        full = names[:1]
        with self.assertRaisesRegex(
            Refused, "^system-stats/hello would .*--force --repository-name system-stats/hello`"
        ):
            bootstrap.keeps_images(mock.Mock(call=call), {"resource_changes": changes})
        full = ()
        bootstrap.keeps_images(mock.Mock(call=call), {"resource_changes": changes})

    def test_a_second_provider_of_github_s_tokens_is_refused_with_the_first_one(self):
        """Most accounts with workflows have it, and IAM takes each address once."""
        change = {"type": "aws_iam_openid_connect_provider", "change": {"actions": ["create"]}}
        for host, refused in (("token.actions.githubusercontent.com", True), ("gitlab.com", False)):
            arn = f"arn:aws:iam::1:oidc-provider/{host}"
            call = mock.Mock(return_value={"OpenIDConnectProviderList": [{"Arn": arn}]})
            with self.assertRaisesRegex(Refused, f'`provider_arn = "{arn}"`') if refused else contextlib.nullcontext():
                bootstrap.one_provider(mock.Mock(call=call), {"resource_changes": [change]})
            call.assert_called_once_with("iam", "list_open_id_connect_providers")
        bootstrap.one_provider(mock.Mock(call=None), {"resource_changes": []})

    def test_what_is_new_is_applied_and_bootstrap_may_remove(self):
        self.assertEqual(self.ensured(False, "create"), 1)
        self.assertEqual(self.ensured(True, "delete"), 1)


class TheWayBack(unittest.TestCase):
    def test_an_earlier_commit_is_read_with_today_s_provider(self):
        """A provider does not read a state that a newer one has written."""
        with tempfile.TemporaryDirectory() as place:
            root = Path(place, "repository")
            (root / "tf").mkdir(parents=True)
            git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@example.org"]
            subprocess.run([*git, "init", "--quiet"], check=True)
            for version in ("6.0.0", "6.1.0", "6.2.0"):
                (root / "tf" / "versions.tf").write_text(version)
                (root / "tf" / "main.tf").write_text(f"# of {version}")
                if version != "6.0.0":
                    (root / "services.json").write_text(version)
                subprocess.run([*git, "add", "--all"], check=True)
                subprocess.run([*git, "commit", "--quiet", "--message", version], check=True)
            (root / "tf" / ".terraform.lock.hcl").write_text("hashes")
            with mock.patch.object(bootstrap, "TF", root / "tf"):
                folder = bootstrap.clone_of("HEAD~1", Path(place, "earlier"))
                before = bootstrap.clone_of("HEAD~2", Path(place, "before"))
            read = {file.name: file.read_text() for file in folder.iterdir()}
            self.assertEqual((folder.parent / "services.json").read_text(), "6.1.0")
            self.assertFalse((before.parent / "services.json").exists())
            self.assertEqual((before / "main.tf").read_text(), "# of 6.0.0")
        self.assertEqual(read["main.tf"], "# of 6.1.0")
        self.assertEqual(read["versions.tf"], "6.2.0")
        self.assertEqual(read[".terraform.lock.hcl"], "hashes")


class Subjects(Case):
    def test_the_repository_is_read_from_every_form_of_an_address(self):
        for url in (
            "https://github.com/acme/shop.git",
            "https://x-token:secret@github.com/acme/shop",
            "git@github.com:acme/shop.git",
            "ssh://git@github.com/acme/shop",
        ):
            self.assertEqual(subjects.of_origin(url), Repository("acme", "shop"), url)
        for url in ("", "/srv/origin.git", "https://gitlab.com/acme/shop.git", "https://github.com/acme"):
            self.assertIsNone(subjects.of_origin(url), url)

    def test_both_forms_of_a_subject_are_written(self):
        text = subjects.lines(Repository("acme", "shop", "1", "22"))
        for part in (
            'repository_id = "22"',
            '"repo:acme/shop:pull_request", "repo:acme@1/shop@22:pull_request"',
            '"repo:acme@1/shop@22:environment:prod"',
            '"repo:acme@1/shop@22:ref:refs/heads/main"',
        ):
            self.assertIn(part, text)

    def test_no_environment_that_a_branch_could_use_deploys(self):
        self.assertEqual(set(subjects.CONTEXTS["deploy"]), {"environment:staging", "environment:prod"})
        self.assertNotIn(
            "pull_request", [one for role in ("plan_main", "push", "deploy") for one in subjects.CONTEXTS[role]]
        )

    def answered(self, status, body):
        base = self.respond(status, body)
        with mock.patch.dict(os.environ, {"GITHUB_API_URL": base}):
            return subjects.advice("git@github.com:acme/shop.git")

    def test_ids_come_from_github_and_without_them_it_is_said_how(self):
        told = json.dumps({"id": 22, "name": "Shop", "owner": {"id": 1, "login": "Acme"}}).encode()
        text = self.answered(200, told)
        self.assertIn("repo:Acme@1/Shop@22:pull_request", text)
        self.assertNotIn("did not tell", text)
        for status, body in ((404, b"{}"), (200, b"nonsense"), (200, b"[]")):
            self.assertIn("did not tell the ids", self.answered(status, body))

    def test_lines_that_are_there_are_not_asked_for_again(self):
        with mock.patch.object(bootstrap, "FOLDER", mock.MagicMock()) as folder:
            file = folder.__truediv__.return_value
            file.is_file.return_value = True
            for text, lines in (("# github = {\n", ""), ("a = 1\ngithub = {\n}\n", "github = {\n}\n")):
                file.read_text.return_value = text
                self.assertEqual(bootstrap.github_lines(), lines)
        origin = "git@github.com:Acme/shop.git"
        for lines in ("github = null\n", subjects.lines(Repository("acme", "shop", "1", "22"))):
            self.assertEqual(subjects.advice(origin, lines), "")
        self.assertEqual(subjects.advice("https://git.example/acme/shop", "github = null\n"), "")

    def test_the_lines_of_a_copied_or_renamed_repository_are_reported(self):
        base = self.respond(404, b"{}")
        with mock.patch.dict(os.environ, {"GITHUB_API_URL": base}):
            text = subjects.advice("git@github.com:acme/shop.git", subjects.lines(Repository("upstream", "stats")))
        self.assertTrue(text.startswith("THE WORKFLOWS OF upstream/stats may take the roles"), text)
        self.assertIn("replace `github` in tf/preconfigured/terraform.tfvars", text)
        self.assertIn('"repo:acme/shop:pull_request"', text)
