"""Plans and removals that would break halfway."""

from __future__ import annotations

import unittest

from tools.cloud import safety
from tools.common import environments
from tools.common.environments import Refused

BLUE, GREEN = "arn:blue", "arn:green"


def change(name: str, action: str, before: dict | None = None, after: dict | None = None, service: str = "web") -> dict:
    about = {"actions": [action], "before": before, "after": after}
    return {"type": safety.RULE, "name": name, "index": service, "change": about}


def shifted(action: str = "delete", **weights: int) -> dict:
    groups = [{"arn": f"arn:{color}", "weight": weight} for color, weight in weights.items()]
    forward = {"type": "forward", "forward": [{"target_group": groups}]}
    return change("shifted", action, before={"action": [forward]})


def rolling(action: str = "create") -> dict:
    return change("rolling", action, after={"action": [{"type": "forward", "target_group_arn": BLUE}]})


class BackToRolling(unittest.TestCase):
    def stranded(self, *changes: dict) -> list[str]:
        return safety.stranded({"resource_changes": list(changes)})

    def test_traffic_of_the_second_group_is_in_the_way_and_of_the_first_it_is_not(self) -> None:
        self.assertEqual(self.stranded(shifted(blue=0, green=100), rolling()), ["web"])
        self.assertEqual(self.stranded(shifted(blue=90, green=10), rolling()), ["web"])
        self.assertEqual(self.stranded(shifted(blue=100, green=0), rolling()), [])

    def test_another_shift_and_the_end_of_a_service_are_not_in_the_way(self) -> None:
        self.assertEqual(self.stranded(shifted("update", blue=0, green=100)), [])
        self.assertEqual(self.stranded(shifted(blue=0, green=100)), [])
        self.assertEqual(self.stranded(rolling()), [])
        self.assertEqual(self.stranded(), [])

    def test_it_is_refused_before_the_apply_and_only_reported_on_the_way_back(self) -> None:
        plan = {"resource_changes": [shifted(blue=0, green=100), rolling()]}
        with self.assertRaisesRegex(Refused, "second target group of web has the traffic.*with the present strategy"):
            safety.keeps_traffic(plan)
        told: list[str] = []
        safety.keeps_traffic(plan, told.append)
        self.assertRegex("".join(told), "web .* requests get 503 until")


class AnotherPort(unittest.TestCase):
    def test_target_groups_that_a_shifted_rule_keeps_are_not_replaced(self) -> None:
        about = {"actions": ["create", "delete"], "before": {"arn": BLUE, "vpc_id": "1"}, "after": {"vpc_id": "1"}}
        group = {"type": "aws_lb_target_group", "change": about}
        for action in ("no-op", "update"):
            with self.assertRaisesRegex(Refused, "port of web changes.*Deploy the strategy ROLLING first"):
                safety.keeps_traffic({"resource_changes": [group, shifted(action, blue=0, green=100)]})
        safety.keeps_traffic({"resource_changes": [group, shifted(blue=100, green=0), rolling()]})
        safety.keeps_traffic({"resource_changes": [shifted("no-op", blue=0, green=100)]})


class AnotherNetwork(unittest.TestCase):
    def refused(self, kind: str, *actions: str, before: str | None = "vpc-1", after: str | None = "vpc-1") -> bool:
        values = [None if one is None else {"vpc_id": one} for one in (before, after)]
        about = {"actions": list(actions), "before": values[0], "after": values[1]}
        try:
            safety.keeps_network("prod", {"resource_changes": [{"type": kind, "change": about}]})
        except Refused as refused:
            self.assertIn("make destroy ENV=prod", str(refused))
            return True
        return False

    def test_a_load_balancer_cannot_follow_to_another_vpc(self) -> None:
        self.assertTrue(self.refused("aws_vpc", "delete", "create"))
        self.assertTrue(self.refused("aws_vpc", "delete", after=None))
        for after in ("vpc-2", None):
            self.assertTrue(self.refused("aws_lb_target_group", "create", "delete", after=after))

    def test_the_first_network_and_other_changes_of_target_groups_are_applied(self) -> None:
        self.assertFalse(self.refused("aws_vpc", "create", before=None))
        self.assertFalse(self.refused("aws_vpc", "update"))
        self.assertFalse(self.refused("aws_lb_target_group", "create", "delete"))
        self.assertFalse(self.refused("aws_lb_target_group", "delete", after=None))


class BeforeTheEnd(unittest.TestCase):
    def test_what_aws_would_keep_is_refused_before_the_rest_is_gone(self) -> None:
        prod = environments.named("prod")
        for protection in (True, False, None):
            balancer = {"type": "aws_lb", "values": {"enable_deletion_protection": protection}}
            state = {"values": {"root_module": {"child_modules": [{"resources": [balancer]}]}}}
            if not protection:
                safety.unprotected(prod, state)
                continue
            with self.assertRaisesRegex(Refused, "set `protect = false` in tf/environments/prod/terraform.tfvars"):
                safety.unprotected(prod, state)
        safety.unprotected(prod, {})
