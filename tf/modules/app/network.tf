# A VPC of its own, unless one is given. A zone has a public subnet for the load balancer and, where the
# tasks are private, one without any route out of the VPC.

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:the first few by name are taken, and no later one changes which these are
  # Local zones must be opted into, and have no load balancers of this kind.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }

  # Zones without Fargate (Amazon ECS Developer Guide, "Supported Regions for Amazon ECS on AWS Fargate").
  exclude_zone_ids = ["apne1-az3", "cac1-az4", "use1-az3", "usw1-az2"]

  lifecycle {
    postcondition {
      condition     = length(local.own_vpc) == 0 || length(self.names) >= var.network.zones
      error_message = "this region has Fargate in ${length(self.names)} availability zones, and network.zones is ${var.network.zones}."
    }
  }
}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_subnet" "given" {
  for_each = toset(var.base == null ? try(concat(var.network.existing.load_balancer_subnet_ids, var.network.existing.task_subnet_ids), []) : one(values(data.aws_lb.base)).subnets)
  id       = each.value

  lifecycle {
    postcondition {
      condition     = var.network.existing == null || self.vpc_id == try(var.network.existing.vpc_id, null)
      error_message = "network.existing: the subnet ${each.value} is in ${self.vpc_id}, and vpc_id is another VPC."
    }
  }
}

data "aws_vpc" "given" {
  for_each = var.network.existing == null ? toset([]) : toset([var.network.existing.vpc_id])
  id       = each.value

  lifecycle {
    postcondition {
      condition     = self.enable_dns_support && self.enable_dns_hostnames
      error_message = "network.existing: ${each.value} needs enable_dns_support and enable_dns_hostnames, or services do not find each other by name."
    }
  }
}

# Of the application whose VPC and load balancer are used, by name.
data "aws_lb" "base" {
  for_each = var.base == null ? toset([]) : toset([var.base.name])
  name     = each.value
}

data "aws_subnets" "base" {
  for_each = data.aws_lb.base

  filter {
    name   = "vpc-id"
    values = [each.value.vpc_id]
  }

  filter {
    name   = "tag:Name"
    values = ["${each.key}-${var.network.tasks}-*"]
  }

  lifecycle {
    postcondition {
      condition     = length(self.ids) >= 2
      error_message = "${each.key} has no ${var.network.tasks} subnets: network.tasks must be what it is there."
    }
  }
}

data "aws_service_discovery_dns_namespace" "base" {
  for_each = data.aws_lb.base

  name = "${each.key}.internal"
  type = "DNS_PRIVATE"
}

locals {
  own_vpc = var.network.existing == null && var.base == null ? { (var.name) = var.network } : {}
  private = var.network.tasks == "private"

  zones = length(local.own_vpc) == 0 ? {} : {
    for index, zone in slice(sort(data.aws_availability_zones.available.names), 0, var.network.zones) : zone => {
      public  = cidrsubnet(var.network.cidr, 4, index)
      private = cidrsubnet(var.network.cidr, 4, index + 8)
    }
  }

  given_network = var.base == null ? var.network.existing : {
    vpc_id                   = one(values(data.aws_lb.base)).vpc_id
    load_balancer_subnet_ids = tolist(one(values(data.aws_lb.base)).subnets)
    task_subnet_ids          = one(values(data.aws_subnets.base)).ids
  }

  vpc_id                   = length(local.own_vpc) > 0 ? one(values(aws_vpc.this)).id : local.given_network.vpc_id
  load_balancer_subnet_ids = length(local.own_vpc) > 0 ? [for zone in keys(local.zones) : aws_subnet.public[zone].id] : local.given_network.load_balancer_subnet_ids
  task_subnet_ids          = length(local.own_vpc) == 0 ? local.given_network.task_subnet_ids : local.private ? [for zone in keys(local.zones) : aws_subnet.private[zone].id] : local.load_balancer_subnet_ids
  load_balancer_cidrs      = length(local.own_vpc) > 0 ? [for zone in values(local.zones) : zone.public] : sort([for id in local.load_balancer_subnet_ids : data.aws_subnet.given[id].cidr_block])

  # AWS services that tasks without a route to the internet need: registry, image layers (S3), logs and the
  # stores of their secrets.
  secrets          = flatten([for service in values(var.services) : concat(values(service.secrets), flatten([for sidecar in values(service.sidecars) : values(sidecar.secrets)]))])
  secret_endpoints = toset(concat([for arn in local.secrets : "secretsmanager" if strcontains(arn, ":secretsmanager:")], [for arn in local.secrets : "ssm" if !strcontains(arn, ":secretsmanager:")]))
  own_endpoints    = local.private && length(local.own_vpc) > 0 ? setunion(["ecr.api", "ecr.dkr", "logs"], local.secret_endpoints, var.network.endpoints) : []

  # In some partitions the endpoints of ECR begin with another name (AWS CDK, InterfaceVpcEndpointAwsService).
  endpoint_prefix = lookup({ aws-cn = "cn.com.amazonaws", aws-eusc = "eu.amazonaws" }, data.aws_partition.current.partition, "com.amazonaws")
  endpoint_names = { for endpoint in local.own_endpoints : endpoint =>
    strcontains(endpoint, "amazonaws.") ? endpoint : "${startswith(endpoint, "ecr.") ? local.endpoint_prefix : "com.amazonaws"}.${data.aws_region.current.region}.${endpoint}"
  }
}

resource "aws_vpc" "this" {
  for_each = local.own_vpc

  cidr_block           = each.value.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(var.tags, { Name = var.name })
}

# The default security group allows all traffic between its members. It has no rules here, so that nothing depends on it.
resource "aws_default_security_group" "this" {
  for_each = aws_vpc.this

  vpc_id = each.value.id
  tags   = merge(var.tags, { Name = "${var.name}-unused" })
}

resource "aws_internet_gateway" "this" {
  for_each = aws_vpc.this

  vpc_id = each.value.id
  tags   = merge(var.tags, { Name = var.name })
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id            = local.vpc_id
  availability_zone = each.key
  cidr_block        = each.value.public
  tags              = merge(var.tags, { Name = "${var.name}-public-${each.key}" })

  # The load balancer and the tasks leave a zone, or their kind of subnet, before it is removed.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route_table" "public" {
  for_each = aws_vpc.this

  vpc_id = each.value.id
  tags   = merge(var.tags, { Name = "${var.name}-public" })
}

resource "aws_route" "out" {
  for_each = aws_internet_gateway.this

  route_table_id         = aws_route_table.public[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = each.value.id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = one(values(aws_route_table.public)).id
}

resource "aws_subnet" "private" {
  for_each = local.private ? local.zones : {}

  vpc_id            = local.vpc_id
  availability_zone = each.key
  cidr_block        = each.value.private
  tags              = merge(var.tags, { Name = "${var.name}-private-${each.key}" })

  # The load balancer and the tasks leave a zone, or their kind of subnet, before it is removed.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route_table" "private" {
  for_each = local.private ? aws_vpc.this : {}

  vpc_id = each.value.id
  tags   = merge(var.tags, { Name = "${var.name}-private" })
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = one(values(aws_route_table.private)).id
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.own_endpoints

  vpc_id              = local.vpc_id
  service_name        = local.endpoint_names[each.key]
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = local.task_subnet_ids
  security_group_ids  = [one(values(aws_security_group.endpoints)).id]
  tags                = merge(var.tags, { Name = "${var.name}-${each.value}" })
}

# The layers of images are in a bucket of ECR's own, and nothing else of S3 is needed.
data "aws_iam_policy_document" "layers" {
  statement {
    sid       = "LayersOfImages"
    actions   = ["s3:GetObject"]
    resources = ["arn:${data.aws_partition.current.partition}:s3:::prod-${data.aws_region.current.region}-starport-layer-bucket/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "s3" {
  for_each = aws_route_table.private

  vpc_id            = local.vpc_id
  service_name      = "com.amazonaws.${data.aws_region.current.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [each.value.id]
  policy            = data.aws_iam_policy_document.layers.json
  tags              = merge(var.tags, { Name = "${var.name}-s3" })
}

resource "aws_flow_log" "this" {
  for_each = var.network.flow_logs ? aws_vpc.this : {}

  vpc_id                   = each.value.id
  traffic_type             = "REJECT"
  log_destination_type     = "s3"
  log_destination          = "${one(values(aws_s3_bucket.logs)).arn}/network"
  max_aggregation_interval = 600
  tags                     = merge(var.tags, { Name = var.name })

  depends_on = [aws_s3_bucket_public_access_block.logs]
}
