# The example plans, and the plain task definition says the same of stats as the module does.

variables {
  cluster_name       = "shop"
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/6f1c1b0e-0000-4000-8000-000000000000"
  execution_role_arn = "arn:aws:iam::123456789012:role/shop-execution"
  task_role_arn      = "arn:aws:iam::123456789012:role/shop-task"
  images = {
    shop    = "registry.example/shop@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    stats   = "registry.example/stats@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    gateway = "registry.example/gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }
}

run "stats_is_locked_down_and_reached_by_the_gateway" {
  assert {
    condition = alltrue([
      for key in ["name", "image", "essential", "memory", "user", "readonlyRootFilesystem"] :
      jsondecode(file("task-definition.json")).containerDefinitions[1][key] == jsondecode(module.app.container_definitions.shop)[1][key]
    ])
    error_message = "the plain task definition differs from the module's"
  }
  assert {
    condition     = { for pair in jsondecode(file("task-definition.json")).containerDefinitions[1].environment : pair.name => pair.value } == { for pair in jsondecode(module.app.container_definitions.shop)[1].environment : pair.name => pair.value }
    error_message = "the plain task definition has other settings"
  }
  assert {
    condition     = jsondecode(file("task-definition.json")).containerDefinitions[1].healthCheck.command == jsondecode(module.app.container_definitions.shop)[1].healthCheck.command
    error_message = "the plain task definition is checked otherwise"
  }
  assert {
    condition     = { for pair in jsondecode(module.app.container_definitions.gateway)[0].environment : pair.name => pair.value }.GATEWAY_STATS == "shop.shop-example.internal:8080"
    error_message = "the gateway does not find the sidecar"
  }
}
