# A plan without credentials, for whoever has none: what AWS would answer is made up, and everything is new.
#   make sketch ENV=dev

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
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  release = "0000000000000000000000000000000000000000"
  images = {
    stats    = "not-pushed/stats@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    frontend = "not-pushed/frontend@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    gateway  = "not-pushed/gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }
}

run "plan" {
  command = plan

  assert {
    condition     = toset(keys(output.services)) == toset(["stats", "frontend", "gateway"])
    error_message = "the plan does not have all three services"
  }
}
