terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "6.62.0"
    }
  }

  # The key is environments/preview/terraform.tfstate; bucket and region are given by the make targets.
  backend "s3" {}
}

# Credentials come from the standard chain of AWS.
provider "aws" {
  region              = var.region
  profile             = var.profile
  allowed_account_ids = var.account_id == null ? null : [var.account_id]

  dynamic "assume_role" {
    for_each = var.account_role == null ? [] : [var.account_role]

    content {
      role_arn     = "arn:${startswith(var.region, "cn-") ? "aws-cn" : startswith(var.region, "us-gov-") ? "aws-us-gov" : startswith(var.region, "eusc-") ? "aws-eusc" : "aws"}:iam::${var.account_id}:role/${assume_role.value}"
      session_name = "make"
    }
  }

  default_tags {
    tags = merge(var.tags, {
      application = local.application
      environment = local.environment
      managed-by  = "terraform"
    })
  }
}
