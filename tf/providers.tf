# Credentials come from the standard chain of AWS: the environment, a profile, SSO, or a workflow's token.
provider "aws" {
  region              = var.region
  profile             = var.profile
  allowed_account_ids = var.account_id == null ? null : [var.account_id]

  default_tags {
    tags = {
      application = local.application
      environment = var.environment
      managed-by  = "terraform"
    }
  }
}
