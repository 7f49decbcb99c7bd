"""Detection of drift; rehearse.py in e2e/deploy/ runs it completely."""

import os
import unittest
from pathlib import Path
from unittest import mock

from tools.ci import ci, workflows
from tools.cloud import drift, session
from tools.cloud.aws import AwsError
from tools.common import environments
from tools.common.progress import Failed
from tools.common.toolchain import ROOT

GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:/system-stats-staging/stats"


def plan(before, after, *actions, key="resource_changes", **more):
    change = {"before": before, "after": after, "actions": list(actions), **more}
    return {key: [{"address": "aws_lb.this", "change": change}]}


class Differences(unittest.TestCase):
    def test_attributes_are_named_and_their_values_are_not(self):
        found = drift.differences(plan({"a": "secret", "b": 1}, {"a": "other", "b": 1}, "update"))
        self.assertEqual(found, ["aws_lb.this differs from the code: a"])

    def test_what_is_missing_or_too_much_is_found(self):
        for before, after, action, text in (
            (None, {"a": 1}, "create", "it is missing"),
            ({"a": 1}, None, "delete", "it is not in the code"),
        ):
            found = drift.differences(plan(before, after, action))
            self.assertEqual(found, [f"aws_lb.this differs from the code: {text}"])

    def test_what_aws_fills_in_and_what_the_code_ignores_is_none(self):
        self.assertEqual(drift.differences(plan({"a": 1}, {"a": 2}, "update", key="resource_drift")), [])

    def test_what_stays_is_no_difference(self):
        self.assertEqual(drift.differences(plan({"a": 1}, {"a": 1}, "no-op")), [])
        self.assertEqual(drift.differences({}), [])


class LimitsOfScaling(unittest.TestCase):
    def found(self, before, schedules):
        after = {"resource_id": "service/shop/web", "min_capacity": 2, "max_capacity": 4, "tags": {}}
        changes = [
            {
                "address": "aws_appautoscaling_target.this",
                "type": "aws_appautoscaling_target",
                "change": {"before": {**after, **before}, "after": after, "actions": ["update"]},
            },
            *(
                {
                    "address": "aws_appautoscaling_scheduled_action.this",
                    "type": drift.SCHEDULE,
                    "change": {"before": {"resource_id": one}, "after": {"resource_id": one}, "actions": ["no-op"]},
                }
                for one in schedules
            ),
        ]
        return drift.differences({"resource_changes": changes})

    def test_those_that_a_schedule_has_set_are_no_drift(self):
        self.assertEqual(self.found({"min_capacity": 0, "max_capacity": 0}, ["service/shop/web"]), [])
        self.assertEqual(self.found({"min_capacity": 6}, ["service/shop/web"]), [])

    def test_those_of_another_service_and_other_attributes_are(self):
        for before, schedules in (({"min_capacity": 0}, ["service/shop/cart"]), ({"min_capacity": 0}, [])):
            self.assertEqual(len(self.found(before, schedules)), 1)
        found = self.found({"min_capacity": 0, "tags": None}, ["service/shop/web"])
        self.assertEqual(found, ["aws_appautoscaling_target.this differs from the code: min_capacity, tags"])


class There(unittest.TestCase):
    RULE = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener-rule/app/shop/1/2/3"

    def there(self, arn, code=""):
        call = mock.Mock(side_effect=AwsError("elbv2", code, "no") if code else None)
        return drift.there(mock.Mock(call=call), arn)

    def test_what_the_index_of_tags_remembers_and_what_is_gone_is_no_drift(self):
        self.assertFalse(self.there(self.RULE, "RuleNotFound"))
        self.assertTrue(self.there(self.RULE))

    def test_in_doubt_it_is_there(self):
        self.assertTrue(self.there(self.RULE, "AccessDenied"))
        self.assertTrue(self.there(GROUP, "ResourceNotFoundException"))


class Stateless(unittest.TestCase):
    def test_what_no_state_knows_is_found_at_any_depth(self):
        state = {"values": {"root_module": {"child_modules": [{"resources": [{"values": {"arn": GROUP}}]}]}}}
        other = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/old/1"
        self.assertEqual(drift.stateless([f"{GROUP}:*", other], state), [other])
        self.assertEqual(drift.stateless([other], {}), [other])

    def test_what_ecs_makes_by_itself_is_no_drift(self):
        beginning = "arn:aws:ecs:us-east-1:123456789012"
        made = [f"{beginning}:task/system-stats/1", f"{beginning}:task-definition/system-stats-staging-stats:3"]
        made.append("arn:aws:ec2:us-east-1:123456789012:network-interface/eni-1")
        service = f"{beginning}:service/system-stats/system-stats-staging-old"
        self.assertEqual(drift.stateless([*made, service], {}), [service])

    def test_the_tags_are_those_that_terraform_gives(self):
        asked = []

        def pages(_service, _operation, TagFilters):
            asked.extend(TagFilters)
            return [{"ResourceTagMappingList": [{"ResourceARN": GROUP}]}, {"ResourceTagMappingList": []}]

        self.assertEqual(drift.tagged(mock.Mock(pages=pages), "staging"), [GROUP])
        text = (environments.TF / "providers.tf").read_text(encoding="utf-8")
        for one in asked:
            self.assertRegex(text, rf"\b{one['Key']}\s+=")


class WhatPreviewsShare(unittest.TestCase):
    """It has no version, so it is compared with the code that is checked out."""

    def drift(self, plan, tagged=(), outputs=None):
        run = mock.Mock(plan_file=Path("plan"))
        run.output.return_value = {"load_balancer": "lb"} if outputs is None else outputs
        run.show.side_effect = lambda *file: plan if file else {}
        aws = mock.Mock(
            pages=lambda *_call, **_more: [{"ResourceTagMappingList": [{"ResourceARN": a} for a in tagged]}]
        )
        here = session.Session(environments.named("preview"), aws, "123456789012", aws)
        with (
            mock.patch.object(ci, "session", return_value=here) as begun,
            mock.patch.object(here, "terraform", return_value=run) as terraform,
            mock.patch.object(ci, "say") as said,
            mock.patch.dict(os.environ, {"ENV": "preview"}),
        ):
            try:
                ci.do_drift()
            finally:
                self.assertTrue(begun.call_args.kwargs["base"])
                # Never with a folder of another commit.
                self.assertEqual(terraform.call_args_list, [mock.call()])
        return [call.args[0] for call in said.call_args_list]

    def test_without_a_difference_it_is_fine(self):
        self.assertEqual(self.drift({}), ["preview is what was deployed, and nothing else is there"])

    def test_differences_and_resources_in_no_state_fail(self):
        for found in ({"plan": plan({"a": 1}, {"a": 2}, "update")}, {"plan": {}, "tagged": [GROUP]}):
            with self.assertRaisesRegex(Failed, "`make deploy ENV=preview` restores it"):
                self.drift(**found)

    def test_before_its_first_deployment_there_is_none(self):
        self.assertEqual(self.drift({}, outputs={}), ["preview is not deployed"])

    def test_the_daily_run_looks_at_every_environment_that_a_workflow_needs(self):
        job = workflows.read(ROOT / ".github" / "workflows")["drift.yaml"].jobs["drift"]
        self.assertEqual(job["strategy"]["matrix"]["environment"], ["staging", "prod", "preview"])
