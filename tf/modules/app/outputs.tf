output "url" {
  description = "Where the public services are."
  value       = "${var.https == null ? "http" : "https"}://${local.address}"
}

output "namespace" {
  description = "What the services' names end in: SERVICE.NAMESPACE resolves to the addresses of its tasks. Does not depend on `services`, so that their environment may name it."
  value       = "${var.name}.internal"
}

output "load_balancer_cidrs" {
  description = "Where the load balancer's requests come from, for services that must know which peers to trust. Does not depend on `services` either."
  value       = local.load_balancer_cidrs
}

output "service_names" {
  description = "What each service is called in the cluster."
  value       = { for name, service in aws_ecs_service.this : name => service.name }
}

output "task_definitions" {
  description = "The ARN of each service's task definition, revision included."
  value       = { for name, task in aws_ecs_task_definition.this : name => task.arn }
}

output "replicas" {
  description = "The smallest number of tasks of each service."
  value       = { for name, target in aws_appautoscaling_target.this : name => target.min_capacity }
}

output "log_groups" {
  description = "The log group of each service."
  value       = { for name, group in aws_cloudwatch_log_group.this : name => group.name }
}

output "alarm_topic_arn" {
  description = "The topic that alarms go to."
  value       = aws_sns_topic.alarms.arn
}

output "dashboard" {
  description = "The name of the CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
