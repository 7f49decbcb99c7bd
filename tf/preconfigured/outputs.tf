output "state_bucket" {
  description = "The bucket of the Terraform states."
  value       = aws_s3_bucket.state.id
}

output "repositories" {
  description = "The registry's address for each service."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "preview_repositories" {
  description = "The same for images of pull requests."
  value       = { for name, repository in aws_ecr_repository.preview : name => repository.repository_url }
}

output "cluster" {
  description = "The name of the cluster."
  value       = aws_ecs_cluster.this.name
}

output "github_roles" {
  description = "The role-to-assume of a workflow, by its permission."
  value       = { for name, role in aws_iam_role.github : name => role.arn }
}
