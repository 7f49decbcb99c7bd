variable "name" {
  description = "The prefix of all names here and of the names of the environments."
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
    condition     = can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region of AWS, such as us-east-1."
  }
}

variable "account_id" {
  description = "The account of these resources; with it, credentials of another account are refused. Null means any."
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

variable "tags" {
  description = "Tags for every resource, such as those that an organization requires."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection([for name in keys(var.tags) : lower(name)], ["application", "environment", "part", "managed-by"])) == 0 && alltrue([for name in keys(var.tags) : !startswith(lower(name), "aws:")])
    error_message = "tags must not have application, environment, part or managed-by, which are set here and decide who may change a resource, nor names that begin with aws:."
  }
}

variable "permissions_boundary_arn" {
  description = "A policy that limits every role, where an organization refuses roles without one. It must allow what the roles do. Null means none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy, arn:aws:iam::ACCOUNT:policy/NAME."
  }
}

variable "services" {
  description = "The services; each has a registry repository and two roles of its own. `secret_arns` are what its execution role may read, `secret_key_arns` the customer keys that encrypt them."
  type = map(object({
    secret_arns     = optional(set(string), [])
    secret_key_arns = optional(set(string), [])
  }))
  default = { stats = {}, frontend = {}, gateway = {} }

  validation {
    condition     = length(var.services) > 0 && alltrue([for name in keys(var.services) : can(regex("^[a-z][a-z0-9-]{0,22}$", name))])
    error_message = "services needs at least one, and each name must be 1 to 23 lower-case letters, digits and hyphens, beginning with a letter."
  }
  validation {
    condition     = alltrue(flatten([for service in values(var.services) : [for arn in service.secret_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", arn))]]))
    error_message = "secret_key_arns must be ARNs of keys, arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
  validation {
    condition     = alltrue(flatten([for service in values(var.services) : [for arn in service.secret_arns : can(regex("^arn:[a-z-]+:(secretsmanager|ssm):", arn))]]))
    error_message = "secret_arns must be ARNs of Secrets Manager or of the SSM parameter store."
  }
}

variable "github" {
  description = <<-EOT
    Which GitHub tokens may take which role, by patterns of the token's `sub`; `make bootstrap` prints the lines for a
    repository. A job with an `environment:` has a `sub` that ends in `:environment:NAME`. Repositories created or
    renamed since 2026-07-15 have ids in it, `repo:OWNER@ID/NAME@ID:...`; both forms are accepted. `repository_id` is
    compared as well. `plan` is for pull requests, `plan_main` for runs of main (it reads every state), `preview` for
    the job that deploys pr-N. Null means no access from GitHub. An account has one provider of this kind:
    `provider_arn` names it where it exists already.
  EOT
  type = object({
    provider_arn  = optional(string)
    repository_id = optional(string)
    plan          = list(string)
    plan_main     = optional(list(string), [])
    push          = list(string)
    deploy        = list(string)
    preview       = optional(list(string), [])
  })
  default = null

  validation {
    condition     = try(alltrue([for subject in concat(var.github.plan, var.github.plan_main, var.github.push, var.github.deploy, var.github.preview) : can(regex("^repo:[A-Za-z0-9-]+(@[0-9]+)?/[A-Za-z0-9._-]+(@[0-9]+)?:.+$", subject))]), var.github == null)
    error_message = "every pattern must begin with one repository, repo:OWNER/NAME: or repo:OWNER@ID/NAME@ID:, such as repo:acme/shop:ref:refs/heads/main; a star before the second colon would admit other repositories."
  }
  validation {
    condition     = try(alltrue([for subject in concat(var.github.plan_main, var.github.push, var.github.deploy, var.github.preview) : !endswith(subject, ":pull_request") && !endswith(subject, ":*")]), var.github == null)
    error_message = "only plan may be taken by pull requests: name a branch, a tag or an environment for the other roles."
  }
  validation {
    condition     = try(var.github.repository_id == null || can(regex("^[0-9]+$", var.github.repository_id)), var.github == null)
    error_message = "github.repository_id must be a number, as `gh api repos/OWNER/NAME --jq .id` prints it."
  }
}

variable "accounts" {
  description = "Other accounts with environments, and the role in each that `deploy` and `plan-main` may assume, such as { \"222222222222\" = \"system-stats-deploy\" }. The execution roles there may pull the images of this account's registry."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for id, role in var.accounts : can(regex("^[0-9]{12}$", id)) && can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", role))])
    error_message = "accounts must have account ids of 12 digits, and the name of a role for each."
  }
}

variable "home" {
  description = "For another account than the registry's: the registry's account, and the ARNs of the roles or users there that may assume the role NAME-deploy here. Null means that this is the registry's account."
  type = object({
    account_id  = string
    deployed_by = list(string)
  })
  default = null

  validation {
    condition     = try(can(regex("^[0-9]{12}$", var.home.account_id)) && length(var.home.deployed_by) > 0 && alltrue([for arn in var.home.deployed_by : can(regex("^arn:[a-z-]+:iam::${var.home.account_id}:(role|user)/", arn))]), var.home == null)
    error_message = "home.account_id must have 12 digits, and home.deployed_by must be ARNs of roles or users of that account."
  }
}

variable "zone_ids" {
  description = "Route 53 zones in which the environments may make records. Empty when no environment has a domain."
  type        = set(string)
  default     = []
}

variable "sign_in_secret_arns" {
  description = "Secrets with the client secret of an OpenID provider, where an environment asks for sign-in by one. Plans of main and deployments may read them."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.sign_in_secret_arns : can(regex("^arn:[a-z-]+:secretsmanager:", arn))])
    error_message = "sign_in_secret_arns must be ARNs of Secrets Manager."
  }
}

variable "kept_images" {
  description = "The number of versions that each repository keeps, for both processors; older ones expire. Repositories of previews keep three times as many."
  type        = number
  default     = 100

  validation {
    condition     = var.kept_images >= 10
    error_message = "kept_images must be at least 10, so that a previous version remains for a rollback."
  }
}
