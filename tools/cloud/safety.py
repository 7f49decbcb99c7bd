"""Checks of a plan or a state against what would break halfway."""

from __future__ import annotations

from typing import Callable

from tools.cloud import cost
from tools.common.environments import TF, Environment, Refused

RULE = "aws_lb_listener_rule"


def unprotected(environment: Environment, state: dict) -> None:
    """Refused while AWS would keep the load balancer and the logs, after everything else is gone."""
    root = state.get("values", {}).get("root_module", {})
    if any(one["values"].get("enable_deletion_protection") for one in cost.resources(root)):
        raise Refused(
            f"{environment.name} is protected: set `protect = false` in {environment.variables.relative_to(TF.parent)},"
            f" run `make deploy ENV={environment.name}`, and then this again"
        )


def keeps_traffic(plan: dict, warn: Callable[[str], None] | None = None) -> None:
    """Refused, or a warning, for a service that returns to the strategy ROLLING while ECS has shifted its traffic to
    the target group that Terraform removes: requests would get 503 until the new tasks are healthy."""
    if names := held(plan):
        raise Refused(
            f"the port of {', '.join(names)} changes while ECS shifts its traffic: the listener rule keeps the old"
            " target groups, which AWS then does not remove. Deploy the strategy ROLLING first, and the port after it"
        )
    names = stranded(plan)
    if not names:
        return
    text = (
        f"the second target group of {', '.join(names)} has the traffic, and the strategy ROLLING removes it before"
        " new tasks are in the first one"
    )
    if warn is None:
        raise Refused(
            f"{text}: deploy another version with the present strategy, which brings the traffic back to the first"
            " group, and change the strategy after it"
        )
    warn(f"{text}: requests get 503 until they are")


def keeps_network(name: str, plan: dict) -> None:
    """Refused for a plan that moves an environment to another VPC: neither its load balancer nor the subnets in use can
    follow, so that the apply would end halfway."""
    if any(moves(one) for one in plan.get("resource_changes", [])):
        raise Refused(
            f"{name} would move to another VPC, and a load balancer cannot: keep `network` (its cidr, or the existing"
            f" VPC), or run `make destroy ENV={name}` first; another environment can be deployed beside it"
        )


def moves(one: dict) -> bool:
    """Whether a VPC goes, or a target group gets another one."""
    change, kind = one["change"], one.get("type")
    if "delete" not in change["actions"]:
        return False
    if kind == "aws_lb_target_group" and "create" in change["actions"]:
        return change["before"].get("vpc_id") != (change["after"] or {}).get("vpc_id")
    return kind == "aws_vpc"


def stranded(plan: dict) -> list[str]:
    """The services that get the rule of the strategy ROLLING while their traffic is somewhere else."""
    gone, new = rules(plan, "shifted", "delete"), rules(plan, "rolling", "create")
    return [name for name in sorted(gone.keys() & new.keys()) if traffic(gone[name]["before"]) - {goal(new[name])}]


def held(plan: dict) -> list[str]:
    """The services with a rule that stays, as ECS has left it, and leads to a target group that is replaced."""
    changes = plan.get("resource_changes", [])
    replaced = {
        one["change"]["before"]["arn"]
        for one in changes
        if one.get("type") == "aws_lb_target_group" and {"create", "delete"} <= set(one["change"]["actions"])
    }
    kept = {**rules(plan, "shifted", "no-op"), **rules(plan, "shifted", "update")}
    return [name for name, rule in sorted(kept.items()) if replaced & groups(rule["before"]).keys()]


def rules(plan: dict, name: str, action: str) -> dict[str, dict]:
    """The changes of the listener rules of a name that have only this action, by service."""
    return {
        one["index"]: one["change"]
        for one in plan.get("resource_changes", [])
        if (one.get("type"), one.get("name"), one["change"]["actions"]) == (RULE, name, [action])
    }


def traffic(rule: dict) -> set[str]:
    """The target groups to which a rule sends requests."""
    return {arn for arn, weight in groups(rule).items() if weight}


def groups(rule: dict) -> dict[str, int]:
    """The target groups of a rule by their ARN, with their weights."""
    found = [group for action in rule["action"] for forward in action["forward"] for group in forward["target_group"]]
    return {group["arn"]: group["weight"] for group in found}


def goal(change: dict) -> str:
    """The target group of a rule that is made."""
    return next(
        (action["target_group_arn"] for action in change["after"]["action"] if "target_group_arn" in action), ""
    )
