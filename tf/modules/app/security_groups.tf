# The chain, and nothing wider: world -> load balancer -> public services -> the services that they call.
# Each arrow is a pair of rules, one at either end.

locals {
  public = { for name, service in var.services : name => service if service.public != null }

  calls = merge(concat(
    [for name, service in var.services : { for other in service.calls : "${name} to ${other}" => { from = name, to = other, port = var.services[other].port } }],
    [for name, service in var.services : merge([
      for sidecar, given in service.sidecars : { for caller in given.callers : "${caller} to ${name} ${sidecar}" => { from = caller, to = name, port = given.port } }
    ]...)],
  )...)

  load_balancer_ports = var.base != null ? {} : merge(
    { http = { first = 80, last = 80 } },
    var.https == null ? {} : { https = { first = 443, last = 443 } },
    var.share == null ? {} : { shared = var.share.listener_ports },
  )
  ingress = merge([
    for scheme, ports in local.load_balancer_ports : { for cidr in var.ingress_cidrs : "${scheme} from ${cidr}" => { ports = ports, cidr = cidr } }
  ]...)
  load_balancer_group_id = one(concat(values(aws_security_group.load_balancer)[*].id, flatten([for other in values(data.aws_lb.base) : tolist(other.security_groups)])))

  # An empty map would show as a difference in every plan (terraform-provider-aws #38173).
  rule_tags = length(var.tags) > 0 ? var.tags : null

  endpoint_groups = length(local.own_endpoints) > 0 ? { (var.name) = var.name } : {}
}

resource "aws_security_group" "load_balancer" {
  for_each = local.own

  name        = "${var.name}-load-balancer"
  description = "The load balancer of ${var.name}"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-load-balancer" })
}

resource "aws_security_group" "service" {
  for_each = var.services

  name        = "${var.name}-${each.key}"
  description = "The tasks of ${each.key} in ${var.name}"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_security_group" "endpoints" {
  for_each = local.endpoint_groups

  name        = "${var.name}-endpoints"
  description = "The VPC endpoints of ${var.name}"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  for_each = local.ingress

  description       = each.key
  security_group_id = local.load_balancer_group_id
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.ports.first
  to_port           = each.value.ports.last
  tags              = local.rule_tags
}

# With a base, its own rule covers this one: see `shared`.
resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  for_each = var.base == null ? local.public : {}

  description                  = "To ${each.key}"
  security_group_id            = local.load_balancer_group_id
  referenced_security_group_id = aws_security_group.service[each.key].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.rule_tags
}

# The tasks of applications that share this load balancer; which ones they let in is in their own groups.
resource "aws_vpc_security_group_egress_rule" "shared" {
  for_each = var.share == null ? toset([]) : toset([for port in var.share.target_ports : tostring(port)])

  description       = "To tasks that share the load balancer"
  security_group_id = local.load_balancer_group_id
  cidr_ipv4         = var.network.cidr
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
  tags              = local.rule_tags
}

resource "aws_vpc_security_group_ingress_rule" "shared" {
  for_each = var.share == null ? {} : local.endpoint_groups

  description       = "From tasks that share the endpoints"
  security_group_id = one(values(aws_security_group.endpoints)).id
  cidr_ipv4         = var.network.cidr
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.rule_tags
}

# With sign-in, the load balancer itself exchanges codes for tokens.
resource "aws_vpc_security_group_egress_rule" "sign_in" {
  for_each = var.sign_in == null ? toset([]) : toset(["sign-in"])

  description       = "To the provider of identities"
  security_group_id = local.load_balancer_group_id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.rule_tags
}

resource "aws_vpc_security_group_ingress_rule" "public_service" {
  for_each = local.public

  description                  = "From the load balancer"
  security_group_id            = aws_security_group.service[each.key].id
  referenced_security_group_id = local.load_balancer_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.rule_tags
}

resource "aws_vpc_security_group_egress_rule" "call" {
  for_each = local.calls

  description                  = each.key
  security_group_id            = aws_security_group.service[each.value.from].id
  referenced_security_group_id = aws_security_group.service[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.rule_tags
}

resource "aws_vpc_security_group_ingress_rule" "call" {
  for_each = local.calls

  description                  = each.key
  security_group_id            = aws_security_group.service[each.value.to].id
  referenced_security_group_id = aws_security_group.service[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.rule_tags
}

# AWS itself, for images, logs and secrets: through the endpoints, or, where there are none, over the internet.
resource "aws_vpc_security_group_egress_rule" "endpoints" {
  for_each = { for name, service in var.services : name => service if length(local.own_endpoints) > 0 }

  description                  = "To the VPC endpoints"
  security_group_id            = aws_security_group.service[each.key].id
  referenced_security_group_id = one(values(aws_security_group.endpoints)).id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = local.rule_tags
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = { for name, service in var.services : name => service if length(local.own_endpoints) > 0 }

  description                  = "From ${each.key}"
  security_group_id            = one(values(aws_security_group.endpoints)).id
  referenced_security_group_id = aws_security_group.service[each.key].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = local.rule_tags
}

resource "aws_vpc_security_group_egress_rule" "layers" {
  for_each = { for name, service in var.services : name => service if length(local.own_endpoints) > 0 }

  description       = "To the layers of images in S3"
  security_group_id = aws_security_group.service[each.key].id
  prefix_list_id    = one(values(aws_vpc_endpoint.s3)).prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.rule_tags
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  for_each = { for name, service in var.services : name => service if length(local.own_endpoints) == 0 }

  description       = "To the services of AWS"
  security_group_id = aws_security_group.service[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.rule_tags
}

moved {
  from = aws_security_group.load_balancer
  to   = aws_security_group.load_balancer["own"]
}
