# Alarms, and what triggers a rollback.

locals {
  # Both kinds are of the load balancer: a bad version shows there first.
  alarms_of_deployment = {
    for name, service in local.public : name => concat(
      ["${name} errors"], [for key, group in local.target_groups : "${key} unhealthy" if group.name_of_service == name],
    )
  }

  service_alarms = merge([
    for name, service in var.services : merge(
      {
        "${name} cpu" = {
          text       = "${name} needs more processor", namespace = "AWS/ECS", metric = "CPUUtilization", statistic = "Average"
          threshold  = var.alarms.cpu_percent, comparison = "GreaterThanThreshold", minutes = 5, missing = "notBreaching"
          dimensions = { ClusterName = var.cluster_name, ServiceName = local.service_names[name] }
        }
        "${name} memory" = {
          text       = "${name} needs more memory", namespace = "AWS/ECS", metric = "MemoryUtilization", statistic = "Average"
          threshold  = var.alarms.memory_percent, comparison = "GreaterThanThreshold", minutes = 5, missing = "notBreaching"
          dimensions = { ClusterName = var.cluster_name, ServiceName = local.service_names[name] }
        }
      },
      # A service whose schedule stops it has no task then.
      min(concat([try(service.autoscaling.minimum, service.replicas)], [for schedule in values(try(service.autoscaling.schedules, {})) : schedule.minimum])...) == 0 ? {} : {
        "${name} tasks" = {
          text = "${name} has no running task", namespace = "ECS/ContainerInsights", metric = "RunningTaskCount", statistic = "Minimum"
          # A new service has no data at first. Missing data later have their own notification, see below.
          threshold  = 1, comparison = "LessThanThreshold", minutes = 3, missing = "missing"
          dimensions = { ClusterName = var.cluster_name, ServiceName = local.service_names[name] }
        }
      },
    )
  ]...)

  # While ECS shifts traffic between two target groups, answers are counted over both.
  answers = {
    for name, service in local.public : name => merge(
      { LoadBalancer = local.load_balancer.arn_suffix },
      local.shifted[name] ? {} : { TargetGroup = aws_lb_target_group.this["${name} blue"].arn_suffix },
    )
  }

  public_alarms = merge([
    for name, service in local.public : {
      "${name} errors" = {
        text       = "${name} answers with 5xx", namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", statistic = "Sum"
        threshold  = ceil(service.public.errors_per_5_minutes / 5), comparison = "GreaterThanThreshold", minutes = 2, missing = "notBreaching"
        dimensions = local.answers[name]
      }
      "${name} latency" = {
        text       = "${name} is slow: one answer in a hundred", namespace = "AWS/ApplicationELB", metric = "TargetResponseTime", statistic = "p99"
        threshold  = service.public.latency_seconds, comparison = "GreaterThanThreshold", minutes = 5, missing = "notBreaching"
        dimensions = local.answers[name]
      }
    }
  ]...)

  target_alarms = {
    for key, group in aws_lb_target_group.this : "${key} unhealthy" => {
      text       = "${key} fails its health check", namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", statistic = "Maximum"
      threshold  = 0, comparison = "GreaterThanThreshold", minutes = 3, missing = "notBreaching"
      dimensions = { LoadBalancer = local.load_balancer.arn_suffix, TargetGroup = group.arn_suffix }
    }
  }

  balancer_alarms = {
    "load-balancer errors" = {
      text       = "the load balancer itself answers with 5xx: it finds no healthy target", namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", statistic = "Sum"
      threshold  = 5, comparison = "GreaterThanThreshold", minutes = 2, missing = "notBreaching"
      dimensions = { LoadBalancer = local.load_balancer.arn_suffix }
    }
  }

  # Their names end in `metric`, as no other does.
  own_alarms = {
    for key, given in var.own_metrics : "${key} metric" => {
      text       = given.text, namespace = given.namespace, metric = given.metric, statistic = given.statistic
      threshold  = given.threshold, comparison = "GreaterThanThreshold", minutes = given.periods, missing = "notBreaching"
      dimensions = given.dimensions, period = given.period
    } if given.threshold != null
  }

  alarm_topics = setunion([for topic in values(aws_sns_topic.alarms) : topic.arn], var.alarms.topic_arns)
}

resource "aws_sns_topic" "alarms" {
  for_each = var.monitored ? toset(["own"]) : toset([])

  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.monitored ? var.alarms.emails : []

  topic_arn = one(values(aws_sns_topic.alarms)).arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = { for key, alarm in merge(local.service_alarms, local.public_alarms, local.target_alarms, local.balancer_alarms, local.own_alarms) : key => alarm if var.monitored }

  alarm_name          = "${var.name}-${replace(each.key, " ", "-")}"
  alarm_description   = each.value.text
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic == "p99" ? null : each.value.statistic
  extended_statistic  = each.value.statistic == "p99" ? "p99" : null
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = try(each.value.period, 60)
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  dimensions          = each.value.dimensions
  alarm_actions       = local.alarm_topics
  ok_actions          = local.alarm_topics
  tags                = var.tags

  insufficient_data_actions = each.value.missing == "missing" ? local.alarm_topics : []
}

moved {
  from = aws_sns_topic.alarms
  to   = aws_sns_topic.alarms["own"]
}
