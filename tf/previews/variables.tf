variable "region" {
  description = "The region to run in; the account's preconfigured part must be there."
  type        = string
  default     = "us-east-1"
}

variable "account_id" {
  description = "The account of the previews; with it, credentials of another account are refused. Null means any."
  type        = string
  default     = null
}

variable "account_role" {
  description = "The role to assume in the account `account_id`, where the credentials are of the registry's account. Null means that they are of that account itself."
  type        = string
  default     = null

  validation {
    condition     = var.account_role == null || (var.account_id != null && can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.account_role)))
    error_message = "account_role must be the name of a role, and needs account_id."
  }
}

variable "profile" {
  description = "A named profile of the AWS configuration; null leaves it to AWS_PROFILE and the rest of the standard chain."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags for every resource, such as those that an organization requires."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection([for name in keys(var.tags) : lower(name)], ["application", "environment", "managed-by"])) == 0 && alltrue([for name in keys(var.tags) : !startswith(lower(name), "aws:")])
    error_message = "tags must not have application, environment or managed-by, which are set here and decide who may change a resource, nor names that begin with aws:."
  }
}

variable "network" {
  description = "See modules/app: a VPC with the previews' tasks in public or private subnets."
  type = object({
    cidr      = optional(string, "10.40.0.0/16")
    zones     = optional(number, 2)
    tasks     = optional(string, "public")
    endpoints = optional(set(string), [])
  })
  default = {}
}

variable "ingress_cidrs" {
  description = "The CIDR blocks that may reach the previews."
  type        = set(string)
  default     = ["0.0.0.0/0"]
}
