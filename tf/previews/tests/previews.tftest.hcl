# The shared part of previews, as a whole.

run "the_names_are_those_that_previews_look_for" {
  assert {
    condition     = module.app.namespace == "system-stats-preview.internal" && startswith(output.load_balancer, "system-stats-preview-")
    error_message = "../main.tf would not find the load balancer or the namespace"
  }
}

run "tasks_in_private_subnets_are_possible" {
  command = plan
  variables {
    network = { tasks = "private" }
  }

  assert {
    condition     = length(module.app.load_balancer_cidrs) == 2
    error_message = "the load balancer needs two subnets"
  }
}
