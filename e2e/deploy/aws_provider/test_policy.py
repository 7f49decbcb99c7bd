"""Policy documents, as the provider writes them."""

from __future__ import annotations

import json
import unittest
from typing import Any

import policy
from values import Object


def document(*statements: Object, **more: Any) -> Object:
    return json.loads(policy.document({"version": None, "statement": list(statements), **more}))


def statement(**given: Any) -> Object:
    lists = ("actions", "not_actions", "resources", "not_resources", "principals", "not_principals", "condition")
    return {"sid": None, "effect": None, **{name: [] for name in lists}, **given}


class Documents(unittest.TestCase):
    def test_a_statement_has_its_parts_in_the_order_of_the_provider(self) -> None:
        given = statement(
            sid="Read",
            actions=["s3:GetObject"],
            resources=["arn:aws:s3:::a/&{aws:username}", "arn:aws:s3:::b"],
            principals=[{"type": "Service", "identifiers": ["ecs.amazonaws.com"]}],
            condition=[{"test": "StringEquals", "variable": "aws:SourceAccount", "values": ["123456789012"]}],
        )
        expected = {
            "Sid": "Read",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::a/${aws:username}"],
            "Principal": {"Service": "ecs.amazonaws.com"},
            "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
        }
        written = document(given)
        self.assertEqual(written, {"Version": "2012-10-17", "Statement": [expected]})
        self.assertEqual(list(written["Statement"][0]), list(expected))

    def test_everybody_is_a_star(self) -> None:
        given = statement(actions=["s3:*"], principals=[{"type": "*", "identifiers": ["*"]}])
        self.assertEqual(document(given)["Statement"][0]["Principal"], "*")

    def test_a_sid_is_unique_and_no_other_document_is_left_out_silently(self) -> None:
        with self.assertRaisesRegex(policy.PolicyError, r"duplicate Sid \(A\)"):
            document(statement(sid="A", actions=["a:A"]), statement(sid="A", actions=["a:B"]))
        for name in policy.UNKNOWN:
            with self.assertRaisesRegex(policy.PolicyError, f"does not know {name}"):
                document(statement(actions=["a:A"]), **{name: ["{}"]})
