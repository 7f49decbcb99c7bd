variable "environment" {
  description = "The environment's name, which is the name of its folder in environments/."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,13}[a-z0-9]$", var.environment))
    error_message = "environment must be 2 to 15 lower-case letters, digits and hyphens, beginning with a letter: it becomes part of names."
  }
}

variable "region" {
  description = "The region to run in; the account's preconfigured part must be there."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region of AWS, such as us-east-1."
  }
}

variable "account_id" {
  description = "The account that this environment belongs to; with it, credentials of another account are refused. Null means any."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must have 12 digits."
  }
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

variable "images" {
  description = "The image of each service by its digest. `make deploy` sets them."
  type        = map(string)

  validation {
    condition     = toset(keys(var.images)) == toset(local.names)
    error_message = "images must have exactly the services of services.json: ${join(", ", local.names)}."
  }
  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "images must be named by digest, REPOSITORY@sha256:HEX; a tag could mean something else tomorrow."
  }
}

variable "release" {
  description = "The deployed commit. `make deploy` sets it."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-Za-z._-]{1,100}$", var.release))
    error_message = "release must be 1 to 100 letters, digits, dots, underscores and hyphens."
  }
}

variable "architecture" {
  description = "The processors that the tasks run on; the images are built for it."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["ARM64", "X86_64"], var.architecture)
    error_message = "architecture must be ARM64 or X86_64."
  }
}

variable "attested_by" {
  description = "The GitHub repository whose workflow must have built and attested the images, OWNER/NAME, or OWNER/NAME@refs/heads/main for that branch alone; `make deploy` verifies it before it applies. Null skips the verification, and the deployment reports it."
  type        = string
  default     = null

  validation {
    condition     = var.attested_by == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+(@refs/[^[:space:]@]+)?$", var.attested_by))
    error_message = "attested_by must be OWNER/NAME, or OWNER/NAME@refs/heads/BRANCH."
  }
}

variable "services" {
  description = "Differences between environments, by service: size, number, share of spot, settings. The defaults are those of the module."
  type = map(object({
    cpu          = optional(number)
    memory       = optional(number)
    replicas     = optional(number, 1)
    spot_percent = optional(number, 0)
    autoscaling = optional(object({
      minimum             = number
      maximum             = number
      cpu_percent         = optional(number)
      memory_percent      = optional(number)
      requests_per_target = optional(number)
      schedules = optional(map(object({
        schedule = string
        timezone = optional(string, "Etc/UTC")
        minimum  = number
        maximum  = number
      })), {})
    }))
    environment = optional(map(string), {})
    secrets     = optional(map(string), {})
    deployment = optional(object({
      strategy     = optional(string, "ROLLING")
      percent      = optional(number, 10)
      minutes      = optional(number, 10)
      bake_minutes = optional(number, 5)
    }), {})
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.services) : contains(local.names, name)])
    error_message = "services may have only the services of services.json: ${join(", ", local.names)}."
  }
}

variable "network" {
  description = "See modules/app: a VPC of its own with tasks in public or private subnets, or an existing one."
  type = object({
    cidr      = optional(string, "10.0.0.0/16")
    zones     = optional(number, 2)
    tasks     = optional(string, "private")
    endpoints = optional(set(string), [])
    flow_logs = optional(bool, false)
    existing = optional(object({
      vpc_id                   = string
      load_balancer_subnet_ids = list(string)
      task_subnet_ids          = list(string)
    }))
  })
  default = {}
}

variable "base" {
  description = "The environment whose VPC, load balancer, namespace and cluster this one uses, such as preview (see previews/). Null means own ones in the account's cluster."
  type        = string
  default     = null

  validation {
    condition     = var.base == null || can(regex("^[a-z][a-z0-9-]{0,13}[a-z0-9]$", var.base))
    error_message = "base must be the name of an environment."
  }
}

variable "hours" {
  description = "When the tasks run: on `days`, from the hour `from` to the hour `to` in `timezone`. A deployment at another time starts them until the next `to`. Null means always."
  type = object({
    days     = optional(string, "MON-FRI")
    from     = optional(number, 7)
    to       = optional(number, 20)
    timezone = optional(string, "Etc/UTC")
  })
  default = null

  validation {
    condition     = try(0 <= var.hours.from && var.hours.from < var.hours.to && var.hours.to <= 23 && floor(var.hours.from) == var.hours.from && floor(var.hours.to) == var.hours.to, var.hours == null)
    error_message = "hours.from and hours.to must be whole hours from 0 to 23, and from the earlier one."
  }
  validation {
    condition     = try(can(regex("^(MON|TUE|WED|THU|FRI|SAT|SUN)(-(MON|TUE|WED|THU|FRI|SAT|SUN))?(,(MON|TUE|WED|THU|FRI|SAT|SUN)(-(MON|TUE|WED|THU|FRI|SAT|SUN))?)*$", var.hours.days)), false) || var.hours == null
    error_message = "hours.days must be days such as MON-FRI or MON,WED,FRI."
  }
  validation {
    condition     = try(can(regex("^[A-Za-z]+([/_+-][A-Za-z0-9]+)*$", var.hours.timezone)), false) || var.hours == null
    error_message = "hours.timezone must be a name of the time zone database, such as Europe/Berlin."
  }
}

variable "monitored" {
  description = "See modules/app: alarms, their topic and a dashboard."
  type        = bool
  default     = true
}

variable "ingress_cidrs" {
  description = "The CIDR blocks that may reach the load balancer."
  type        = set(string)
  default     = ["0.0.0.0/0"]
}

variable "https" {
  description = "See modules/app: a certificate's ARN and a name, or a domain and its zone. Null means plain HTTP."
  type = object({
    certificate_arn = optional(string)
    name            = optional(string)
    domain = optional(object({
      name    = string
      zone_id = string
    }))
  })
  default = null
}

variable "sign_in" {
  description = "See modules/app: sign-in for the page. Null means none."
  type = object({
    cognito = optional(object({
      user_pool_arn = string
      client_id     = string
      domain        = string
    }))
    oidc = optional(object({
      issuer                 = string
      authorization_endpoint = string
      token_endpoint         = string
      user_info_endpoint     = string
      client_id              = string
      client_secret_arn      = string
    }))
  })
  default = null
}

variable "waf" {
  description = "See modules/app: request limit of an address in five minutes. Null means no firewall."
  type = object({
    requests_per_5_minutes = optional(number, 2000)
  })
  default = null
}

variable "access_logs" {
  description = "Retention of the load balancer's access logs in days. Null means none."
  type = object({
    days = optional(number, 30)
  })
  default = null
}

variable "log_retention_days" {
  description = "Retention of the services' logs in days."
  type        = number
  default     = 30
}

variable "log_level" {
  description = "LOG_LEVEL of every service."
  type        = string
  default     = "info"

  validation {
    condition     = can(regex("^[a-z]", var.log_level))
    error_message = "log_level must be off, error, warn, info, debug, trace, or a list such as info,hyper=debug."
  }
}

variable "alarms" {
  description = "The recipients of alarms."
  type = object({
    emails         = optional(set(string), [])
    topic_arns     = optional(set(string), [])
    cpu_percent    = optional(number, 85)
    memory_percent = optional(number, 85)
  })
  default = {}
}

variable "emf" {
  description = "Metrics that stats writes to its log in CloudWatch's embedded metric format: a line every `seconds` (STATS_EMF), an alarm for each figure above its threshold in percent for `minutes`, one for every OOM kill, and widgets of the dashboard. A threshold of 0 has no alarm. Null means none of it."
  type = object({
    seconds                 = optional(number, 60)
    minutes                 = optional(number, 5)
    cpu_percent             = optional(number, 90)
    ram_percent             = optional(number, 90)
    pressure_cpu_percent    = optional(number, 40)
    pressure_memory_percent = optional(number, 10)
    pressure_io_percent     = optional(number, 40)
    disk_busy_percent       = optional(number, 90)
    oom_kills               = optional(bool, true)
  })
  default = null

  validation {
    condition     = try(10 <= var.emf.seconds && var.emf.seconds <= 3600 && floor(var.emf.seconds) == var.emf.seconds, var.emf == null)
    error_message = "emf.seconds must be a whole number from 10 to 3600, which is what STATS_EMF takes."
  }
  validation {
    condition     = try(var.emf.minutes >= 1 && var.emf.minutes <= 60, var.emf == null)
    error_message = "emf.minutes must be from 1 to 60."
  }
  validation {
    condition     = try(alltrue([for value in [var.emf.cpu_percent, var.emf.ram_percent, var.emf.pressure_cpu_percent, var.emf.pressure_memory_percent, var.emf.pressure_io_percent, var.emf.disk_busy_percent] : value >= 0 && value < 100]), var.emf == null)
    error_message = "the thresholds of emf are percentages below 100, or 0 for no alarm."
  }
}

variable "budget_usd" {
  description = "The monthly budget of the environment in US dollars; `alarms.emails` are notified. Counts only after the tag `environment` was activated as a cost allocation tag. Null means no budget."
  type        = number
  default     = null

  validation {
    condition     = var.budget_usd == null || try(var.budget_usd > 0, false)
    error_message = "budget_usd must be more than 0."
  }
}

variable "protect" {
  description = "Deletion protection of the load balancer and the stored logs. `make` asks for the name of such an environment before it changes anything."
  type        = bool
  default     = false
}
