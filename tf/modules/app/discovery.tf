# Names inside the VPC: `stats.shop-staging.internal` gives the address of every healthy task of `stats`.

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${var.name}.internal"
  description = "The services of ${var.name}"
  vpc         = local.vpc_id
  tags        = var.tags
}

resource "aws_service_discovery_service" "this" {
  for_each = { for name, service in var.services : name => service if service.deployment.strategy == "ROLLING" }

  name = each.key
  # What is registered goes with the service; without it a service that was just stopped cannot be removed.
  force_destroy = true
  tags          = var.tags

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 5
    }
  }
}
