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

  default_tags {
    tags = {
      application = local.application
      environment = local.environment
      managed-by  = "terraform"
    }
  }
}
