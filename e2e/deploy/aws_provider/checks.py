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
from typing import Any, NamedTuple

import containers
from resources import Account
from values import Block, Object, at, elements, is_known, is_unknown


class Problem(NamedTuple):
    """The attribute that is wrong, or "" for the resource as a whole, and a statement of what is."""

    attribute: str
    message: str


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

RETENTION = (0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
LOAD_BALANCER_NAME = re.compile(r"(?!internal-)[0-9A-Za-z]([0-9A-Za-z-]{0,30}[0-9A-Za-z])?")
ECS_NAME = re.compile(r"[\w-]{1,255}", re.ASCII)
ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
LISTENER_ACTIONS = ("forward", "redirect", "fixed-response", "authenticate-cognito", "authenticate-oidc")
CONTENT_TYPES = ("text/plain", "text/css", "text/html", "application/javascript", "application/json")

# Type and path -> the allowed words, a range of numbers, or the form of a text.
ALLOWED: dict[str, dict[str, Any]] = {
    "aws_acm_certificate": {"validation_method": ("DNS", "EMAIL", "NONE")},
    "aws_appautoscaling_policy": {
        "policy_type": ("StepScaling", "TargetTrackingScaling", "PredictiveScaling"),
    },
    "aws_appautoscaling_target": {"resource_id": re.compile(r"service/[\w-]+/[\w-]+")},
    "aws_cloudwatch_log_group": {"retention_in_days": RETENTION},
    "aws_cloudwatch_metric_alarm": {
        "comparison_operator": (
            "GreaterThanOrEqualToThreshold", "GreaterThanThreshold",
            "LessThanThreshold", "LessThanOrEqualToThreshold",
        ),
        "statistic": ("SampleCount", "Average", "Sum", "Minimum", "Maximum"),
        "treat_missing_data": ("missing", "ignore", "breaching", "notBreaching"),
    },
    "aws_ecr_repository": {
        "name": re.compile(r"[a-z0-9]+([._/-][a-z0-9]+)*"),
        "image_tag_mutability": (
            "MUTABLE", "IMMUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION",
        ),
        "encryption_configuration.encryption_type": ("AES256", "KMS", "KMS_DSSE"),
    },
    "aws_ecs_cluster": {
        "name": ECS_NAME,
        "setting.name": ("containerInsights",),
        "setting.value": ("enabled", "enhanced", "disabled"),
    },
    "aws_ecs_service": {
        "name": ECS_NAME,
        "availability_zone_rebalancing": ("ENABLED", "DISABLED"),
        "deployment_configuration.strategy": ("ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"),
        "launch_type": ("EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"),
        "propagate_tags": ("SERVICE", "TASK_DEFINITION", "NONE"),
        "scheduling_strategy": ("REPLICA", "DAEMON"),
    },
    "aws_ecs_task_definition": {
        "family": ECS_NAME,
        "network_mode": ("awsvpc", "bridge", "host", "none"),
        "requires_compatibilities": ("EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"),
        "runtime_platform.cpu_architecture": ("X86_64", "ARM64"),
    },
    "aws_flow_log": {
        "log_destination_type": ("cloud-watch-logs", "s3", "kinesis-data-firehose"),
        "max_aggregation_interval": (60, 600),
        "traffic_type": ("ACCEPT", "REJECT", "ALL"),
    },
    "aws_iam_role": {"name": ROLE_NAME},
    "aws_kms_alias": {"name": re.compile(r"alias/[\w/-]+")},
    "aws_kms_key": {"deletion_window_in_days": range(7, 31)},
    "aws_lb": {
        "name": LOAD_BALANCER_NAME,
        "desync_mitigation_mode": ("monitor", "defensive", "strictest"),
        "idle_timeout": range(1, 4001),
        "load_balancer_type": ("application", "network", "gateway"),
    },
    "aws_lb_listener": {
        "protocol": ("HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE"),
        "default_action.type": LISTENER_ACTIONS,
        "default_action.fixed_response.content_type": CONTENT_TYPES,
        "default_action.fixed_response.status_code": re.compile(r"[245]\d\d"),
        "default_action.redirect.status_code": ("HTTP_301", "HTTP_302"),
    },
    "aws_lb_listener_rule": {"action.type": LISTENER_ACTIONS, "priority": range(1, 50001)},
    "aws_lb_target_group": {
        "name": LOAD_BALANCER_NAME,
        "health_check.healthy_threshold": range(2, 11),
        "health_check.interval": range(5, 301),
        "health_check.timeout": range(2, 121),
        "health_check.unhealthy_threshold": range(2, 11),
        "protocol": ("HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE"),
        "target_type": ("instance", "ip", "lambda", "alb"),
    },
    "aws_service_discovery_service": {
        "dns_config.dns_records.type": ("A", "AAAA", "SRV", "CNAME"),
        "dns_config.routing_policy": ("MULTIVALUE", "WEIGHTED"),
    },
    "aws_vpc_endpoint": {
        "vpc_endpoint_type": ("Gateway", "Interface", "GatewayLoadBalancer", "Resource", "ServiceNetwork"),
    },
    "aws_wafv2_web_acl": {"scope": ("REGIONAL", "CLOUDFRONT")},
}  # fmt: skip

# Arguments that the schema leaves open and AWS requires for what tf/ makes of these types.
REQUIRED = {
    "aws_cloudwatch_metric_alarm": ("metric_name", "namespace", "period", "threshold"),
    "aws_ecs_service": ("task_definition",),
    "aws_flow_log": ("log_destination",),
    "aws_lb_listener": ("port",),
    "aws_lb_target_group": ("port", "protocol", "vpc_id"),
    "aws_subnet": ("cidr_block",),
    "aws_vpc": ("cidr_block",),
    "aws_vpc_endpoint": ("service_name",),
}

_PEER = ("cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id")
# Exactly one of these arguments is given.
ONE_OF = {
    "aws_route": ("destination_cidr_block", "destination_ipv6_cidr_block", "destination_prefix_list_id"),
    "aws_vpc_security_group_egress_rule": _PEER,
    "aws_vpc_security_group_ingress_rule": _PEER,
    "aws_cloudwatch_metric_alarm": ("statistic", "extended_statistic"),
    "aws_lb": ("subnets", "subnet_mapping"),
}


def resource(kind: str, block: Block, config: Object) -> Iterator[Problem]:
    """Problems of a resource as it is written."""
    general = list(data_source(kind, block, config))
    yield from general
    for path, allowed in ALLOWED.get(kind, {}).items():
        for value in at(config, path):
            if not _allows(allowed, value):
                yield Problem(path.partition(".")[0], f"{path} {_expected(allowed)}, got {value!r}")
    for name in REQUIRED.get(kind, ()):
        if config.get(name) is None:
            yield Problem("", f"AWS requires {name}")
    names = ONE_OF.get(kind, ())
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


def _allows(allowed: Any, value: Any) -> bool:
    if isinstance(allowed, re.Pattern):
        return bool(allowed.fullmatch(str(value)))
    return value in allowed


def _expected(allowed: Any) -> str:
    if isinstance(allowed, re.Pattern):
        return f"must have the form {allowed.pattern}"
    if isinstance(allowed, range):
        return f"must be between {allowed[0]} and {allowed[-1]}"
    return f"must be one of {', '.join(map(str, allowed))}"


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
        place, before = ([one["listener_arn"], one["priority"]] if one else None for one in (state, prior))
        taken = [[one["listener_arn"], one["priority"]] for one in account.every(kind)]
        if place != before and place in taken:
            yield Problem("priority", f"PriorityInUse: Priority '{state['priority']}' is currently in use")
    if kind == "aws_lb" and not state["internal"]:
        subnets = [one for one in account.every("aws_subnet") if one["id"] in (state["subnets"] or ())]
        reached = {one["vpc_id"] for one in account.every("aws_internet_gateway")}
        for network in sorted({one["vpc_id"] for one in subnets} - reached):
            yield Problem("subnets", f"InvalidSubnet: VPC {network} has no internet gateway")
