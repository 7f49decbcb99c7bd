# Previews of pull requests, with the variables of environments/preview:
#   terraform test -filter=tests/previews.tftest.hcl -var-file=environments/preview/terraform.tfvars

variables {
  environment = "pr-7"
  release     = "0123456789abcdef0123456789abcdef01234567"
  images      = { for name in keys(jsondecode(file("../services.json"))) : name => "registry.example/${name}@sha256:${sha256(name)}" }
}

run "each_has_a_port_that_the_shared_load_balancer_accepts" {
  command = plan

  assert {
    condition     = endswith(output.url, ":20007") && startswith(output.url, "http://system-stats-preview-")
    error_message = "it is not at the port of its number"
  }
  assert {
    condition     = output.cluster == "system-stats-preview" && module.app.namespace == "system-stats-pr-7.system-stats-preview.internal"
    error_message = "it is not in the cluster and the namespace of previews"
  }
}

run "the_highest_number_has_a_port_as_well" {
  command = plan
  variables {
    environment = "pr-999999999"
  }

  assert {
    condition     = endswith(output.url, ":59999")
    error_message = "its port is not one that the load balancer accepts"
  }
}

run "tasks_run_in_working_hours_and_never_at_night" {
  command = plan

  assert {
    condition = alltrue([for name in local.names : {
      for key, schedule in local.autoscaling[name].schedules : key => "${schedule.schedule} ${schedule.timezone} ${schedule.minimum} ${schedule.maximum}"
      } == {
      morning = "cron(0 7 ? * MON-FRI *) Etc/UTC 1 1"
      evening = "cron(0 20 * * ? *) Etc/UTC 0 0"
    }])
    error_message = "a preview costs money at night, or is not back in the morning"
  }
}

run "the_hours_are_chosen_and_bounds_stay" {
  command = plan
  variables {
    hours    = { days = "MON-SAT", from = 9, to = 23, timezone = "Europe/Berlin" }
    services = { gateway = { autoscaling = { minimum = 2, maximum = 4, cpu_percent = 60 } } }
  }

  assert {
    condition     = local.autoscaling.gateway.schedules.morning == { schedule = "cron(0 9 ? * MON-SAT *)", timezone = "Europe/Berlin", minimum = 2, maximum = 4 } && local.autoscaling.gateway.cpu_percent == 60 && output.replicas.gateway == 2
    error_message = "the hours or the bounds are not those that were given"
  }
}

run "without_hours_they_always_run" {
  command = plan
  variables {
    hours = null
  }

  assert {
    condition     = alltrue([for name in local.names : try(length(local.autoscaling[name].schedules), 0) == 0])
    error_message = "a preview stops although it should not"
  }
}

run "hours_that_end_before_they_begin" {
  command = plan
  variables {
    hours = { from = 20, to = 7 }
  }
  expect_failures = [var.hours]
}

run "days_that_are_none" {
  command = plan
  variables {
    hours = { days = "weekdays" }
  }
  expect_failures = [var.hours]
}
