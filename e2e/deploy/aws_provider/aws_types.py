"""The types of resources and data sources in tf/: the format of their identifiers,
which arguments have defaults, and which of them replace the resource when they change.

A type that is missing here still works. Its identifiers are made up by a general rule
(`resources._guess`), and only a change of its name or region replaces it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

# In `replaced_by`: all arguments, but those with a hyphen before them.
ALL = "*"
HOSTED_ZONE_OF_LOAD_BALANCERS = "Z35SXDOTRQ7X7K"


@dataclass(frozen=True)
class Known:
    """Templates are filled with the fields that `resources.Fields` describes; `{digest:.8}` is its
    first eight characters."""

    computed: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    replaced_by: tuple[str, ...] = ()


def known(kind: str) -> Known:
    return RESOURCES.get(kind, Known())


def known_data(kind: str) -> dict[str, Any]:
    """Templates of a data source; what has none of its own looks as in the resource of that name."""
    return {**known(kind).computed, **DATA.get(kind, {})}


def _validation_records(fields: Any) -> list[dict[str, str]]:
    """The records that prove the ownership of a certificate's name."""
    name = str(fields["domain_name"])
    digest = hashlib.sha256(name.encode()).hexdigest()
    return [
        {
            "domain_name": name,
            "resource_record_name": f"_{digest[:32]}.{name}.",
            "resource_record_type": "CNAME",
            "resource_record_value": f"_{digest[32:]}.acm-validations.aws.",
        }
    ]


def _rule_of_security_group() -> Known:
    return Known(
        computed={
            "id": "sgr-{digest:.17}",
            "security_group_rule_id": "{id}",
            "arn": "arn:aws:ec2:{region}:{account}:security-group-rule/{id}",
        },
        replaced_by=("security_group_id",),
    )


def _part_of_vpc(noun: str, prefix: str, replaced_by: tuple[str, ...], **computed: str) -> Known:
    arn = "arn:aws:ec2:{region}:{account}:" + noun + "/{id}"
    return Known(computed={"id": prefix + "-{digest:.17}", "arn": arn, **computed}, replaced_by=replaced_by)


def _part_of_bucket() -> Known:
    return Known(computed={"id": "{bucket}"}, replaced_by=("bucket", "expected_bucket_owner"))


RESOURCES: dict[str, Known] = {
    "aws_acm_certificate": Known(
        computed={
            "arn": "arn:aws:acm:{region}:{account}:certificate/{uuid}",
            "id": "{arn}",
            "status": "ISSUED",
            "type": "AMAZON_ISSUED",
            "domain_validation_options": _validation_records,
        },
        replaced_by=("domain_name", "subject_alternative_names", "validation_method", "key_algorithm"),
    ),
    "aws_acm_certificate_validation": Known(computed={"id": "2026-01-01 00:00:00 +0000 UTC"}, replaced_by=(ALL,)),
    "aws_appautoscaling_policy": Known(
        computed={
            "arn": "arn:aws:autoscaling:{region}:{account}:scalingPolicy:{uuid}"
            ":resource/{service_namespace}/{resource_id}:policyName/{name}",
            "id": "{name}",
        },
        replaced_by=("resource_id", "scalable_dimension", "service_namespace"),
    ),
    "aws_appautoscaling_scheduled_action": Known(
        computed={"id": "{name}-{service_namespace}-{resource_id}"},
        replaced_by=("resource_id", "scalable_dimension", "service_namespace"),
    ),
    "aws_appautoscaling_target": Known(
        computed={
            "arn": "arn:aws:application-autoscaling:{region}:{account}:scalable-target/{digest:.34}",
            "id": "{resource_id}",
            "role_arn": "arn:aws:iam::{account}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com"
            "/AWSServiceRoleForApplicationAutoScaling_ECSService",
        },
        replaced_by=("resource_id", "scalable_dimension", "service_namespace"),
    ),
    "aws_cloudwatch_dashboard": Known(
        computed={
            "dashboard_arn": "arn:aws:cloudwatch::{account}:dashboard/{dashboard_name}",
            "id": "{dashboard_name}",
        },
        replaced_by=("dashboard_name",),
    ),
    "aws_cloudwatch_log_group": Known(
        computed={"arn": "arn:aws:logs:{region}:{account}:log-group:{name}", "log_group_class": "STANDARD"},
        defaults={"retention_in_days": 0, "skip_destroy": False},
    ),
    "aws_cloudwatch_metric_alarm": Known(
        computed={"arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{alarm_name}"},
        defaults={"actions_enabled": True, "treat_missing_data": "missing"},
        replaced_by=("alarm_name",),
    ),
    "aws_default_security_group": _part_of_vpc("security-group", "sg", ("vpc_id",), name="default"),
    "aws_ecr_lifecycle_policy": Known(
        computed={"id": "{repository}", "registry_id": "{account}"}, replaced_by=("repository", "policy")
    ),
    "aws_ecr_repository": Known(
        computed={
            "arn": "arn:aws:ecr:{region}:{account}:repository/{name}",
            "registry_id": "{account}",
            "repository_url": "{account}.dkr.ecr.{region}.amazonaws.com/{name}",
        },
        defaults={"image_tag_mutability": "MUTABLE"},
        replaced_by=("encryption_configuration",),
    ),
    "aws_ecs_cluster": Known(computed={"arn": "arn:aws:ecs:{region}:{account}:cluster/{name}", "id": "{arn}"}),
    "aws_ecs_cluster_capacity_providers": Known(replaced_by=("cluster_name",)),
    "aws_ecs_service": Known(
        computed={"arn": "arn:aws:ecs:{region}:{account}:service/{cluster:tail}/{name}", "id": "{arn}"},
        defaults={
            "deployment_maximum_percent": 200,
            "deployment_minimum_healthy_percent": 100,
            "enable_ecs_managed_tags": False,
            "enable_execute_command": False,
            "scheduling_strategy": "REPLICA",
            "wait_for_steady_state": False,
        },
        replaced_by=("cluster", "launch_type", "scheduling_strategy", "iam_role"),
    ),
    "aws_ecs_task_definition": Known(
        computed={
            "revision": lambda fields: fields["next_revision"],
            "arn": "arn:aws:ecs:{region}:{account}:task-definition/{family}:{revision}",
            "arn_without_revision": "arn:aws:ecs:{region}:{account}:task-definition/{family}",
            "id": "{family}",
        },
        defaults={"skip_destroy": False, "track_latest": False},
        replaced_by=(ALL, "-skip_destroy", "-track_latest"),
    ),
    "aws_flow_log": Known(
        computed={"id": "fl-{digest:.17}", "arn": "arn:aws:ec2:{region}:{account}:vpc-flow-log/{id}"},
        defaults={"log_destination_type": "cloud-watch-logs", "max_aggregation_interval": 600},
        replaced_by=(ALL,),
    ),
    "aws_iam_openid_connect_provider": Known(
        computed={"arn": "arn:aws:iam::{account}:oidc-provider/{url:host}", "id": "{arn}"}, replaced_by=("url",)
    ),
    "aws_iam_policy": Known(
        computed={"arn": "arn:aws:iam::{account}:policy{path}{name}", "id": "{arn}", "policy_id": "ANPA{capitals:.17}"},
        defaults={"path": "/"},
        replaced_by=("path", "description"),
    ),
    "aws_iam_role": Known(
        computed={
            # Of the data source alone: the resource has a default.
            "path": "/",
            "arn": "arn:aws:iam::{account}:role{path}{name}",
            "id": "{name}",
            "unique_id": "AROA{capitals:.17}",
        },
        defaults={"path": "/", "max_session_duration": 3600, "force_detach_policies": False},
        replaced_by=("path",),
    ),
    "aws_iam_role_policy": Known(computed={"id": "{role}:{name}"}, replaced_by=("role",)),
    "aws_iam_role_policy_attachment": Known(computed={"id": "{role}/{policy_arn}"}, replaced_by=("role", "policy_arn")),
    "aws_internet_gateway": _part_of_vpc("internet-gateway", "igw", ()),
    "aws_kms_alias": Known(
        computed={
            "arn": "arn:aws:kms:{region}:{account}:{name}",
            "id": "{name}",
            "target_key_arn": "arn:aws:kms:{region}:{account}:key/{target_key_id:tail}",
        }
    ),
    "aws_kms_key": Known(
        computed={"key_id": "{uuid}", "id": "{uuid}", "arn": "arn:aws:kms:{region}:{account}:key/{uuid}"},
        defaults={"key_usage": "ENCRYPT_DECRYPT", "customer_master_key_spec": "SYMMETRIC_DEFAULT", "is_enabled": True},
        replaced_by=("customer_master_key_spec", "key_usage"),
    ),
    "aws_lb": Known(
        computed={
            "arn_suffix": "app/{name}/{digest:.16}",
            "arn": "arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/{arn_suffix}",
            "id": "{arn}",
            "dns_name": "{name}-{number:.10}.{region}.elb.amazonaws.com",
            "zone_id": HOSTED_ZONE_OF_LOAD_BALANCERS,
            "ip_address_type": "ipv4",
        },
        defaults={
            "load_balancer_type": "application",
            "idle_timeout": 60,
            "client_keep_alive": 3600,
            "desync_mitigation_mode": "defensive",
            "drop_invalid_header_fields": False,
            "enable_deletion_protection": False,
            "enable_http2": True,
            "preserve_host_header": False,
            "xff_header_processing_mode": "append",
        },
        replaced_by=("internal", "load_balancer_type"),
    ),
    "aws_lb_listener": Known(
        computed={
            "arn": "arn:aws:elasticloadbalancing:{region}:{account}:listener/{load_balancer_arn:path}/{digest:.16}",
            "id": "{arn}",
        },
        replaced_by=("load_balancer_arn",),
    ),
    "aws_lb_listener_rule": Known(
        computed={
            "arn": "arn:aws:elasticloadbalancing:{region}:{account}:listener-rule/{listener_arn:path}/{digest:.16}",
            "id": "{arn}",
        },
        replaced_by=("listener_arn",),
    ),
    "aws_lb_target_group": Known(
        computed={
            "arn_suffix": "targetgroup/{name}/{digest:.16}",
            "arn": "arn:aws:elasticloadbalancing:{region}:{account}:{arn_suffix}",
            "id": "{arn}",
            "protocol_version": "HTTP1",
            "ip_address_type": "ipv4",
            "load_balancing_algorithm_type": "round_robin",
        },
        defaults={"target_type": "instance", "deregistration_delay": "300", "slow_start": 0},
        replaced_by=("port", "protocol", "protocol_version", "target_type", "vpc_id", "ip_address_type"),
    ),
    "aws_route": Known(
        computed={"id": "r-{route_table_id}{number:.10}", "origin": "CreateRoute", "state": "active"},
        replaced_by=("route_table_id", "destination_cidr_block", "destination_ipv6_cidr_block"),
    ),
    "aws_route53_record": Known(
        computed={"id": "{zone_id}_{name}_{type}", "fqdn": "{name}"}, replaced_by=("zone_id", "name", "type")
    ),
    "aws_route_table": _part_of_vpc("route-table", "rtb", ("vpc_id",)),
    "aws_route_table_association": Known(
        computed={"id": "rtbassoc-{digest:.17}"}, replaced_by=("subnet_id", "gateway_id")
    ),
    "aws_s3_bucket": Known(
        computed={
            "arn": "arn:aws:s3:::{bucket}",
            "id": "{bucket}",
            "bucket_domain_name": "{bucket}.s3.amazonaws.com",
            "bucket_regional_domain_name": "{bucket}.s3.{region}.amazonaws.com",
            "bucket_region": "{region}",
        },
        defaults={"force_destroy": False},
        replaced_by=("bucket", "bucket_prefix", "object_lock_enabled"),
    ),
    "aws_s3_bucket_lifecycle_configuration": _part_of_bucket(),
    "aws_s3_bucket_ownership_controls": _part_of_bucket(),
    "aws_s3_bucket_policy": _part_of_bucket(),
    "aws_s3_bucket_public_access_block": _part_of_bucket(),
    "aws_s3_bucket_server_side_encryption_configuration": _part_of_bucket(),
    "aws_s3_bucket_versioning": _part_of_bucket(),
    "aws_security_group": Known(
        computed={"id": "sg-{digest:.17}", "arn": "arn:aws:ec2:{region}:{account}:security-group/{id}"},
        defaults={"description": "Managed by Terraform", "revoke_rules_on_delete": False},
        replaced_by=("description", "vpc_id"),
    ),
    "aws_service_discovery_private_dns_namespace": Known(
        computed={
            "id": "ns-{digest:.16}",
            "arn": "arn:aws:servicediscovery:{region}:{account}:namespace/{id}",
            "hosted_zone": "Z{capitals:.20}",
        },
        replaced_by=("vpc",),
    ),
    "aws_service_discovery_service": Known(
        computed={"id": "srv-{digest:.16}", "arn": "arn:aws:servicediscovery:{region}:{account}:service/{id}"},
        replaced_by=("namespace_id",),
    ),
    "aws_sns_topic": Known(
        computed={"arn": "arn:aws:sns:{region}:{account}:{name}", "id": "{arn}", "owner": "{account}"},
        replaced_by=("fifo_topic",),
    ),
    "aws_sns_topic_subscription": Known(
        computed={"arn": "{topic_arn}:{uuid}", "id": "{arn}", "owner_id": "{account}"},
        replaced_by=("topic_arn", "protocol", "endpoint"),
    ),
    "aws_subnet": _part_of_vpc(
        "subnet",
        "subnet",
        ("vpc_id", "cidr_block", "availability_zone"),
        availability_zone="{region}a",
        cidr_block="10.0.{byte}.0/24",
    ),
    "aws_vpc": _part_of_vpc(
        "vpc",
        "vpc",
        ("cidr_block",),
        main_route_table_id="rtb-{digest:.17}",
        default_network_acl_id="acl-{digest:.17}",
        default_security_group_id="sg-{digest:.17}",
        cidr_block="10.0.0.0/16",
    ),
    "aws_vpc_endpoint": Known(
        computed={
            "id": "vpce-{digest:.17}",
            "arn": "arn:aws:ec2:{region}:{account}:vpc-endpoint/{id}",
            "prefix_list_id": "pl-{digest:.8}",
            "state": "available",
        },
        defaults={"vpc_endpoint_type": "Gateway"},
        replaced_by=("vpc_id", "service_name", "vpc_endpoint_type"),
    ),
    "aws_vpc_security_group_egress_rule": _rule_of_security_group(),
    "aws_vpc_security_group_ingress_rule": _rule_of_security_group(),
    "aws_wafv2_web_acl": Known(
        computed={"id": "{uuid}", "arn": "arn:aws:wafv2:{region}:{account}:regional/webacl/{name}/{id}"},
        replaced_by=("scope",),
    ),
    "aws_wafv2_web_acl_association": Known(
        computed={"id": "{web_acl_arn},{resource_arn}"}, replaced_by=("web_acl_arn", "resource_arn")
    ),
}

DATA: dict[str, dict[str, Any]] = {
    "aws_availability_zones": {"id": "{region}", "names": ["{region}a", "{region}b", "{region}c"]},
    "aws_caller_identity": {"account_id": "{account}", "arn": "arn:aws:iam::{account}:user/fake", "id": "{account}"},
    "aws_ecs_cluster": {"arn": "arn:aws:ecs:{region}:{account}:cluster/{cluster_name}", "status": "ACTIVE"},
    "aws_iam_policy_document": {"id": "{number:.10}"},
    "aws_kms_alias": {"target_key_id": "{uuid}", "target_key_arn": "arn:aws:kms:{region}:{account}:key/{uuid}"},
    # Of the load balancer that another environment has made, under its name.
    "aws_lb": {
        "vpc_id": "vpc-{digest:.17}",
        "subnets": ["subnet-{digest:.16}a", "subnet-{digest:.16}b"],
        "security_groups": ["sg-{digest:.17}"],
    },
    "aws_partition": {"partition": "aws", "id": "aws", "dns_suffix": "amazonaws.com"},
    "aws_region": {"region": "{region}", "id": "{region}", "name": "{region}"},
    "aws_service_discovery_dns_namespace": {
        "id": "ns-{digest:.16}",
        "arn": "arn:aws:servicediscovery:{region}:{account}:namespace/{id}",
        "hosted_zone": "Z{capitals:.20}",
    },
    "aws_subnets": {"id": "{region}", "ids": ["subnet-{digest:.16}a", "subnet-{digest:.16}b"]},
    "aws_secretsmanager_secret_version": {"secret_string": "made-up", "version_id": "{uuid}", "arn": "{secret_id}"},
}
