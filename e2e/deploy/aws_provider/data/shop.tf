data "aws_caller_identity" "here" {}
data "aws_region" "here" {}
data "aws_iam_role" "shop" {
  name = "shop-task"
}

resource "aws_vpc" "shop" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "shop" {
  for_each   = { a = "10.0.1.0/24", b = "10.0.2.0/24" }
  vpc_id     = aws_vpc.shop.id
  cidr_block = each.value
}

resource "aws_internet_gateway" "shop" {
  vpc_id = aws_vpc.shop.id
}

resource "aws_lb" "shop" {
  name         = "shop"
  subnets      = [for subnet in aws_subnet.shop : subnet.id]
  idle_timeout = 60
  depends_on   = [aws_internet_gateway.shop]
}

resource "aws_lb_target_group" "shop" {
  name        = "shop"
  port        = 8000
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = aws_vpc.shop.id

  health_check {
    path = "/healthz"
  }
}

resource "aws_ecs_cluster" "shop" {
  name = "shop"
}

resource "aws_ecs_task_definition" "shop" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  task_role_arn            = data.aws_iam_role.shop.arn
  container_definitions = jsonencode([{
    name         = "web"
    image        = "shop:1"
    portMappings = [{ containerPort = 8000 }]
  }])
}

resource "aws_ecs_service" "shop" {
  name            = "shop"
  cluster         = aws_ecs_cluster.shop.arn
  task_definition = aws_ecs_task_definition.shop.arn
  launch_type     = "FARGATE"

  network_configuration {
    subnets = [for subnet in aws_subnet.shop : subnet.id]
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.shop.arn
    container_name   = "web"
    container_port   = 8000
  }
}

resource "aws_wafv2_web_acl" "shop" {
  name  = "shop"
  scope = "REGIONAL"
  default_action {
    allow {}
  }
  rule {
    name     = "rate"
    priority = 1
    action {
      block {}
    }
    statement {
      rate_based_statement {
        limit              = 2000
        aggregate_key_type = "IP"
      }
    }
    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "rate"
      sampled_requests_enabled   = true
    }
  }
  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = "shop"
    sampled_requests_enabled   = true
  }
}

output "account" {
  value = data.aws_caller_identity.here.account_id
}
output "region" {
  value = data.aws_region.here.region
}
output "task_definition" {
  value = aws_ecs_task_definition.shop.arn
}
output "task_role" {
  value = aws_ecs_task_definition.shop.task_role_arn
}
output "load_balancer" {
  value = aws_lb.shop.arn
}
output "subnets" {
  value = [for subnet in aws_subnet.shop : subnet.id]
}
output "tags" {
  value = aws_ecs_cluster.shop.tags_all
}
