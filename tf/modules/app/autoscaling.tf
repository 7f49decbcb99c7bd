# Number of tasks. A fixed number is a range of one, so autoscaling of a service starts or stops
# without replacing it, and `desired_count` has one owner.

locals {
  targets = {
    for name, service in var.services : name => {
      cpu      = try(service.autoscaling.cpu_percent, null)
      memory   = try(service.autoscaling.memory_percent, null)
      requests = try(service.autoscaling.requests_per_target, null)
    }
  }

  policies = merge([
    for name, target in local.targets : {
      for kind, value in target : "${name} ${kind}" => {
        service = name
        value   = value
        metric = {
          cpu      = "ECSServiceAverageCPUUtilization"
          memory   = "ECSServiceAverageMemoryUtilization"
          requests = "ALBRequestCountPerTarget"
        }[kind]
      } if value != null
    }
  ]...)

  schedules = merge([
    for name, service in var.services : {
      for schedule, given in try(service.autoscaling.schedules, {}) : "${name} ${schedule}" => merge(given, { service = name })
    }
  ]...)
}

resource "aws_appautoscaling_target" "this" {
  for_each = var.services

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.cluster_name}/${aws_ecs_service.this[each.key].name}"
  min_capacity       = try(each.value.autoscaling.minimum, each.value.replicas)
  max_capacity       = try(each.value.autoscaling.maximum, each.value.replicas)
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "this" {
  for_each = local.policies

  name               = "${var.name}-${replace(each.key, " ", "-")}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.value.service].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.value.service].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.value.service].resource_id

  target_tracking_scaling_policy_configuration {
    target_value = each.value.value
    # Fast scale-out, slow scale-in.
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = each.value.metric
      resource_label         = each.value.metric == "ALBRequestCountPerTarget" ? "${local.load_balancer.arn_suffix}/${aws_lb_target_group.this["${each.value.service} blue"].arn_suffix}" : null
    }
  }
}

resource "aws_appautoscaling_scheduled_action" "this" {
  for_each = local.schedules

  name               = "${var.name}-${replace(each.key, " ", "-")}"
  service_namespace  = aws_appautoscaling_target.this[each.value.service].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.value.service].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.value.service].resource_id
  schedule           = each.value.schedule
  timezone           = each.value.timezone

  scalable_target_action {
    min_capacity = each.value.minimum
    max_capacity = each.value.maximum
  }
}
