output "load_balancer" {
  description = "The address of the load balancer; each preview has a port of its own there."
  value       = module.app.load_balancer
}

output "namespace" {
  description = "The DNS namespace in which the previews have their names."
  value       = module.app.namespace
}

output "region" {
  description = "The region that it is in."
  value       = var.region
}
