output "url" {
  description = "The URL of the public services."
  value       = "${var.https == null ? "http" : "https"}://${local.address}"
}

output "load_balancer" {
  description = "The load balancer's own name, which a record of `https.name` leads to."
  value       = local.load_balancer.dns_name
}

output "namespace" {
  description = "The DNS namespace of the services: SERVICE.NAMESPACE resolves to the addresses of its tasks. Does not depend on `services`, so that their environment may name it."
  value       = local.namespace
}

output "load_balancer_cidrs" {
  description = "The CIDR blocks of the load balancer, for services that need trusted proxies. Does not depend on `services` either."
  value       = local.load_balancer_cidrs
}

output "service_names" {
  description = "The name of each service in the cluster."
  value       = { for name, service in aws_ecs_service.this : name => service.name }
}

output "task_definitions" {
  description = "The ARN of each service's task definition, revision included."
  value       = { for name, task in aws_ecs_task_definition.this : name => task.arn }
}

output "container_definitions" {
  description = "The container definitions of each service, as JSON."
  value       = { for name, task in aws_ecs_task_definition.this : name => task.container_definitions }
}

output "replicas" {
  description = "The smallest number of tasks of each service."
  value       = { for name, target in aws_appautoscaling_target.this : name => target.min_capacity }
}

output "shift_minutes" {
  description = "The minimum time of ECS to shift the traffic of each service to a new version; 0 where it replaces tasks."
  value = { for name, service in var.services : name => !local.shifted[name] ? 0 : sum([
    service.deployment.bake_minutes,
    { BLUE_GREEN = 0, CANARY = service.deployment.minutes, LINEAR = ceil(100 / service.deployment.percent) * service.deployment.minutes }[service.deployment.strategy],
  ]) }
}

output "log_groups" {
  description = "The log group of each service."
  value       = { for name, group in aws_cloudwatch_log_group.this : name => group.name }
}

output "alarm_topic_arn" {
  description = "The topic that alarms go to; null without `monitored`."
  value       = one([for topic in values(aws_sns_topic.alarms) : topic.arn])
}

output "dashboard" {
  description = "The name of the CloudWatch dashboard; null without `monitored`."
  value       = one([for dashboard in values(aws_cloudwatch_dashboard.this) : dashboard.dashboard_name])
}
