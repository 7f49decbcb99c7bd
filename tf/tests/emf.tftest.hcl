# Alarms of the metrics that stats writes.

variables {
  environment = "staging"
  release     = "0123456789abcdef0123456789abcdef01234567"
  images      = { for name in keys(jsondecode(file("../services.json"))) : name => "registry.example/${name}@sha256:${sha256(name)}" }
  emf         = {}
}

run "stats_writes_what_the_alarms_read" {
  command = plan

  assert {
    condition     = local.definitions.stats.environment.STATS_EMF == "60" && alltrue([for name, definition in local.definitions : !contains(keys(definition.environment), "STATS_EMF") if name != "stats"])
    error_message = "stats writes no metrics, or another service has its setting"
  }
  assert {
    # Namespace, dimensions and names: services/stats/src/emf.rs.
    condition     = alltrue([for metric in values(local.own_metrics) : strcontains(file("../services/stats/src/emf.rs"), "\"${metric.metric}\"") && strcontains(file("../services/stats/src/emf.rs"), "NAMESPACE: &str = \"${metric.namespace}\"")]) && length(local.own_metrics) == 7
    error_message = "an alarm reads a metric that stats does not write"
  }
  assert {
    condition     = alltrue([for metric in values(local.own_metrics) : metric.dimensions == { scope = "task", family = "system-stats-staging-stats", service = "system-stats-staging-stats" }])
    error_message = "the dimensions are not those of the task of stats"
  }
  assert {
    condition     = { for key, metric in local.own_metrics : key => metric.threshold } == { "stats cpu" = 90, "stats ram" = 90, "stats pressure cpu" = 40, "stats pressure memory" = 10, "stats pressure io" = 40, "stats disk busy" = 90, "stats oom kills" = 0 }
    error_message = "the thresholds are not those of variables.tf"
  }
}

run "a_line_every_five_minutes_has_longer_periods" {
  command = plan
  variables {
    emf = { seconds = 300, minutes = 12, cpu_percent = 0, oom_kills = false }
  }

  assert {
    condition     = local.own_metrics["stats ram"].period == 300 && local.own_metrics["stats ram"].periods == 3 && local.own_metrics["stats oom kills"].periods == 1 && local.definitions.stats.environment.STATS_EMF == "300"
    error_message = "periods without a line would end an alarm"
  }
  assert {
    condition     = local.own_metrics["stats cpu"].threshold == null && local.own_metrics["stats oom kills"].threshold == null
    error_message = "an alarm that was switched off is there"
  }
}

run "without_it_nothing_is_written" {
  command = plan
  variables {
    emf = null
  }

  assert {
    condition     = !contains(keys(local.definitions.stats.environment), "STATS_EMF") && length(local.own_metrics) == 0
    error_message = "metrics cost money although they are off"
  }
}
