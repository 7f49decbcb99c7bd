# A VPC, a load balancer and a namespace, which the previews of pull requests share. No task runs here.
# `make deploy ENV=preview` creates it once, `make destroy ENV=preview CONFIRM=preview` removes it.

locals {
  application = "system-stats"
  # As everywhere in tf/: what an environment has made carries its name.
  environment = "preview"
  declared    = jsondecode(file("${path.module}/../../services.json"))
}

data "aws_kms_alias" "this" {
  name = "alias/${local.application}"
}

module "app" {
  source = "../modules/app"

  name         = "${local.application}-${local.environment}"
  cluster_name = "${local.application}-${local.environment}"
  kms_key_arn  = data.aws_kms_alias.this.target_key_arn
  network      = var.network
  access_logs  = null
  protect      = false
  # A preview that sleeps has no targets, and every request to it would count as an error of the load balancer.
  monitored     = false
  ingress_cidrs = var.ingress_cidrs
  # The gateway keeps an idle connection for 75 s; the load balancer must close it first.
  idle_timeout_seconds = 60
  services             = {}
  # There is no log group; the module's default is shorter than linters want.
  log_retention_days = 365

  share = {
    # ../main.tf gives each preview one of them.
    listener_ports = { first = 20000, last = 59999 }
    target_ports   = [for service in values(local.declared) : service.port if service.public]
  }
}
