# Inputs that are rejected before any call to AWS.

variables {
  environment = "staging"
  release     = "0123456789abcdef0123456789abcdef01234567"
  images      = { for name in keys(jsondecode(file("../services.json"))) : name => "registry.example/${name}@sha256:${sha256(name)}" }
}

run "an_image_by_tag" {
  command = plan
  variables {
    images = merge(var.images, { stats = "registry.example/stats:latest" })
  }
  expect_failures = [var.images]
}

run "an_image_too_few" {
  command = plan
  variables {
    images = { stats = var.images.stats }
  }
  # The second check of the module cannot be reached without the image either.
  expect_failures = [var.images]
}

run "an_environment_with_a_long_name" {
  command = plan
  variables {
    environment = "a-name-that-is-too-long-for-a-load-balancer"
  }
  expect_failures = [var.environment]
}

run "a_tag_that_decides_who_may_change_a_resource" {
  command = plan
  variables {
    tags = { environment = "pr-7" }
  }
  expect_failures = [var.tags]
}

run "days_that_are_no_range" {
  command = plan
  variables {
    hours = { days = "MON-WED-FRI" }
  }
  expect_failures = [var.hours]
}

run "a_time_zone_that_is_no_name" {
  command = plan
  variables {
    hours = { timezone = "UTC +1" }
  }
  expect_failures = [var.hours]
}

run "an_account_that_is_none" {
  command = plan
  variables {
    account_id = "1234"
  }
  expect_failures = [var.account_id]
}

run "an_unknown_service" {
  command = plan
  variables {
    services = { database = {} }
  }
  expect_failures = [var.services]
}

run "an_unknown_architecture" {
  command = plan
  variables {
    architecture = "amd64"
  }
  expect_failures = [var.architecture]
}

run "an_interval_that_stats_does_not_take" {
  command = plan
  variables {
    emf = { seconds = 5 }
  }
  expect_failures = [var.emf]
}

run "a_threshold_that_is_no_percentage" {
  command = plan
  variables {
    emf = { cpu_percent = 900 }
  }
  expect_failures = [var.emf]
}

run "a_role_of_no_account" {
  command = plan
  variables {
    account_role = "system-stats-deploy"
  }
  expect_failures = [var.account_role]
}
