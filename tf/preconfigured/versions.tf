terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "6.62.0"
    }
  }

  # Bucket, key and region are given by `make bootstrap`; the bucket is made here.
  backend "s3" {}
}

provider "aws" {
  region              = var.region
  profile             = var.profile
  allowed_account_ids = var.account_id == null ? null : [var.account_id]

  default_tags {
    tags = merge(var.tags, { application = var.name, part = "preconfigured", managed-by = "terraform" })
  }
}
