"""Detection of drift; rehearse.py in e2e/deploy/ runs it completely."""

from __future__ import annotations

import unittest
from unittest import mock

from tools.cloud import drift
from tools.common import environments

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
