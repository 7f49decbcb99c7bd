# A plan without credentials: the responses of AWS are mocked, and all resources are new.
#   make plan-offline ENV=dev

mock_provider "aws" {
  mock_data "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made-up" }
  }
  mock_data "aws_kms_alias" {
    defaults = { target_key_arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { region = "us-east-1" }
  }
  # Shared by previews: see previews/.
  mock_data "aws_lb" {
    defaults = {
      arn             = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/system-stats-preview/0123456789abcdef"
      arn_suffix      = "app/system-stats-preview/0123456789abcdef"
      dns_name        = "system-stats-preview-0123456789.us-east-1.elb.amazonaws.com"
      vpc_id          = "vpc-0123456789abcdef0"
      subnets         = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
      security_groups = ["sg-0123456789abcdef0"]
    }
  }
  mock_data "aws_subnets" {
    defaults = { ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"] }
  }
  mock_data "aws_subnet" {
    defaults = { cidr_block = "10.40.0.0/20" }
  }
  mock_data "aws_service_discovery_dns_namespace" {
    defaults = { id = "ns-0123456789abcdef", arn = "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-0123456789abcdef" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  release = "0000000000000000000000000000000000000000"
  images  = { for name in keys(jsondecode(file("../services.json"))) : name => "not-pushed/${name}@sha256:${format("%064d", 0)}" }
}

run "plan" {
  command = plan

  assert {
    condition     = toset(keys(output.services)) == toset(local.names)
    error_message = "the plan does not have all services"
  }
}
