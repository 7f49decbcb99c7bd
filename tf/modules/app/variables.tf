variable "name" {
  description = "Name of the application in its environment, such as `shop-staging`. Every resource begins with it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,26}[a-z0-9]$", var.name)) && !startswith(var.name, "internal-")
    error_message = "name must be 3 to 28 lower-case letters, digits and hyphens, begin with a letter, and neither end with a hyphen nor begin with internal-."
  }
}

variable "cluster_name" {
  description = "Name of the ECS cluster that the services run in."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.cluster_name))
    error_message = "cluster_name must be 1 to 255 letters, digits, hyphens and underscores."
  }
}

variable "kms_key_arn" {
  description = "Key for logs and alarms. Its policy must let CloudWatch and CloudWatch Logs use it."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "protect" {
  description = "Deletion protection of the load balancer and the stored logs."
  type        = bool
  default     = true
}

variable "services" {
  description = <<-EOT
    The services by name. Each has an image by digest and the port it listens on; `calls` names the services
    that it may connect to; `public` puts it behind the load balancer. Everything else has a default.

    With `autoscaling`, the number of tasks follows the load between `minimum` and `maximum`; without it there
    are `replicas` tasks. A schedule sets other bounds from its time on, until the next schedule or apply.
    `public` and `calls` decide all the traffic that is let in; there is no other.

    A name has at most 8 addresses in an answer, so no service that others call may have more tasks, unless each of its
    callers has `keeps_addresses`: it keeps the addresses of earlier answers as long as they work.

    `sidecars` run in the same task. One with a `port` is reached at the name of its service by its `callers`.

    `deployment.strategy` is ROLLING, or a shift of the load balancer's traffic: BLUE_GREEN at once, CANARY `percent`
    first and the rest after `minutes`, LINEAR `percent` every `minutes`. The old tasks stay for `bake_minutes`, and
    an alarm brings the traffic back.
  EOT
  type = map(object({
    image        = string
    port         = number
    cpu          = optional(number, 256)
    memory       = optional(number, 512)
    architecture = optional(string, "ARM64")
    command      = optional(list(string))
    environment  = optional(map(string), {})
    secrets      = optional(map(string), {})
    user         = optional(string, "65532:65532")

    execution_role_arn = string
    task_role_arn      = string

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

    health_check = object({
      command          = list(string)
      interval_seconds = optional(number, 10)
      timeout_seconds  = optional(number, 3)
      retries          = optional(number, 3)
      start_seconds    = optional(number, 10)
    })
    stop_seconds = optional(number, 30)

    calls           = optional(set(string), [])
    keeps_addresses = optional(bool, false)
    public = optional(object({
      priority             = number
      paths                = optional(list(string), ["/*"])
      hosts                = optional(list(string), [])
      health_path          = optional(string, "/healthz")
      deregister_seconds   = optional(number, 20)
      requires_sign_in     = optional(bool, true)
      latency_seconds      = optional(number, 1)
      errors_per_5_minutes = optional(number, 10)
    }))

    deployment = optional(object({
      strategy     = optional(string, "ROLLING")
      percent      = optional(number, 10)
      minutes      = optional(number, 10)
      bake_minutes = optional(number, 5)
    }), {})

    sidecars = optional(map(object({
      image        = string
      essential    = optional(bool, false)
      cpu          = optional(number, 0)
      memory       = optional(number)
      command      = optional(list(string))
      environment  = optional(map(string), {})
      secrets      = optional(map(string), {})
      user         = optional(string, "65532:65532")
      health_check = optional(list(string))
      port         = optional(number)
      callers      = optional(set(string), [])
    })), {})
  }))

  validation {
    condition     = (length(var.services) > 0 || var.share != null) && alltrue([for name in keys(var.services) : can(regex("^[a-z][a-z0-9-]{0,22}$", name))])
    error_message = "services needs at least one, unless this only shares its network, and each name must be 1 to 23 lower-case letters, digits and hyphens, beginning with a letter."
  }
  validation {
    condition = alltrue(flatten([
      for service in values(var.services) : [
        for image in concat([service.image], [for sidecar in values(service.sidecars) : sidecar.image]) :
        can(regex("@sha256:[0-9a-f]{64}$", image))
      ]
    ]))
    error_message = "every image must be named by its digest, REPOSITORY@sha256:HEX, so that what runs is what was tested."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.port > 0 && service.port < 65536 && floor(service.port) == service.port])
    error_message = "every port must be a whole number from 1 to 65535."
  }
  validation {
    condition = alltrue([
      for service in values(var.services) : contains({
        "256"   = [512, 1024, 2048]
        "512"   = range(1024, 4097, 1024)
        "1024"  = range(2048, 8193, 1024)
        "2048"  = range(4096, 16385, 1024)
        "4096"  = range(8192, 30721, 1024)
        "8192"  = range(16384, 61441, 4096)
        "16384" = range(32768, 122881, 8192)
      }[contains(["256", "512", "1024", "2048", "4096", "8192", "16384"], tostring(service.cpu)) ? tostring(service.cpu) : "256"], service.memory) && contains([256, 512, 1024, 2048, 4096, 8192, 16384], service.cpu)
    ])
    error_message = "Fargate knows only certain pairs of cpu and memory: 256 with 512, 1024 or 2048 MiB; 512 with 1024 to 4096; 1024 with 2048 to 8192; 2048 with 4096 to 16384 and so on."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : contains(["ARM64", "X86_64"], service.architecture)])
    error_message = "architecture must be ARM64 or X86_64."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.replicas >= 0 && floor(service.replicas) == service.replicas])
    error_message = "replicas must be a whole number, 0 or more."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.spot_percent >= 0 && service.spot_percent <= 100])
    error_message = "spot_percent must be from 0 to 100."
  }
  validation {
    condition = alltrue([
      for service in values(var.services) : try(service.autoscaling.minimum >= 1 && service.autoscaling.minimum <= service.autoscaling.maximum, service.autoscaling == null)
    ])
    error_message = "autoscaling needs a minimum of at least 1 that does not exceed its maximum."
  }
  validation {
    condition     = alltrue(flatten([for service in values(var.services) : try([for schedule in values(service.autoscaling.schedules) : schedule.minimum >= 0 && schedule.minimum <= schedule.maximum], [])]))
    error_message = "a schedule needs a minimum of 0 or more that does not exceed its maximum."
  }
  validation {
    condition     = alltrue(flatten([for service in values(var.services) : try([for schedule in values(service.autoscaling.schedules) : can(regex("^(cron\\([^ ()]+( [^ ()]+){5}\\)|rate\\([0-9]+ (minute|hour|day)s?\\)|at\\([0-9-]{10}T[0-9:]{8}\\))$", schedule.schedule))], [])]))
    error_message = "a schedule must be cron(...) with six fields, such as cron(0 22 * * ? *), rate(1 day) or at(2027-01-31T22:00:00)."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : try(alltrue([for percent in [service.autoscaling.cpu_percent, service.autoscaling.memory_percent] : percent == null || try(percent >= 1 && percent <= 100, false)]) && coalesce(service.autoscaling.requests_per_target, 1) > 0, service.autoscaling == null)])
    error_message = "autoscaling.cpu_percent and memory_percent must be from 1 to 100, and requests_per_target more than 0."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : try(service.autoscaling.requests_per_target == null || service.public != null, true)])
    error_message = "autoscaling by requests_per_target needs a public service: the load balancer counts them."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : length(service.health_check.command) > 1 && contains(["CMD", "CMD-SHELL"], service.health_check.command[0])])
    error_message = "a health check's command must begin with CMD (or CMD-SHELL where the image has a shell), such as [\"CMD\", \"/app\", \"healthcheck\"]."
  }
  validation {
    condition = alltrue(flatten([for service in values(var.services) : [
      for given in [[service.health_check.interval_seconds, 5, 300], [service.health_check.timeout_seconds, 2, 60], [service.health_check.retries, 1, 10], [service.health_check.start_seconds, 0, 300]] : given[1] <= given[0] && given[0] <= given[2]
    ]]))
    error_message = "health_check.interval_seconds must be from 5 to 300, timeout_seconds from 2 to 60, retries from 1 to 10 and start_seconds from 0 to 300: ECS takes no others."
  }
  validation {
    condition     = alltrue(flatten([for service in values(var.services) : [for container in concat([service], values(service.sidecars)) : length(setintersection(keys(container.environment), keys(container.secrets))) == 0]]))
    error_message = "a name may be in environment or in secrets of a container, not in both: ECS refuses the task."
  }
  validation {
    condition = alltrue([
      for service in values(var.services) : sum(concat([0], [for sidecar in values(service.sidecars) : coalesce(sidecar.memory, 0)])) < service.memory && sum(concat([0], [for sidecar in values(service.sidecars) : sidecar.cpu])) <= service.cpu
    ])
    error_message = "the sidecars of a service must have less memory together than its task, and no more cpu."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : can(regex("^[1-9][0-9]*(:[1-9][0-9]*)?$", service.user))])
    error_message = "user must be a number other than 0, or two as USER:GROUP: nothing runs as root, and an empty image knows no names."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.stop_seconds >= 2 && service.stop_seconds <= 120])
    error_message = "stop_seconds must be from 2 to 120, which is what Fargate allows."
  }
  validation {
    condition     = alltrue([for name, service in var.services : alltrue([for other in service.calls : contains(keys(var.services), other) && other != name])])
    error_message = "calls may only name other services of this application."
  }
  validation {
    condition     = alltrue(flatten([for name, service in var.services : [for sidecar in values(service.sidecars) : [for caller in sidecar.callers : contains(keys(var.services), caller) && caller != name && sidecar.port != null]]]))
    error_message = "a sidecar's callers may only name other services of this application, and it needs a port."
  }
  validation {
    condition     = alltrue([for name, service in var.services : alltrue([for sidecar in keys(service.sidecars) : can(regex("^[A-Za-z0-9_-]{1,255}$", sidecar)) && sidecar != name])])
    error_message = "a sidecar's name must be letters, digits, hyphens and underscores, and not that of its service: containers of one task have different names."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : length(distinct(concat([service.port], [for sidecar in values(service.sidecars) : sidecar.port if sidecar.port != null]))) == 1 + length([for sidecar in values(service.sidecars) : sidecar if sidecar.port != null])])
    error_message = "containers of one task share its address, so their ports must differ."
  }
  validation {
    condition     = alltrue(flatten([for service in values(var.services) : [for other in service.calls : try(var.services[other].deployment.strategy == "ROLLING", true)]]))
    error_message = "a service whose traffic is shifted (BLUE_GREEN, CANARY, LINEAR) has no name inside, so that no other may call it."
  }
  validation {
    condition = alltrue(flatten([
      for service in values(var.services) : [
        for other in service.calls : service.keeps_addresses || max(concat(
          [try(var.services[other].autoscaling.maximum, var.services[other].replicas, 0)],
          try([for schedule in values(var.services[other].autoscaling.schedules) : schedule.maximum], []),
        )...) <= 8
      ]
    ]))
    error_message = "a service that others call may have at most 8 tasks: a name has no more addresses in an answer. Set keeps_addresses on the callers if they keep the addresses of earlier answers."
  }
  validation {
    # The one below belongs to a service whose traffic is shifted.
    condition = alltrue([for service in values(var.services) : try(service.public.priority >= 2 && service.public.priority <= 50000 && floor(service.public.priority) == service.public.priority, service.public == null)]) && length(distinct(flatten([
      for service in values(var.services) : [service.public.priority, service.public.priority - 1] if service.public != null
    ]))) == 2 * length([for service in values(var.services) : service if service.public != null])
    error_message = "priorities of public services must be whole numbers from 2 to 50000 that differ by 2 or more: the load balancer needs an order, and a place before each for the rule of shifted traffic."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.public == null || try(length(service.public.paths) + length(service.public.hosts) > 0 && length(service.public.paths) + length(service.public.hosts) <= 5, false)])
    error_message = "a public service needs at least one path or host, such as paths = [\"/*\"], and a rule of the load balancer takes at most 5 of them together."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : contains(["ROLLING", "BLUE_GREEN", "CANARY", "LINEAR"], service.deployment.strategy)])
    error_message = "deployment.strategy must be ROLLING, BLUE_GREEN, CANARY or LINEAR."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.deployment.percent >= (service.deployment.strategy == "LINEAR" ? 3 : 1) && service.deployment.percent <= 99 && alltrue([for minutes in [service.deployment.minutes, service.deployment.bake_minutes] : minutes >= 0 && floor(minutes) == minutes])])
    error_message = "deployment.percent must be from 1 to 99, for LINEAR from 3, and minutes and bake_minutes whole numbers, 0 or more: ECS takes no others."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.deployment.strategy == "ROLLING" || service.deployment.bake_minutes + lookup({ CANARY = 1, LINEAR = ceil(100 / max(service.deployment.percent, 1)) }, service.deployment.strategy, 0) * service.deployment.minutes <= 45])
    error_message = "a deployment that shifts traffic for more than 45 minutes outlives the job that waits for it: fewer steps, or shorter ones."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.deployment.strategy == "ROLLING" || try(service.autoscaling.requests_per_target, null) == null])
    error_message = "a service whose traffic is shifted cannot follow requests_per_target: ECS does not support it, because the target group changes. Use cpu_percent or memory_percent."
  }
  validation {
    condition     = alltrue([for service in values(var.services) : service.deployment.strategy == "ROLLING" || service.public != null])
    error_message = "BLUE_GREEN, CANARY and LINEAR shift the load balancer's traffic, so they need a public service."
  }
  validation {
    condition     = var.sign_in == null || alltrue([for service in values(var.services) : try(service.deployment.strategy == "ROLLING" || !service.public.requires_sign_in, true)])
    error_message = "BLUE_GREEN, CANARY and LINEAR do not go together with sign-in: ECS would own the rule that asks for it. Choose ROLLING, or requires_sign_in = false."
  }
}

variable "network" {
  description = <<-EOT
    A VPC of its own, over `zones` availability zones, or an existing one. Where tasks run:

    - `public`: in the load balancer's subnets with an address each, and nothing let in but the load balancer.
      No NAT gateway and no endpoints to pay for.
    - `private`: in subnets without any route out of the VPC; images, logs and secrets come through endpoints.
      `endpoints` names more of them, such as `secretsmanager` where a service has secrets; a full name,
      `cn.com.amazonaws.cn-north-1.sts`, is taken as it is.
  EOT
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

  validation {
    condition     = can(cidrsubnet(var.network.cidr, 8, 0)) && can(regex("/(16|17|18|19|20)$", var.network.cidr))
    error_message = "network.cidr must be an IPv4 block from /16 to /20, such as 10.0.0.0/16."
  }
  validation {
    condition     = contains([2, 3, 4], var.network.zones)
    error_message = "network.zones must be 2, 3 or 4: a load balancer needs two."
  }
  validation {
    condition     = contains(["public", "private"], var.network.tasks)
    error_message = "network.tasks must be public or private."
  }
  validation {
    condition     = try(length(var.network.existing.load_balancer_subnet_ids) >= 2 && length(var.network.existing.task_subnet_ids) >= 2, var.network.existing == null)
    error_message = "an existing network needs at least two subnets for the load balancer and two for the tasks."
  }
}

variable "share" {
  description = <<-EOT
    Lets other applications use this one's VPC, load balancer and namespace (their `base`). The load balancer accepts
    connections on `listener_ports`, where each of them has a listener, and reaches tasks on `target_ports`. Null means
    that nothing is shared.
  EOT
  type = object({
    listener_ports = object({ first = number, last = number })
    target_ports   = set(number)
  })
  default = null

  validation {
    condition     = try(1024 <= var.share.listener_ports.first && var.share.listener_ports.first <= var.share.listener_ports.last && var.share.listener_ports.last <= 65535, var.share == null)
    error_message = "share.listener_ports must be a range within 1024 to 65535."
  }
  validation {
    condition     = var.share == null || var.network.existing == null
    error_message = "share needs a VPC of its own: the load balancer may reach all of it."
  }
}

variable "base" {
  description = <<-EOT
    The `name` of an application with `share`, whose VPC, load balancer and namespace are used instead of own ones, and
    the load balancer's port for this application. Only `network.tasks` counts of the network, and it must be the base's.
    Null means own ones.
  EOT
  type = object({
    name = string
    port = number
  })
  default = null

  validation {
    condition     = var.base == null || (var.https == null && var.sign_in == null && var.waf == null && var.access_logs == null)
    error_message = "https, sign_in, waf and access_logs belong to a load balancer, and with base it is another application's."
  }
  validation {
    condition     = var.base == null || (var.share == null && var.network.existing == null)
    error_message = "base goes neither with share nor with an existing network."
  }
  validation {
    condition     = try(var.base.port > 0 && var.base.port < 65536, var.base == null)
    error_message = "base.port must be a port."
  }
}

variable "monitored" {
  description = "Alarms, their topic and a dashboard. Without them a bad version is rolled back when its tasks do not become healthy, and not by its answers."
  type        = bool
  default     = true

  validation {
    condition     = var.monitored || length(var.alarms.topic_arns) == 0
    error_message = "alarms.topic_arns get nothing without monitored."
  }
  validation {
    condition     = var.monitored || alltrue([for service in values(var.services) : service.deployment.strategy == "ROLLING"])
    error_message = "BLUE_GREEN, CANARY and LINEAR need monitored: alarms bring the traffic back."
  }
}

variable "ingress_cidrs" {
  description = "The CIDR blocks that may reach the load balancer."
  type        = set(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = alltrue([for cidr in var.ingress_cidrs : try(cidrnetmask(cidr) != "" && cidrsubnet(cidr, 0, 0) == cidr, false)])
    error_message = "ingress_cidrs must be IPv4 blocks, each named by its first address, such as 203.0.113.0/24: the load balancer has no IPv6."
  }
}

variable "https" {
  description = <<-EOT
    TLS at the load balancer: the ARN of a certificate and a `name` that it is valid for, which a record of any name
    server leads to the output `load_balancer`; or a domain and its Route 53 zone, for which a certificate and an alias
    record are made. Null means plain HTTP under the name that AWS gives.
  EOT
  type = object({
    certificate_arn = optional(string)
    name            = optional(string)
    domain = optional(object({
      name    = string
      zone_id = string
    }))
    policy = optional(string, "ELBSecurityPolicy-TLS13-1-2-Res-2021-06")
  })
  default = null

  validation {
    condition     = var.https == null || try((var.https.certificate_arn == null) != (var.https.domain == null), false)
    error_message = "https needs either certificate_arn or domain."
  }
  validation {
    condition     = try((var.https.certificate_arn == null) == (var.https.name == null), var.https == null) && can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z0-9-]{2,}$", coalesce(try(var.https.name, null), "none.example")))
    error_message = "https.certificate_arn needs a name that the certificate is valid for, such as shop.example.com: it is not valid for the load balancer's own, and a deployment tests the page at its name."
  }
  validation {
    condition     = try(can(regex("^arn:[a-z-]+:(acm|iam):", var.https.certificate_arn)), false) || try(var.https.certificate_arn, null) == null
    error_message = "https.certificate_arn must be the ARN of a certificate, arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }
  validation {
    condition     = try(can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z0-9-]{2,}$", var.https.domain.name)) && length(var.https.domain.name) <= 64 && can(regex("^Z[A-Z0-9]+$", var.https.domain.zone_id)), false) || try(var.https.domain, null) == null
    error_message = "https.domain needs a name of at most 64 characters in lower case, without a dot at its end, such as shop.example.com, and the id of its zone, such as Z0123456789ABC."
  }
  validation {
    condition     = try(can(regex("^ELBSecurityPolicy-TLS13-1-[23]-", var.https.policy)), true) || var.https == null
    error_message = "https.policy must be one of ELBSecurityPolicy-TLS13-1-2-... or TLS13-1-3-...: nothing older than TLS 1.2."
  }
}

variable "idle_timeout_seconds" {
  description = "How long the load balancer keeps a silent connection. Services must keep theirs longer, or a request meets a closing connection and is answered 502."
  type        = number
  default     = 60

  validation {
    condition     = var.idle_timeout_seconds >= 1 && var.idle_timeout_seconds <= 4000
    error_message = "idle_timeout_seconds must be from 1 to 4000."
  }
}

variable "sign_in" {
  description = <<-EOT
    Who may see the public services: users of a Cognito user pool, or of an OpenID provider whose client secret
    is in Secrets Manager (it gets into the state as well, which is why the state is encrypted and private).
    Needs HTTPS. A service opts out with `public.requires_sign_in = false`.
  EOT
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

  validation {
    condition     = var.sign_in == null || try((var.sign_in.cognito == null) != (var.sign_in.oidc == null), false)
    error_message = "sign_in needs either cognito or oidc."
  }
  validation {
    condition     = var.sign_in == null || var.https != null
    error_message = "sign_in needs https: a session cookie must not travel in the clear."
  }
}

variable "waf" {
  description = "A web application firewall that refuses an address after so many requests in five minutes, and what AWS's common and known-bad-input rules find. Null means none."
  type = object({
    requests_per_5_minutes = optional(number, 2000)
  })
  default = null

  validation {
    condition     = try(var.waf.requests_per_5_minutes >= 10 && var.waf.requests_per_5_minutes <= 2000000000, var.waf == null)
    error_message = "waf.requests_per_5_minutes must be at least 10, the smallest that AWS allows."
  }
}

variable "access_logs" {
  description = "Retention of the load balancer's access logs in days. Null means that none are written."
  type = object({
    days = optional(number, 30)
  })
  default = { days = 30 }

  validation {
    condition     = try(var.access_logs.days >= 1, var.access_logs == null)
    error_message = "access_logs.days must be at least 1."
  }
}

variable "log_retention_days" {
  description = "Retention of the services' logs in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of those that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400 and so on."
  }
}

variable "alarms" {
  description = "Recipients of alarms: mail addresses, which must confirm a mail from AWS, and existing SNS topics. The thresholds apply to every service; `public` has its own for latency and errors."
  type = object({
    emails         = optional(set(string), [])
    topic_arns     = optional(set(string), [])
    cpu_percent    = optional(number, 85)
    memory_percent = optional(number, 85)
  })
  default = {}

  validation {
    condition     = alltrue([for address in var.alarms.emails : can(regex("^[^@[:space:]]+@[^@[:space:]]+$", address))])
    error_message = "alarms.emails must be mail addresses."
  }
  validation {
    condition     = alltrue([for arn in var.alarms.topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:", arn))])
    error_message = "alarms.topic_arns must be ARNs of SNS topics, arn:aws:sns:REGION:ACCOUNT:NAME."
  }
  validation {
    condition     = alltrue([for arn in var.alarms.topic_arns : strcontains(arn, ":sns:${data.aws_region.current.region}:")])
    error_message = "alarms.topic_arns has a topic of another region than ${data.aws_region.current.region}, and an alarm takes topics of its own."
  }
}

variable "own_metrics" {
  description = <<-EOT
    Metrics that the services themselves write, such as by CloudWatch's embedded metric format: an alarm for each that has
    a `threshold`, and all of them on the dashboard, by `widget`. A value that is missing triggers nothing. `period` is
    in seconds, `periods` is how many of them in sequence must exceed the threshold.
  EOT
  type = map(object({
    text       = string
    widget     = string
    namespace  = string
    metric     = string
    dimensions = map(string)
    statistic  = optional(string, "Average")
    threshold  = optional(number)
    period     = optional(number, 60)
    periods    = optional(number, 5)
  }))
  default = {}

  validation {
    condition     = alltrue([for metric in values(var.own_metrics) : metric.period % 60 == 0 && metric.period > 0 && metric.periods >= 1 && metric.period * metric.periods <= 86400])
    error_message = "own_metrics: a period must be a multiple of 60 seconds, and all periods of an alarm at most a day."
  }
  validation {
    condition     = alltrue([for key in keys(var.own_metrics) : can(regex("^[a-z][a-z0-9 -]*$", key))])
    error_message = "own_metrics: names must be lower-case letters, digits, hyphens and spaces, such as \"stats cpu\"; they become names of alarms."
  }
}

variable "budget" {
  description = "The monthly budget of the application in US dollars, and the tag and value by which AWS counts its cost. `alarms.emails` get a mail at 80 percent, and when the forecast exceeds it. Null means no budget."
  type = object({
    usd   = number
    tag   = optional(string, "environment")
    value = string
  })
  default = null

  validation {
    condition     = try(var.budget.usd > 0, var.budget == null)
    error_message = "budget.usd must be more than 0."
  }
  validation {
    condition     = var.budget == null || (length(var.alarms.emails) > 0 && length(var.alarms.emails) <= 10)
    error_message = "a budget needs alarms.emails: it would have no recipient, and AWS allows 10."
  }
}

variable "blue_green_role_arn" {
  description = "The role with which ECS shifts traffic; only for services with the strategy BLUE_GREEN, CANARY or LINEAR."
  type        = string
  default     = null

  validation {
    condition     = var.blue_green_role_arn != null || alltrue([for service in values(var.services) : service.deployment.strategy == "ROLLING"])
    error_message = "a service whose traffic is shifted needs blue_green_role_arn."
  }
}

variable "tags" {
  description = "Tags for every resource, beside the provider's default tags."
  type        = map(string)
  default     = {}
}
