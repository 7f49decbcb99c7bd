# Fargate has no size with cpu 256 and memory 4096; memory can be 512, 1024, 2048
resource "aws_ecs_task_definition" "a_size_that_fargate_does_not_have" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 4096
  container_definitions    = jsonencode([{ name = "shop", image = "shop" }])
}

# container_definitions must be JSON
resource "aws_ecs_task_definition" "containers_that_are_not_json" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = "[{"
}

# container_definitions[0] has the unknown key 'environments'
resource "aws_ecs_task_definition" "a_container_with_an_unknown_key" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = jsonencode([{ name = "shop", image = "shop", environments = [] }])
}

# container_definitions[0] needs the key 'image'
resource "aws_ecs_task_definition" "a_container_without_an_image" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = jsonencode([{ name = "shop" }])
}

# container_definitions[0].environment[0].value must be a string, not 8080
resource "aws_ecs_task_definition" "a_number_in_the_environment" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = jsonencode([{ name = "shop", image = "shop", environment = [{ name = "PORT", value = 8080 }] }])
}

# Fargate needs an execution_role_arn
resource "aws_ecs_task_definition" "a_log_without_a_role_to_write_it" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = jsonencode([{ name = "shop", image = "shop", logConfiguration = { logDriver = "awslogs" } }])
}

# stopTimeout must be at most 120
resource "aws_ecs_task_definition" "a_stop_that_takes_too_long" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = jsonencode([{ name = "shop", image = "shop", stopTimeout = 300 }])
}

# policy must be an object in JSON
resource "aws_iam_policy" "a_policy_with_a_missing_brace" {
  name   = "shop"
  policy = "{\"Statement\": ["
}

# policy: statement 0 must have Resource or NotResource
resource "aws_iam_policy" "a_statement_about_nothing" {
  name   = "shop"
  policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "s3:GetObject" }] })
}

# policy: statement 0 must have the Effect Allow or Deny
resource "aws_iam_policy" "a_statement_with_an_unknown_effect" {
  name   = "shop"
  policy = jsonencode({ Statement = [{ Effect = "allow", Action = "s3:GetObject", Resource = "*" }] })
}

# assume_role_policy: statement 0 must have Principal or NotPrincipal
resource "aws_iam_role" "a_role_that_nothing_can_assume" {
  assume_role_policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "sts:AssumeRole" }] })
}

# launch_type must be one of EC2, FARGATE
resource "aws_ecs_service" "a_word_that_is_not_allowed" {
  name        = "shop"
  launch_type = "fargate"
}

# idle_timeout must be between 1 and 4000, got 5000
resource "aws_lb" "a_number_out_of_range" {
  name         = "shop"
  subnets      = []
  idle_timeout = 5000
}

# name must have the form
resource "aws_lb" "a_name_that_is_too_long" {
  subnets = []
  name    = "a-load-balancer-with-a-name-of-more-than-32"
}

# retention_in_days must be one of 0, 1, 3
resource "aws_cloudwatch_log_group" "a_period_that_logs_are_not_kept_for" {
  name              = "shop"
  retention_in_days = 31
}

# a listener for HTTPS needs a certificate_arn
resource "aws_lb_listener" "https_without_a_certificate" {
  load_balancer_arn = aws_lb_listener.good.load_balancer_arn
  port              = 443
  protocol          = "HTTPS"
  default_action {
    type = "redirect"
  }
}

# policy_arn must be an ARN, got 'shop'
resource "aws_iam_role_policy_attachment" "a_name_where_an_arn_belongs" {
  role       = "shop"
  policy_arn = "shop"
}

# cidr_block must be a network such as 10.0.0.0/16, got '10.0.0.1/16'
resource "aws_vpc" "an_address_where_a_network_belongs" {
  cidr_block = "10.0.0.1/16"
}

# exactly one of cidr_ipv4, cidr_ipv6, prefix_list_id, referenced_security_group_id must be given
resource "aws_vpc_security_group_ingress_rule" "a_rule_with_two_peers" {
  security_group_id = "sg-1"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
  cidr_ipv4         = "10.0.0.0/16"
  prefix_list_id    = "pl-1"
}

# to_port must be a port, got 70000
resource "aws_vpc_security_group_egress_rule" "a_port_that_does_not_exist" {
  security_group_id = "sg-1"
  ip_protocol       = "tcp"
  to_port           = 70000
}

# from_port is required for the ip_protocol tcp
resource "aws_vpc_security_group_egress_rule" "a_rule_without_ports" {
  security_group_id = "sg-1"
  ip_protocol       = "tcp"
  cidr_ipv4         = "0.0.0.0/0"
  to_port           = 443
}

# AWS requires port
resource "aws_lb_listener" "what_the_schema_leaves_open_and_aws_requires" {
  load_balancer_arn = aws_lb_listener.good.load_balancer_arn
  default_action {
    type = "redirect"
  }
}

# min_capacity (3) must not exceed max_capacity (2)
resource "aws_appautoscaling_target" "a_minimum_above_the_maximum" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/shop/shop"
  min_capacity       = 3
  max_capacity       = 2
}

# health_check.timeout (10) must be less than interval (10)
resource "aws_lb_target_group" "a_health_check_that_is_slower_than_its_interval" {
  port     = 80
  protocol = "HTTP"
  vpc_id   = "vpc-1"
  health_check {
    interval = 10
    timeout  = 10
  }
}
