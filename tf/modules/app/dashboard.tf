# Dashboard: traffic of the load balancer, and processor, memory and tasks of each service.

locals {
  balancer_widgets = [
    for title, metrics in {
      "Requests and errors" = [
        ["AWS/ApplicationELB", "RequestCount", "LoadBalancer", local.load_balancer.arn_suffix, { stat = "Sum" }],
        ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "LoadBalancer", local.load_balancer.arn_suffix, { stat = "Sum" }],
        ["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "LoadBalancer", local.load_balancer.arn_suffix, { stat = "Sum" }],
      ]
      "Time to answer, in seconds" = [
        for statistic in ["p50", "p90", "p99"] : ["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", local.load_balancer.arn_suffix, { stat = statistic }]
      ]
      } : {
      type       = "metric"
      properties = { title = title, metrics = metrics, region = data.aws_region.current.region, period = 60, view = "timeSeries" }
    }
  ]

  service_widgets = [
    for title, metric in {
      "Processor, in percent" = ["AWS/ECS", "CPUUtilization"]
      "Memory, in percent"    = ["AWS/ECS", "MemoryUtilization"]
      "Running tasks"         = ["ECS/ContainerInsights", "RunningTaskCount"]
      } : {
      type = "metric"
      properties = {
        title   = title
        metrics = [for name in keys(var.services) : [metric[0], metric[1], "ClusterName", var.cluster_name, "ServiceName", local.service_names[name], { label = name }]]
        region  = data.aws_region.current.region
        period  = 60
        view    = "timeSeries"
      }
    }
  ]
}

locals {
  own_widgets = [
    for title in sort(distinct([for metric in values(var.own_metrics) : metric.widget])) : {
      type = "metric"
      properties = {
        title = title
        metrics = [
          for key, given in var.own_metrics : concat(
            [given.namespace, given.metric],
            flatten([for name, value in given.dimensions : [name, value]]),
            [{ label = key, stat = given.statistic, period = given.period }],
          ) if given.widget == title
        ]
        region = data.aws_region.current.region
        view   = "timeSeries"
      }
    }
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  for_each = var.monitored ? toset(["own"]) : toset([])

  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = concat(local.balancer_widgets, local.service_widgets, local.own_widgets) })
}

moved {
  from = aws_cloudwatch_dashboard.this
  to   = aws_cloudwatch_dashboard.this["own"]
}
