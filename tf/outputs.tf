output "url" {
  description = "The URL of the page."
  value       = module.app.url
}

output "load_balancer" {
  description = "The load balancer's own name, for a record of `https.name`."
  value       = module.app.load_balancer
}

output "signs_in" {
  description = "Whether the page requires a sign-in."
  value       = var.sign_in != null
}

output "release" {
  description = "The commit that is deployed."
  value       = var.release
}

output "cluster" {
  description = "The cluster that the services run in."
  value       = data.aws_ecs_cluster.this.cluster_name
}

output "region" {
  description = "The region that it runs in."
  value       = var.region
}

output "images" {
  description = "The image of each service by its digest."
  value       = var.images
}

output "services" {
  description = "The name of each service in the cluster."
  value       = module.app.service_names
}

output "task_definitions" {
  description = "The ARN of each service's task definition, revision included."
  value       = module.app.task_definitions
}

output "replicas" {
  description = "The smallest number of tasks of each service."
  value       = module.app.replicas
}

output "shift_minutes" {
  description = "The minimum time of ECS to shift traffic to a new version of each service."
  value       = module.app.shift_minutes
}

output "log_groups" {
  description = "The log group of each service."
  value       = module.app.log_groups
}

output "dashboard" {
  description = "The name of the CloudWatch dashboard."
  value       = module.app.dashboard
}

output "alarm_topic_arn" {
  description = "The topic that alarms go to."
  value       = module.app.alarm_topic_arn
}
