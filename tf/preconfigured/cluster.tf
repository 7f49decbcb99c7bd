# One cluster for the environments of the account and one for the previews of pull requests. A cluster costs nothing by
# itself; Container Insights costs some 10 dollars an environment, so that previews have none.

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_cluster" "preview" {
  #checkov:skip=CKV_AWS_65:previews are looked at by who has pushed them, and Container Insights costs more than they do
  name = "${var.name}-preview"

  setting {
    name  = "containerInsights"
    value = "disabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  for_each = { this = aws_ecs_cluster.this.name, preview = aws_ecs_cluster.preview.name }

  cluster_name       = each.value
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

moved {
  from = aws_ecs_cluster_capacity_providers.this
  to   = aws_ecs_cluster_capacity_providers.this["this"]
}
