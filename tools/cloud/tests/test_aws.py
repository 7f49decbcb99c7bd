"""Calls to AWS: what is refused keeps AWS's own words, and every call that tools/ makes is one that AWS has."""

import ast
import contextlib
import unittest
from unittest import mock

from tools.cloud import aws, logs
from tools.cloud.aws import Aws, AwsError
from tools.common import toolchain
from tools.common.environments import Refused

INSTALLED = any(aws.FOLDER.glob("lib/python*/site-packages/boto3"))
SCRIPTS = toolchain.ROOT / "tools"


@unittest.skipUnless(INSTALLED, "boto3 is not installed here")
class WhatAwsRefuses(unittest.TestCase):
    def refused(self, error):
        with self.assertRaises(AwsError) as told, aws._errors("ecs describe_services"):
            raise error
        return told.exception

    def test_its_code_and_message_are_kept(self):
        told = {"Error": {"Code": "ClusterNotFoundException", "Message": "Cluster not found."}}
        error = self.refused(aws.load("botocore.exceptions").ClientError(told, "DescribeServices"))
        self.assertEqual(
            (error.code, str(error)),
            ("ClusterNotFoundException", "aws ecs describe_services: Cluster not found. (ClusterNotFoundException)"),
        )

    def test_what_never_reached_aws_has_no_code(self):
        error = self.refused(aws.load("botocore.exceptions").NoCredentialsError())
        self.assertEqual(error.code, "")
        self.assertIn("Unable to locate credentials", str(error))

    def test_a_mistake_of_ours_is_not_one_of_aws(self):
        with self.assertRaises(KeyError), aws._errors("ecs describe_services"):
            raise KeyError("ours")

    def test_without_credentials_the_target_is_refused(self):
        with mock.patch.object(Aws, "call", side_effect=AwsError("sts x", "", "none")):
            with self.assertRaisesRegex(Refused, "no usable AWS credentials"):
                Aws("eu-west-1").account()


class TheCalls(unittest.TestCase):
    """Reads every call out of the sources, so that a wrong name fails here and not in an account."""

    def calls(self):
        for file in sorted(SCRIPTS.rglob("*.py")):
            if "tests" in file.relative_to(SCRIPTS).parts:
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                if node.func.attr not in ("call", "pages", "wait") or len(node.args) < 2:
                    continue
                names = [one.value for one in node.args if isinstance(one, ast.Constant)]
                if len(names) == 2 and all(isinstance(name, str) for name in names):
                    # `**more` has no name.
                    yield file.name, node.func.attr, *names, [one.arg for one in node.keywords if one.arg]

    @unittest.skipUnless(INSTALLED, "boto3 is not installed here")
    def test_every_one_is_in_botocore_s_models(self):
        found = list(self.calls())
        self.assertGreater(len(found), 10)
        session = aws.load("boto3").Session(region_name="eu-west-1")
        for file, kind, service, operation, parameters in found:
            client = session.client(service, aws_access_key_id="x", aws_secret_access_key="x")
            with self.subTest(file=file, service=service, operation=operation):
                if kind == "wait":
                    self.assertIn(operation, client.waiter_names)
                    continue
                self.assertIn(operation, client.meta.method_to_api_mapping)
                if kind == "pages":
                    self.assertTrue(client.can_paginate(operation))
                name = client.meta.method_to_api_mapping[operation]
                shape = client.meta.service_model.operation_model(name).input_shape
                members = shape.members if shape else {}
                self.assertLessEqual(set(parameters), set(members))
                required = set(shape.required_members) if shape else set()
                self.assertLessEqual(required, set(parameters))


class Stopped(Exception):
    pass


class FollowingLogs(unittest.TestCase):
    def follow(self, *rounds):
        """The printed lines of these rounds of events; each round requests every group."""
        asked, shown, looks = [], [], iter(rounds)

        def pages(_service, operation, logGroupName, startTime):
            asked.append((operation, logGroupName, startTime))
            found = self.now.get(logGroupName, [])
            if isinstance(found, Exception):
                raise found
            return [{"events": found[:1]}, {"events": found[1:]}]

        def pause(_seconds):
            try:
                self.now = next(looks)
            except StopIteration:
                raise Stopped from None

        self.now = next(looks)
        client = mock.Mock(pages=pages)
        groups = {"stats": "/shop/stats", "gateway": "/shop/gateway"}
        with contextlib.suppress(Stopped):
            logs.follow(client, groups, shown.append, lambda: 1000.0, pause)
        return asked, shown

    def event(self, number, at, text="text\n"):
        return {"eventId": str(number), "timestamp": at, "message": text}

    def test_events_of_all_services_stand_in_the_order_of_time_and_once(self):
        one, two, late = self.event(1, 999_000), self.event(2, 998_000), self.event(3, 997_000)
        asked, shown = self.follow(
            {"/shop/stats": [one], "/shop/gateway": [two]}, {"/shop/stats": [late, one], "/shop/gateway": [two]}
        )
        self.assertEqual([line.split()[1] for line in shown], ["gateway", "stats", "stats"])
        self.assertEqual(shown[0], "1970-01-01T00:16:38Z gateway   text")
        # The first request covers ten minutes, the next overlaps by a minute.
        self.assertEqual(asked[0], ("filter_log_events", "/shop/stats", 400_000))
        self.assertEqual(asked[2][2], 940_000)

    def test_a_refused_call_ends_it_with_aws_s_words(self):
        with self.assertRaisesRegex(AwsError, "denied"):
            self.follow({"/shop/stats": AwsError("logs x", "AccessDenied", "denied")})


class TheEnvironmentOfBoto3(unittest.TestCase):
    def test_a_missing_program_is_reported_with_the_next_step(self):
        with mock.patch.object(aws, "FOLDER", toolchain.ROOT / "nowhere"):
            with self.assertRaisesRegex(Refused, "run `make tools`"):
                aws.load("boto3")
