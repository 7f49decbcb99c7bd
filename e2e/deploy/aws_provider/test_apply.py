"""Life cycle of resources over several plans and applies, and mistakes that are refused."""

from __future__ import annotations

import json
import re
import tempfile
import unittest
from pathlib import Path
from typing import Any

from trial import Trial

MISTAKES = Path(__file__).parent / "mistakes"
EXPECTED = re.compile(r'^# (.+)\nresource "\w+" "(\w+)"', re.MULTILINE)
CONFIGURATION = (Path(__file__).parent / "data" / "shop.tf").read_text(encoding="utf-8")


class Applies(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def outputs(self, trial: Trial) -> dict[str, Any]:
        text = trial.terraform("output", "-json")
        return {name: entry["value"] for name, entry in json.loads(text).items()}

    def changes(self, trial: Trial) -> dict[str, list[str]]:
        """The actions of a plan that changes something, by the address of the resource."""
        trial.terraform("plan", "-out=plan", "-detailed-exitcode", expect=2)
        text = trial.terraform("show", "-json", "plan")
        changed = json.loads(text)["resource_changes"]
        actions = {each["address"]: each["change"]["actions"] for each in changed if each["mode"] == "managed"}
        return {address: each for address, each in actions.items() if each != ["no-op"]}

    def test_a_life_from_the_first_apply_to_the_end(self) -> None:
        trial = Trial(self.folder, CONFIGURATION)
        trial.terraform("apply", "-auto-approve")
        first = self.outputs(trial)
        self.assertEqual((first["account"], first["region"]), ("123456789012", "us-east-1"))
        self.assertEqual(first["task_definition"], "arn:aws:ecs:us-east-1:123456789012:task-definition/shop:1")
        self.assertEqual(first["task_role"], "arn:aws:iam::123456789012:role/shop-task")
        self.assertRegex(first["load_balancer"], r":loadbalancer/app/shop/[0-9a-f]{16}$")
        self.assertEqual(len(set(first["subnets"])), 2)
        self.assertEqual(first["tags"], {"owner": "tests"})

        trial.terraform("plan", "-detailed-exitcode", expect=0)

        # A new image makes a new revision, which the service gets in place.
        trial.write(CONFIGURATION.replace("shop:1", "shop:2"))
        self.assertEqual(
            self.changes(trial),
            {"aws_ecs_task_definition.shop": ["delete", "create"], "aws_ecs_service.shop": ["update"]},
        )
        trial.terraform("apply", "plan")
        self.assertTrue(self.outputs(trial)["task_definition"].endswith("task-definition/shop:2"))

        # Changes happen in place where possible; otherwise the resource is replaced, with its dependents.
        trial.write(CONFIGURATION.replace("shop:1", "shop:2").replace("idle_timeout = 60", "idle_timeout = 90"))
        self.assertEqual(self.changes(trial), {"aws_lb.shop": ["update"]})
        trial.write(CONFIGURATION.replace("shop:1", "shop:2").replace("10.0.1.0/24", "10.0.3.0/24"))
        self.assertEqual(
            self.changes(trial),
            {
                'aws_subnet.shop["a"]': ["delete", "create"],
                "aws_lb.shop": ["update"],
                "aws_ecs_service.shop": ["update"],
            },
        )

        trial.terraform("destroy", "-auto-approve")
        state = trial.terraform("state", "list")
        self.assertEqual(state.strip(), "")
        trial.write(CONFIGURATION)
        trial.terraform("apply", "-auto-approve")
        self.assertEqual(self.outputs(trial), first, "the same configuration gets other identifiers")

    def test_a_service_must_fit_its_task_definition(self) -> None:
        trial = Trial(self.folder, CONFIGURATION)
        trial.terraform("apply", "-auto-approve")
        for before, after, message in (
            ('container_name   = "web"', 'container_name   = "api"', "has no container 'api'; it has ['web']"),
            ("container_port   = 8000", "container_port   = 8001", "has no port 8001; it has [8000]"),
            ('target_type = "ip"', 'target_type = "instance"', "needs target groups of the target_type ip"),
        ):
            with self.subTest(message):
                self.assertIn(before, CONFIGURATION)
                trial.write(CONFIGURATION.replace(before, after))
                text = trial.terraform("apply", "-auto-approve", expect=1)
                self.assertIn(message, text)

    def test_a_load_balancer_waits_for_the_way_out(self) -> None:
        trial = Trial(self.folder, CONFIGURATION.replace("  depends_on   = [aws_internet_gateway.shop]\n", ""))
        text = trial.terraform("apply", "-auto-approve", expect=1)
        self.assertIn("has no internet gateway", text)
        trial.terraform("apply", "-auto-approve")

    def test_a_subnet_that_is_used_is_not_removed(self) -> None:
        trial = Trial(self.folder, CONFIGURATION)
        trial.terraform("apply", "-auto-approve")
        trial.write(CONFIGURATION.replace("10.0.1.0/24", "10.0.3.0/24"))
        text = trial.terraform("apply", "-auto-approve", expect=1)
        self.assertRegex(text, r"DependencyViolation: aws_subnet subnet-\w+ is used by arn:aws:ecs:.*:service/")

    def test_two_rules_of_a_listener_differ_in_priority(self) -> None:
        rule = """
        resource "aws_lb_listener_rule" "%s" {
          listener_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/shop/1/2"
          priority     = %d
          action {
            type             = "forward"
            target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/%s/1"
          }
          condition {
            path_pattern {
              values = ["/*"]
            }
          }
        }
        """
        trial = Trial(self.folder, rule % ("old", 10, "old"))
        trial.terraform("apply", "-auto-approve")
        trial.write((rule % ("old", 10, "old")) + rule % ("new", 10, "new"))
        text = trial.terraform("apply", "-auto-approve", expect=1)
        self.assertIn("PriorityInUse: Priority '10' is currently in use", text)
        trial.write((rule % ("old", 10, "old")) + rule % ("new", 11, "new"))
        trial.terraform("apply", "-auto-approve")

    def test_another_account_is_refused(self) -> None:
        provider = 'provider "aws" {\n  allowed_account_ids = ["999999999999"]\n}\n'
        trial = Trial(self.folder, 'resource "aws_ecs_cluster" "shop" {\n  name = "shop"\n}\n', provider)
        text = trial.terraform("plan", expect=1)
        self.assertIn("is not among the allowed_account_ids", text)


class Refusals(unittest.TestCase):
    """Mistakes that `terraform validate` reports.

    Each file of mistakes/ is validated once, beside resources without a mistake (good.tf). The comment above a resource
    is a part of the message about it.
    """

    def check(self, file: str) -> None:
        good, text = ((MISTAKES / name).read_text(encoding="utf-8") for name in ("good.tf", file))
        with tempfile.TemporaryDirectory() as folder:
            output = Trial(Path(folder), good + text).terraform("validate", "-json", expect=1)
        # By the name of the resource.
        messages: dict[str, list[str]] = {}
        for diagnostic in json.loads(output)["diagnostics"]:
            name = diagnostic["snippet"]["context"].rsplit('"', 2)[1]
            messages.setdefault(name, []).append(f"{diagnostic['summary']}. {diagnostic['detail']}")
        expected = EXPECTED.findall(text)
        self.assertEqual(len(expected), text.count("\nresource "), "a resource has no message")
        for message, name in expected:
            with self.subTest(name):
                found = messages.pop(name, [])
                self.assertTrue(any(message in each for each in found), found)
        self.assertEqual(messages, {}, "a resource without a mistake is refused")

    def test_a_violation_of_the_schema_is_refused(self) -> None:
        self.check("schema.tf")

    def test_a_value_that_aws_does_not_accept_is_refused(self) -> None:
        self.check("arguments.tf")
