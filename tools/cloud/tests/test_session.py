"""Environments in another account than the registry's."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tools.cloud import aws, bootstrap, deploy, session, terraform
from tools.cloud.aws import Aws, AwsError
from tools.cloud.releases import Release
from tools.common import environments
from tools.common.environments import Refused
from tools.common.tests.case import Case

HOME, OTHER = "111111111111", "222222222222"
ROLE = f"arn:aws:iam::{OTHER}:role/system-stats-deploy"
VERSION = Release("1" * 40, {"stats": f"r@sha256:{'1' * 64}"}, "2026-11-28T00:00:00Z")
INSTALLED = any(aws.FOLDER.glob("lib/python*/site-packages/boto3"))


def environment(account: str | None, role: str | None) -> environments.Environment:
    return dataclasses.replace(environments.named("prod"), account_id=account, account_role=role)


class TheAccount(Case):
    def setUp(self) -> None:
        self.home = Aws("us-east-1")
        for name, answer in (("account", HOME), ("call", {})):
            setattr(self, name, self.enter(mock.patch.object(Aws, name, return_value=answer)))

    def test_credentials_of_the_account_itself_are_used_as_they_are(self) -> None:
        for account, role in ((None, None), (HOME, None), (HOME, "system-stats-deploy")):
            self.assertIs(session.of_environment(environment(account, role), self.home), self.home)
        self.call.assert_not_called()

    def test_without_a_role_another_account_is_refused_and_both_are_named(self) -> None:
        with self.assertRaisesRegex(Refused, f"belongs to the account {OTHER}, and .* of {HOME}: .*account_role"):
            session.of_environment(environment(OTHER, None), self.home)

    def test_its_role_is_assumed_before_anything_else(self) -> None:
        found = session.of_environment(environment(OTHER, "system-stats-deploy"), self.home)
        self.assertEqual(found.role, ROLE)
        self.call.assert_called_once_with("sts", "get_caller_identity")

    def test_a_role_that_may_not_be_assumed_is_refused(self) -> None:
        self.call.side_effect = AwsError("sts", "AccessDenied", "not authorized")
        with self.assertRaisesRegex(Refused, f"of {HOME}, which may not assume {ROLE}.*not authorized"):
            session.of_environment(environment(OTHER, "system-stats-deploy"), self.home)

    def test_a_push_needs_the_registry_s_account_alone(self) -> None:
        """The workflow's role `push` may assume no role."""
        self.call.side_effect = AwsError("sts", "AccessDenied", "not authorized")
        self.enter(
            mock.patch.object(environments, "named", return_value=environment(OTHER, "system-stats-deploy")),
            mock.patch.object(session, "ensure_aws"),
            mock.patch.object(deploy, "version"),
            mock.patch.object(deploy, "build", SERVICES=()),
            mock.patch.object(deploy, "Images"),
        )
        deploy.do_push()
        self.assertIsNone(deploy.Images.call_args.args[0].role)

    def test_the_role_is_in_the_partition_of_the_region(self) -> None:
        regions = ("us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1")
        found = [session.partition(region) for region in regions]
        self.assertEqual(found, ["aws", "aws", "aws-cn", "aws-us-gov", "aws-eusc"])

    def test_the_regions_of_every_partition_are_accepted(self) -> None:
        for name in ("variables.tf", "preconfigured/variables.tf"):
            text = (environments.TF / name).read_text(encoding="utf-8")
            (pattern,) = re.findall(r'regex\("([^"]+)", var\.region\)', text)
            for region in ("us-east-1", "cn-northwest-1", "us-gov-west-1", "eusc-de-east-1"):
                self.assertRegex(region, pattern, name)
            self.assertNotRegex("us-east", pattern, name)

    def test_terraform_assumes_the_same_role(self) -> None:
        for name in ("providers.tf", "previews/versions.tf"):
            text = (environments.TF / name).read_text(encoding="utf-8")
            for beginning, partition in session.PARTITIONS.items():
                self.assertIn(f'startswith(var.region, "{beginning}") ? "{partition}"', text, name)


class Confirming(unittest.TestCase):
    def typed(
        self, text: str, name: str = "prod", always: bool = False, given: str = "", protected: bool | None = None
    ) -> str:
        """The refusal of what was typed, or nothing."""
        terminal = io.StringIO(text)
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        environment = environments.named(name)
        if protected is not None:
            environment = dataclasses.replace(environment, protected=protected)
        with mock.patch.object(sys, "stdin", terminal), mock.patch.dict(os.environ, {"CONFIRM": given}):
            with contextlib.redirect_stdout(io.StringIO()):
                try:
                    session.confirm(environment, "deploying to", always)
                except Refused as refused:
                    return str(refused)
        return ""

    def test_the_name_confirms_and_the_end_of_input_does_not(self) -> None:
        self.assertEqual(self.typed("prod\n"), "")
        for text in ("", "\n", "yes\n"):
            self.assertIn("nothing was touched", self.typed(text))

    def test_a_protected_environment_asks_and_another_one_only_when_it_is_destroyed(self) -> None:
        self.assertEqual(self.typed("", "dev"), "")
        self.assertIn("nothing was touched", self.typed("", "staging", protected=True))
        self.assertEqual(self.typed("staging\n", "staging", protected=True), "")
        self.assertEqual(self.typed("", "prod", protected=False), "")
        self.assertIn("nothing was touched", self.typed("", "dev", always=True))
        self.assertEqual(self.typed("", "dev", always=True, given="dev"), "")


class Terraform(unittest.TestCase):
    def values(self, away: bool) -> dict:
        own = environment(OTHER, "system-stats-deploy")
        *_, file = session.variables_of(own, VERSION, away=away)
        return json.loads(Path(file.split("=")[1]).read_text(encoding="utf-8"))

    def test_the_provider_assumes_the_role_of_the_environment_s_file_unless_it_is_there_already(self) -> None:
        self.assertNotIn("account_role", self.values(True))
        self.assertIsNone(self.values(False)["account_role"])

    def test_the_region_is_that_of_the_commands_where_only_the_backend_has_it(self) -> None:
        own = dataclasses.replace(environments.named("prod"), region="eu-west-1")
        *_, file = session.variables_of(own, VERSION)
        self.assertEqual(json.loads(Path(file.split("=")[1]).read_text(encoding="utf-8"))["region"], "eu-west-1")

    def asked(self, role: str | None) -> list[str]:
        one = terraform.Terraform(environments.TF, "prod", "us-east-1", None, role)
        with mock.patch.object(one, "_run") as run:
            one.init_s3("bucket", "key", "us-east-1")
        return list(run.call_args.args)

    def test_the_state_is_that_of_the_other_account(self) -> None:
        self.assertIn(f'-backend-config=assume_role={{role_arn="{ROLE}"}}', self.asked(ROLE))
        self.assertNotIn("assume_role", str(self.asked(None)))

    def test_another_name_of_the_application_is_refused_before_anything_has_it(self) -> None:
        """The commands would look for a bucket of another name after everything was made."""
        wanted = {"region": "eu-west-1", "name": "shop"}
        with (
            mock.patch.object(session, "ensure_aws"),
            mock.patch.object(bootstrap, "variables", return_value=wanted),
            mock.patch.object(Aws, "account", return_value=HOME),
        ):
            with self.assertRaisesRegex(Refused, 'name = "shop" in tf/preconfigured'):
                session.account_session()
            wanted["name"] = environments.APPLICATION
            self.assertEqual(session.account_session()[1], HOME)

    def test_another_account_s_settings_go_over_those_of_the_registry_s(self) -> None:
        with tempfile.TemporaryDirectory() as place, mock.patch.object(bootstrap, "FOLDER", Path(place)):
            files = {"terraform.tfvars": f'account_id = "{HOME}"\nregion = "eu-west-1"\n'}
            files[f"accounts/{OTHER}.tfvars"] = f'account_id = "{OTHER}"\n'
            for name, text in files.items():
                file = bootstrap.FOLDER / name
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
            wanted = {"account_id": OTHER, "region": "eu-west-1"}
            self.assertEqual(bootstrap.variables(OTHER), wanted)
            self.assertEqual(bootstrap.variables(HOME)["account_id"], HOME)
            (argument,) = bootstrap.folder(Aws("eu-west-1"), OTHER, None).settings
            self.assertEqual(argument, f"-var-file={bootstrap.FOLDER}/accounts/{OTHER}.tfvars")
            self.assertEqual(bootstrap.folder(Aws("eu-west-1"), HOME, None).settings, [])


@unittest.skipUnless(INSTALLED, "boto3 is not installed here")
class Boto3(unittest.TestCase):
    def test_a_profile_that_asks_for_a_code_is_refused_before_anything_else(self) -> None:
        """With boto3 alone it would work, and Terraform fails with it after the images were pushed."""
        text = "[profile code]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = own\n"
        text += "mfa_serial = arn:aws:iam::1:mfa/x\n"
        text += "[profile own]\naws_access_key_id = x\naws_secret_access_key = x\n"
        with tempfile.TemporaryDirectory() as place:
            config = Path(place, "config")
            config.write_text(text)
            files = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(Path(place, "none"))}
            with mock.patch.dict("os.environ", files):
                for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
                    os.environ.pop(name, None)
                with self.assertRaisesRegex(Refused, "cannot ask for the code.*export-credentials"):
                    Aws("us-east-1", "code").account()

    def test_calls_are_signed_as_the_role(self) -> None:
        keys = {"AWS_ACCESS_KEY_ID": "home", "AWS_SECRET_ACCESS_KEY": "home"}
        with mock.patch.dict("os.environ", keys):
            one = Aws("us-east-1", role=ROLE)
            one.client("sts")
            fetcher = one._session.get_credentials()._refresh_using.__self__
        self.assertEqual(fetcher._role_arn, ROLE)
        self.assertEqual(fetcher._source_credentials.access_key, "home")
