"""Refuses what the provider or AWS would refuse and a schema does not express.

`resource` and `data_source` see what was written, with parts that may be unknown, and serve `terraform
validate` and `plan`. `service` sees a service of ECS together with what it refers to, in the plan and
again in the apply, when all of it is known.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import containers
from resources import Account
from values import Block, Object, at, elements, is_known, is_unknown


class Problem(NamedTuple):
    """The attribute that is wrong, or "" for the resource as a whole, and a statement of what is."""

    attribute: str
    message: str


# What AWS does not remove while one of these uses it; security groups, too, but the tests of tf/ replace some.
HOLDERS = {
    "aws_lb_target_group": ("aws_lb_listener", "aws_lb_listener_rule"),
    "aws_subnet": ("aws_lb", "aws_ecs_service", "aws_vpc_endpoint"),
}
ARN = re.compile(r"arn:[\w-]+:[\w-]+:[\w-]*:(\d{12}|aws)?:.+", re.DOTALL)
PORT = range(-1, 65536)
# Arguments whose value is an object in JSON, whatever they belong to, and those of them that are
# policies of IAM: of identities, which name resources, and of resources, which name principals.
IDENTITY_POLICIES = {("aws_iam_policy", "policy"), ("aws_iam_role_policy", "policy")}
RESOURCE_POLICIES = {
    ("aws_iam_role", "assume_role_policy"),
    ("aws_kms_key", "policy"),
    ("aws_s3_bucket_policy", "policy"),
    ("aws_vpc_endpoint", "policy"),
}
JSON_OBJECTS = {"policy", "assume_role_policy", "dashboard_body"}

# By type: the allowed values at a path, as in JSON Schema; arguments that the schema leaves open and AWS requires
# for what tf/ makes; arguments that exclude each other, one of them given.
RULES = json.loads((Path(__file__).parent / "data" / "rules.json").read_text(encoding="utf-8"))


def resource(kind: str, block: Block, config: Object) -> Iterator[Problem]:
    """Problems of a resource as it is written."""
    general = list(data_source(kind, block, config))
    yield from general
    rules = RULES.get(kind, {})
    for path, allowed in rules.get("allowed", {}).items():
        for value in at(config, path):
            if expected := _violated(allowed, value):
                yield Problem(path.partition(".")[0], f"{path} {expected}, got {value!r}")
    for name in rules.get("required", ()):
        if config.get(name) is None:
            yield Problem("", f"AWS requires {name}")
    names = rules.get("one_of", ())
    given = [name for name in names if config.get(name) not in (None, [])]
    if names and len(given) != 1 and is_known([config.get(name) for name in names]):
        yield Problem("", f"exactly one of {', '.join(names)} must be given, not {given}")
    special = SPECIAL.get(kind)
    # They rely on the arguments that the schema requires.
    if special and not general:
        yield from special(config)


def data_source(kind: str, block: Block, config: Object) -> Iterator[Problem]:
    """Problems of a data source as it is written, which any configuration can have."""
    for path, problem in _against_schema(block, config):
        yield Problem(path.partition(".")[0], f'"{path}" {problem}')
    for attribute in block.attributes:
        for value in at(config.get(attribute.name), ""):
            yield from _general(kind, attribute.name, value)
    if kind == "aws_iam_policy_document":
        for effect in at(config, "statement.effect"):
            if effect not in ("Allow", "Deny"):
                yield Problem("statement", f"effect must be Allow or Deny, got {effect!r}")


def _against_schema(block: Block, config: Object) -> Iterator[tuple[str, str]]:
    """Checks that Terraform leaves to providers: computed values, and null where a value is required."""
    for attribute in block.attributes:
        given = config.get(attribute.name) is not None
        if given and attribute.computed and not attribute.optional:
            yield attribute.name, "is decided by AWS and cannot be configured"
        if attribute.required and not given:
            yield attribute.name, "is required and must not be null"
    for nested in block.block_types:
        for element in elements(config.get(nested.type_name)):
            for path, problem in _against_schema(nested.block, element):
                yield f"{nested.type_name}.{path}", problem


def _general(kind: str, name: str, value: Any) -> Iterator[Problem]:
    """Rules for arguments that have the same meaning in all types."""
    if name.endswith("_arn") and not ARN.fullmatch(str(value)):
        yield Problem(name, f"{name} must be an ARN, got {value!r}")
    if (name == "port" or name.endswith("_port")) and isinstance(value, int) and value not in PORT:
        yield Problem(name, f"{name} must be a port, got {value}")
    if re.fullmatch(r"(destination_)?cidr(_block|_ipv4)", name) and not _is_network(value):
        yield Problem(name, f"{name} must be a network such as 10.0.0.0/16, got {value!r}")
    if name in JSON_OBJECTS and isinstance(value, str):
        document = parsed(value)
        if not isinstance(document, dict):
            yield Problem(name, f"{name} must be an object in JSON, got {value[:80]!r}")
        # Terraform's own mocks answer with an empty document, which the provider takes.
        elif not document:
            return
        elif (kind, name) in IDENTITY_POLICIES:
            yield from _policy(name, document, "Resource")
        elif (kind, name) in RESOURCE_POLICIES:
            yield from _policy(name, document, "Principal")


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _is_network(text: Any) -> bool:
    try:
        return "/" in text and bool(ipaddress.ip_network(text))
    except ValueError:
        return False


def _policy(name: str, document: Object, about: str) -> Iterator[Problem]:
    """Policies that IAM rejects as malformed: statements without an effect, actions or resources."""
    statements = document.get("Statement")
    for number, statement in enumerate(statements if isinstance(statements, list) else [statements]):
        where = f"{name}: statement {number}"
        if not isinstance(statement, dict):
            yield Problem(name, f"{where} must be an object")
            continue
        if statement.get("Effect") not in ("Allow", "Deny"):
            yield Problem(name, f"{where} must have the Effect Allow or Deny")
        for part in ("Action", about):
            if not statement.get(part) and not statement.get(f"Not{part}"):
                yield Problem(name, f"{where} must have {part} or Not{part}")


def _violated(allowed: Object, value: Any) -> str:
    """The rule that a value breaks, if any."""
    if "pattern" in allowed:
        matches = re.fullmatch(allowed["pattern"], str(value), re.ASCII)
        return "" if matches else f"must have the form {allowed['pattern']}"
    if "enum" in allowed:
        return "" if value in allowed["enum"] else f"must be one of {', '.join(map(str, allowed['enum']))}"
    low, high = allowed["minimum"], allowed["maximum"]
    return "" if value in range(low, high + 1) else f"must be between {low} and {high}"


def _task_definition(config: Object) -> Iterator[Problem]:
    yield from (Problem(name, message) for name, message in containers.task_definition(config))


def _listener(config: Object) -> Iterator[Problem]:
    protocol, certificate = config.get("protocol"), config.get("certificate_arn")
    if protocol in ("HTTPS", "TLS") and certificate is None:
        yield Problem("certificate_arn", f"a listener for {protocol} needs a certificate_arn")
    if protocol == "HTTP" and isinstance(certificate, str):
        yield Problem("certificate_arn", "a listener for HTTP has no certificate_arn")


def _target_group(config: Object) -> Iterator[Problem]:
    for check in elements(config.get("health_check")):
        interval, timeout = check.get("interval") or 30, check.get("timeout") or 5
        if is_known([interval, timeout]) and timeout >= interval:
            yield Problem("health_check", f"health_check.timeout ({timeout}) must be less than interval ({interval})")


def _scalable_target(config: Object) -> Iterator[Problem]:
    low, high = config.get("min_capacity"), config.get("max_capacity")
    if is_known([low, high]) and low > high:
        yield Problem("min_capacity", f"min_capacity ({low}) must not exceed max_capacity ({high})")


def _service(config: Object) -> Iterator[Problem]:
    if isinstance(config.get("launch_type"), str) and config.get("capacity_provider_strategy"):
        yield Problem("launch_type", "launch_type and capacity_provider_strategy exclude each other")


def _security_group_rule(config: Object) -> Iterator[Problem]:
    for name in ("from_port", "to_port"):
        if config.get("ip_protocol") in ("tcp", "udp") and config.get(name) is None:
            yield Problem("ip_protocol", f"{name} is required for the ip_protocol {config['ip_protocol']}")


SPECIAL = {
    "aws_appautoscaling_target": _scalable_target,
    "aws_ecs_service": _service,
    "aws_ecs_task_definition": _task_definition,
    "aws_lb_listener": _listener,
    "aws_lb_target_group": _target_group,
    "aws_vpc_security_group_egress_rule": _security_group_rule,
    "aws_vpc_security_group_ingress_rule": _security_group_rule,
}


def service(config: Object, account: Account) -> Iterator[Problem]:
    """Problems of a service of ECS with its task definition and its target groups, where they were seen."""
    task = account.find("aws_ecs_task_definition", config.get("task_definition"))
    if task is None:
        return
    ports = containers.ports(task["container_definitions"])
    for balancer in elements(config.get("load_balancer")):
        name, port = balancer.get("container_name"), balancer.get("container_port")
        if not is_unknown(name) and name not in ports:
            yield Problem("load_balancer", f"the task definition has no container {name!r}; it has {sorted(ports)}")
        elif is_known([name, port]) and port not in ports[name]:
            yield Problem("load_balancer", f"the container {name!r} has no port {port}; it has {sorted(ports[name])}")
        group = account.find("aws_lb_target_group", balancer.get("target_group_arn"))
        if group and group["target_type"] != "ip" and task["network_mode"] == "awsvpc":
            yield Problem("load_balancer", "the network mode awsvpc needs target groups of the target_type ip")
    if task["network_mode"] == "awsvpc" and not config.get("network_configuration"):
        yield Problem("network_configuration", "the network mode awsvpc needs a network_configuration")


def applied(kind: str, prior: Object | None, state: Object, account: Account) -> Iterator[Problem]:
    """Refusals that depend on what is there at that moment of an apply."""
    if kind == "aws_lb_listener_rule":
        place, before = ([rule["listener_arn"], rule["priority"]] if rule else None for rule in (state, prior))
        taken = [[rule["listener_arn"], rule["priority"]] for rule in account.every(kind)]
        if place != before and place in taken:
            yield Problem("priority", f"PriorityInUse: Priority '{state['priority']}' is currently in use")
    if kind == "aws_lb" and not state["internal"]:
        subnets = [one for one in account.every("aws_subnet") if one["id"] in (state["subnets"] or ())]
        reached = {gateway["vpc_id"] for gateway in account.every("aws_internet_gateway")}
        for network in sorted({subnet["vpc_id"] for subnet in subnets} - reached):
            yield Problem("subnets", f"InvalidSubnet: VPC {network} has no internet gateway")


def removed(kind: str, prior: Object, account: Account) -> Iterator[Problem]:
    """Refusals to remove what others still use at that moment."""
    names = [f'"{prior[name]}"' for name in ("id", "arn") if prior.get(name)]
    for user in (one for kind_of_user in HOLDERS.get(kind, ()) for one in account.every(kind_of_user)):
        if any(name in json.dumps(user) for name in names):
            yield Problem("", f"DependencyViolation: {kind} {prior['id']} is used by {user['arn']}")
