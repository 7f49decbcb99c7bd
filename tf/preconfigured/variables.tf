variable "name" {
  description = "What everything here begins with, and what the names of the environments begin with."
  type        = string
  default     = "system-stats"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 20 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "The region of the account's registry, cluster and state."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region of AWS, such as us-east-1."
  }
}

variable "account_id" {
  description = "The account that this is for; with it, credentials of another account are refused. Null means any."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must have 12 digits."
  }
}

variable "profile" {
  description = "A named profile of the AWS configuration; null leaves it to AWS_PROFILE and the rest of the standard chain."
  type        = string
  default     = null
}

variable "services" {
  description = "The services; each has a registry repository and two roles of its own. `secret_arns` are what its execution role may read."
  type = map(object({
    secret_arns = optional(set(string), [])
  }))
  default = { stats = {}, frontend = {}, gateway = {} }

  validation {
    condition     = length(var.services) > 0 && alltrue([for name in keys(var.services) : can(regex("^[a-z][a-z0-9-]{0,22}$", name))])
    error_message = "services needs at least one, and each name must be 1 to 23 lower-case letters, digits and hyphens, beginning with a letter."
  }
  validation {
    condition     = alltrue(flatten([for service in values(var.services) : [for arn in service.secret_arns : can(regex("^arn:[a-z-]+:(secretsmanager|ssm):", arn))]]))
    error_message = "secret_arns must be ARNs of Secrets Manager or of the SSM parameter store."
  }
}

variable "github" {
  description = <<-EOT
    Who at GitHub may take which role: patterns of the token's `sub`. A job with an `environment:` has a `sub` that
    ends in `:environment:NAME`, and `preview` is for such a job of a pull request's: it deploys pr-N alone. Newer repositories carry numbers after owner and name, so look at a token first.
    Null means no access from GitHub. An account has one provider of this kind: name it where it exists already.
  EOT
  type = object({
    provider_arn = optional(string)
    plan         = list(string)
    push         = list(string)
    deploy       = list(string)
    preview      = optional(list(string), [])
  })
  default = null

  validation {
    condition     = try(alltrue([for subject in concat(var.github.plan, var.github.push, var.github.deploy, var.github.preview) : can(regex("^repo:[^*:/]+/[^*:]+:.+$", subject))]), var.github == null)
    error_message = "every pattern must begin with one repository, repo:OWNER/NAME: and then what of it, such as repo:acme/shop:ref:refs/heads/main; a star before the second colon would let strangers in."
  }
  validation {
    condition     = try(alltrue([for subject in concat(var.github.push, var.github.deploy, var.github.preview) : !endswith(subject, ":pull_request") && !endswith(subject, ":*")]), var.github == null)
    error_message = "pull requests may plan, but neither push nor deploy: name a branch, a tag or an environment."
  }
}

variable "zone_ids" {
  description = "Route 53 zones in which the environments may make records. Empty when no environment has a domain."
  type        = set(string)
  default     = []
}

variable "sign_in_secret_arns" {
  description = "Secrets with the client secret of an OpenID provider, where an environment asks for sign-in by one. Who deploys may read them."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.sign_in_secret_arns : can(regex("^arn:[a-z-]+:secretsmanager:", arn))])
    error_message = "sign_in_secret_arns must be ARNs of Secrets Manager."
  }
}

variable "kept_images" {
  description = "How many images each repository keeps; the rest expires."
  type        = number
  default     = 100

  validation {
    condition     = var.kept_images >= 10
    error_message = "kept_images must be at least 10, so that a previous version is there to go back to."
  }
}
