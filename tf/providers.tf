# Credentials come from the standard chain of AWS: the environment, a profile, SSO, or a workflow's token.
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
      environment = var.environment
      managed-by  = "terraform"
    })
  }
}
