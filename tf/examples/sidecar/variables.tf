variable "region" {
  description = "The region to run in."
  type        = string
  default     = "us-east-1"
}

variable "cluster_name" {
  description = "An ECS cluster that exists."
  type        = string
}

variable "kms_key_arn" {
  description = "A key for logs and alarms whose policy lets CloudWatch and CloudWatch Logs use it."
  type        = string
}

variable "execution_role_arn" {
  description = "The role with which ECS fetches the images and writes the logs."
  type        = string
}

variable "task_role_arn" {
  description = "The role of the programs; stats needs no permission."
  type        = string
}

variable "images" {
  description = "The images of shop, stats and gateway by digest."
  type        = object({ shop = string, stats = string, gateway = string })
}
