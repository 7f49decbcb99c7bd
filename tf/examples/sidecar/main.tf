# stats as a sidecar of another team's task, and the gateway before it. The figures are those of the task: its limits of
# processor and memory, and what its containers use (ECS task metadata endpoint, version 4).

terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.62.0, < 7.0.0"
    }
  }
}

provider "aws" {
  region = var.region
}

module "app" {
  source = "../../modules/app"

  name         = "shop-example"
  cluster_name = var.cluster_name
  kms_key_arn  = var.kms_key_arn

  log_retention_days = 365

  services = {
    shop = {
      image              = var.images.shop
      port               = 8000
      cpu                = 256
      memory             = 512
      execution_role_arn = var.execution_role_arn
      task_role_arn      = var.task_role_arn
      health_check       = { command = ["CMD", "/shop", "healthcheck"] }

      sidecars = {
        stats = {
          image        = var.images.stats
          memory       = 32
          port         = 8080
          callers      = ["gateway"]
          environment  = { STATS_SCOPE = "task", LOG_FORMAT = "json" }
          health_check = ["CMD", "/stats", "healthcheck", "/readyz"]
          # Without it the shop still serves.
          essential = false
        }
      }
    }

    gateway = {
      image              = var.images.gateway
      port               = 3050
      execution_role_arn = var.execution_role_arn
      task_role_arn      = var.task_role_arn
      health_check       = { command = ["CMD", "/gateway", "healthcheck", "/healthz"] }
      calls              = ["shop"]
      public             = { priority = 100 }
      environment = {
        # Every task of the shop has a stats; the name has the addresses of all healthy ones.
        GATEWAY_STATS           = "shop.${module.app.namespace}:8080"
        GATEWAY_FRONTEND        = "shop.${module.app.namespace}:8000"
        GATEWAY_TRUSTED_PROXIES = join(",", module.app.load_balancer_cidrs)
      }
    }
  }
}

output "url" {
  description = "The shop, and `/stats` of one of its tasks."
  value       = module.app.url
}
