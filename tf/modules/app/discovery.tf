# Names inside the VPC: `stats.shop-staging.internal` gives addresses of healthy tasks of `stats`, at most 8 of them in an
# answer, chosen at random (AWS Cloud Map, DnsConfig, MULTIVALUE). variables.tf refuses more tasks than that behind a
# name, unless every caller keeps the addresses of earlier answers.

locals {
  # With a base, names are in its namespace: `stats.system-stats-pr-7.system-stats-preview.internal`.
  namespace    = var.base == null ? "${var.name}.internal" : "${var.name}.${var.base.name}.internal"
  namespace_id = one(concat(values(aws_service_discovery_private_dns_namespace.this), values(data.aws_service_discovery_dns_namespace.base))).id
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  for_each = local.own

  name        = "${var.name}.internal"
  description = "The services of ${var.name}"
  vpc         = local.vpc_id
  tags        = var.tags
}

resource "aws_service_discovery_service" "this" {
  for_each = { for name, service in var.services : name => service if !local.shifted[name] }

  name = var.base == null ? each.key : "${each.key}.${var.name}"
  # Removes registered instances with the service; otherwise a service that was just stopped cannot be removed.
  force_destroy = true
  tags          = var.tags

  dns_config {
    namespace_id   = local.namespace_id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 5
    }
  }

  # ECS reports the container's health. Without this block Cloud Map has no health at all, and its answers contain tasks
  # that start or are unhealthy. It cannot be added later without replacing the service. An empty block is planned
  # again and again; AWS takes no other threshold than 1.
  health_check_custom_config {
    failure_threshold = 1
  }

  # A service whose strategy changes gives its name up first; ECS starts no task whose name is gone.
  lifecycle {
    create_before_destroy = true
  }
}

moved {
  from = aws_service_discovery_private_dns_namespace.this
  to   = aws_service_discovery_private_dns_namespace.this["own"]
}
