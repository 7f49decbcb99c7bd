# An argument named "desired_amount" is not expected here
resource "aws_ecs_service" "an_unknown_argument" {
  name           = "shop"
  desired_amount = 1
}

# The argument "name" is required
resource "aws_ecs_service" "a_missing_argument" {}

# Inappropriate value for attribute "desired_count"
resource "aws_ecs_service" "a_wrong_type" {
  name          = "shop"
  desired_count = "many"
}

# Blocks of type "network" are not expected here
resource "aws_ecs_service" "an_unknown_block" {
  name = "shop"
  network {}
}

# The argument "subnets" is required
resource "aws_ecs_service" "a_block_without_its_argument" {
  name = "shop"
  network_configuration {}
}

# No more than 1 "network_configuration" blocks are allowed
resource "aws_ecs_service" "a_block_too_many" {
  name = "shop"
  network_configuration {
    subnets = []
  }
  network_configuration {
    subnets = []
  }
}

# "arn" is decided by AWS
resource "aws_ecs_cluster" "a_value_that_aws_decides" {
  name = "shop"
  arn  = "arn:aws:ecs:us-east-1:123456789012:cluster/shop"
}

# "name" is required and must not be null
resource "aws_ecs_cluster" "null_where_a_value_is_required" {
  name = null
}

# "container_definitions" is required and must not be null
resource "aws_ecs_task_definition" "null_for_containers" {
  family                   = "shop"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = null
}

# does not support resource type "aws_ecs_flock"
resource "aws_ecs_flock" "an_unknown_type_of_resource" {}

# This object has no argument, nested block, or exported attribute named "address"
resource "aws_ecs_service" "an_unknown_attribute" {
  name    = "shop"
  cluster = aws_ecs_cluster.good.address
}
