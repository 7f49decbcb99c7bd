"""Mistakes in a configuration that `terraform validate` reports with the fake provider.

All mistakes are in one configuration, which is validated once, beside resources without a mistake.
"""

from __future__ import annotations

import json
import tempfile
import textwrap
import unittest
from pathlib import Path

from trial import Trial

GOOD = """
resource "aws_ecs_cluster" "good" {
  name = "shop"
}

resource "aws_iam_policy" "good" {
  name   = "shop"
  policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }] })
}

# A data source has other requirements than the resource of its name.
data "aws_subnet" "good" {
  id = "subnet-1"
}

resource "aws_lb_listener" "good" {
  load_balancer_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/shop/0123456789abcdef"
  port              = 80
  protocol          = "HTTP"
  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}
"""


def service(text: str) -> tuple[str, str]:
    return "aws_ecs_service", f'name = "shop"\n{text}'


def task(memory: int, container: str, more: str = "") -> tuple[str, str]:
    return (
        "aws_ecs_task_definition",
        f"""
        family                   = "shop"
        requires_compatibilities = ["FARGATE"]
        network_mode             = "awsvpc"
        cpu                      = 256
        memory                   = {memory}
        container_definitions    = {container}
        {more}
        """,
    )


def statement(text: str) -> tuple[str, str]:
    return "aws_iam_policy", f'name = "shop"\npolicy = jsonencode({{ Statement = [{text}] }})'


def container(text: str) -> tuple[str, str]:
    return task(512, f'jsonencode([{{ name = "shop", image = "shop", {text} }}])')


# Fault -> the resource, and a part of the message.
SCHEMA = {
    "an unknown argument": (service("desired_cuont = 1"), 'An argument named "desired_cuont" is not expected here'),
    "a missing argument": (("aws_ecs_service", ""), 'The argument "name" is required'),
    "a wrong type": (service('desired_count = "many"'), 'Inappropriate value for attribute "desired_count"'),
    "an unknown block": (service("network {}"), 'Blocks of type "network" are not expected here'),
    "a block without its argument": (service("network_configuration {}"), 'The argument "subnets" is required'),
    "a block too many": (
        service("network_configuration {\nsubnets = []\n}\nnetwork_configuration {\nsubnets = []\n}"),
        'No more than 1 "network_configuration" blocks are allowed',
    ),
    "a value that AWS decides": (
        ("aws_ecs_cluster", 'name = "shop"\narn = "arn:aws:ecs:us-east-1:123456789012:cluster/shop"'),
        '"arn" is decided by AWS',
    ),
    "null where a value is required": (("aws_ecs_cluster", "name = null"), '"name" is required and must not be null'),
    "null for containers": (task(512, "null"), '"container_definitions" is required and must not be null'),
    "an unknown type of resource": (("aws_ecs_clutser", ""), 'does not support resource type "aws_ecs_clutser"'),
    "an unknown attribute": (
        service("cluster = aws_ecs_cluster.good.address"),
        'This object has no argument, nested block, or exported attribute named "address"',
    ),
}
ARGUMENTS = {
    "a size that Fargate does not have": (
        task(4096, 'jsonencode([{ name = "shop", image = "shop" }])'),
        "Fargate has no size with cpu 256 and memory 4096; memory can be 512, 1024, 2048",
    ),
    "containers that are not JSON": (task(512, '"[{"'), "container_definitions must be JSON"),
    "a container with an unknown key": (
        container("enviroment = []"),
        "container_definitions[0] has the unknown key 'enviroment'",
    ),
    "a container without an image": (
        task(512, 'jsonencode([{ name = "shop" }])'),
        "container_definitions[0] needs the key 'image'",
    ),
    "a number in the environment": (
        container('environment = [{ name = "PORT", value = 8080 }]'),
        "container_definitions[0].environment[0].value must be a string, not 8080",
    ),
    "a log without a role to write it": (
        container('logConfiguration = { logDriver = "awslogs" }'),
        "Fargate needs an execution_role_arn",
    ),
    "a stop that takes too long": (container("stopTimeout = 300"), "stopTimeout must be at most 120"),
    "a policy with a missing brace": (
        ("aws_iam_policy", 'name = "shop"\npolicy = "{\\"Statement\\": ["'),
        "policy must be an object in JSON",
    ),
    "a statement about nothing": (
        statement('{ Effect = "Allow", Action = "s3:GetObject" }'),
        "policy: statement 0 must have Resource or NotResource",
    ),
    "a statement with an unknown effect": (
        statement('{ Effect = "allow", Action = "s3:GetObject", Resource = "*" }'),
        "policy: statement 0 must have the Effect Allow or Deny",
    ),
    "a role that nothing can assume": (
        (
            "aws_iam_role",
            'assume_role_policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "sts:AssumeRole" }] })',
        ),
        "assume_role_policy: statement 0 must have Principal or NotPrincipal",
    ),
    "a word that is not allowed": (service('launch_type = "fargate"'), "launch_type must be one of EC2, FARGATE"),
    "a number out of range": (
        ("aws_lb", 'name = "shop"\nsubnets = []\nidle_timeout = 5000'),
        "idle_timeout must be between 1 and 4000, got 5000",
    ),
    "a name that is too long": (
        ("aws_lb", 'subnets = []\nname = "a-load-balancer-with-a-name-of-more-than-32"'),
        "name must have the form",
    ),
    "a period that logs are not kept for": (
        ("aws_cloudwatch_log_group", 'name = "shop"\nretention_in_days = 31'),
        "retention_in_days must be one of 0, 1, 3",
    ),
    "HTTPS without a certificate": (
        (
            "aws_lb_listener",
            """
            load_balancer_arn = aws_lb_listener.good.load_balancer_arn
            port              = 443
            protocol          = "HTTPS"
            default_action {
              type = "redirect"
            }
            """,
        ),
        "a listener for HTTPS needs a certificate_arn",
    ),
    "a name where an ARN belongs": (
        ("aws_iam_role_policy_attachment", 'role = "shop"\npolicy_arn = "shop"'),
        "policy_arn must be an ARN, got 'shop'",
    ),
    "an address where a network belongs": (
        ("aws_vpc", 'cidr_block = "10.0.0.1/16"'),
        "cidr_block must be a network such as 10.0.0.0/16, got '10.0.0.1/16'",
    ),
    "a rule with two peers": (
        (
            "aws_vpc_security_group_ingress_rule",
            """
            security_group_id = "sg-1"
            ip_protocol       = "tcp"
            from_port         = 80
            to_port           = 80
            cidr_ipv4         = "10.0.0.0/16"
            prefix_list_id    = "pl-1"
            """,
        ),
        "exactly one of cidr_ipv4, cidr_ipv6, prefix_list_id, referenced_security_group_id must be given",
    ),
    "a port that does not exist": (
        ("aws_vpc_security_group_egress_rule", 'security_group_id = "sg-1"\nip_protocol = "tcp"\nto_port = 70000'),
        "to_port must be a port, got 70000",
    ),
    "a rule without ports": (
        (
            "aws_vpc_security_group_egress_rule",
            'security_group_id = "sg-1"\nip_protocol = "tcp"\ncidr_ipv4 = "0.0.0.0/0"\nto_port = 443',
        ),
        "from_port is required for the ip_protocol tcp",
    ),
    "what the schema leaves open and AWS requires": (
        (
            "aws_lb_listener",
            'load_balancer_arn = aws_lb_listener.good.load_balancer_arn\ndefault_action {\ntype = "redirect"\n}',
        ),
        "AWS requires port",
    ),
    "a minimum above the maximum": (
        (
            "aws_appautoscaling_target",
            """
            service_namespace  = "ecs"
            scalable_dimension = "ecs:service:DesiredCount"
            resource_id        = "service/shop/shop"
            min_capacity       = 3
            max_capacity       = 2
            """,
        ),
        "min_capacity (3) must not exceed max_capacity (2)",
    ),
    "a health check that is slower than its interval": (
        (
            "aws_lb_target_group",
            """
            port     = 80
            protocol = "HTTP"
            vpc_id   = "vpc-1"
            health_check {
              interval = 10
              timeout  = 10
            }
            """,
        ),
        "health_check.timeout (10) must be less than interval (10)",
    ),
}


class Refusals(unittest.TestCase):
    def report(self, cases: dict[str, tuple[tuple[str, str], str]]) -> dict[str, list[str]]:
        """The messages of `terraform validate`, by the name of the resource that they are about."""
        parts = [GOOD]
        for number, ((kind, text), _) in enumerate(cases.values()):
            parts.append(f'resource "{kind}" "case{number}" {{\n{textwrap.dedent(text)}\n}}\n')
        with tempfile.TemporaryDirectory() as folder:
            trial = Trial(Path(folder), "\n".join(parts))
            code, text = trial.terraform("validate", "-json", expect=None)
        self.assertEqual(code, 1)
        messages: dict[str, list[str]] = {}
        for diagnostic in json.loads(text)["diagnostics"]:
            name = diagnostic["snippet"]["context"].rsplit('"', 2)[1]
            messages.setdefault(name, []).append(f"{diagnostic['summary']}. {diagnostic['detail']}")
        return messages

    def check(self, cases: dict[str, tuple[tuple[str, str], str]]) -> None:
        messages = self.report(cases)
        for number, (what, (_, message)) in enumerate(cases.items()):
            with self.subTest(what):
                found = messages.pop(f"case{number}", [])
                self.assertTrue(any(message in each for each in found), found)
        self.assertEqual(messages, {}, "a resource without a mistake is refused")

    def test_what_the_schema_does_not_have_is_refused(self) -> None:
        self.check(SCHEMA)

    def test_values_that_aws_does_not_take_are_refused(self) -> None:
        self.check(ARGUMENTS)


if __name__ == "__main__":
    unittest.main()
