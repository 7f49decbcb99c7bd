"""Policy documents, as the provider writes them."""

from __future__ import annotations

import json
import unittest
from typing import Any

import policy
from values import Object


def document(*statements: Object, **more: Any) -> Object:
    names = ("policy_id", "version", "source_json", "override_json")
    lists = ("source_policy_documents", "override_policy_documents")
    nothing = {**dict.fromkeys(names), **dict.fromkeys(lists), "statement": list(statements)}
    return json.loads(policy.document({**nothing, **more}))


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
        written = document(given)
        self.assertEqual(
            written,
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "Read",
                        "Effect": "Allow",
                        "Action": "s3:GetObject",
                        "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::a/${aws:username}"],
                        "Principal": {"Service": "ecs.amazonaws.com"},
                        "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
                    }
                ],
            },
        )
        self.assertEqual(list(written["Statement"][0]), [p for p in policy.PARTS if "Not" not in p])

    def test_everybody_is_a_star(self) -> None:
        given = statement(actions=["s3:*"], principals=[{"type": "*", "identifiers": ["*"]}])
        self.assertEqual(document(given)["Statement"][0]["Principal"], "*")

    def test_an_override_replaces_the_statement_of_its_sid(self) -> None:
        source = json.dumps({"Statement": {"Sid": "A", "Effect": "Allow", "Action": "a:A", "Resource": "*"}})
        override = json.dumps({"Statement": [{"Sid": "B", "Effect": "Deny", "Action": "b:B", "Resource": "*"}]})
        own = statement(sid="B", actions=["b:B"], resources=["*"])
        written = document(own, source_policy_documents=[source], override_policy_documents=[override])
        self.assertEqual(
            [(statement_written["Sid"], statement_written["Effect"]) for statement_written in written["Statement"]],
            [("A", "Allow"), ("B", "Deny")],
        )

    def test_a_sid_is_unique(self) -> None:
        with self.assertRaisesRegex(policy.PolicyError, r"duplicate Sid \(A\)"):
            document(statement(sid="A", actions=["a:A"]), statement(sid="A", actions=["a:B"]))
