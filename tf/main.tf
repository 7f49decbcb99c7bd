# The services of system-stats. Differences between environments are in environments/NAME/terraform.tfvars.

locals {
  application = "system-stats"
  # The services by name; tools/common/catalog.py explains the fields.
  declared = jsondecode(file("${path.module}/../services.json"))
  names    = keys(local.declared)

  # A task gets its last requests until the load balancer has deregistered it (20 s), then SIGTERM, then these
  # seconds for what is in flight, and only well after them it would be killed.
  drain_seconds      = 10
  stop_seconds       = 30
  deregister_seconds = 20

  # The gateway keeps an idle connection for 75 s; the load balancer must close it first.
  idle_timeout_seconds = 60

  common = {
    LOG_LEVEL     = var.log_level
    LOG_FORMAT    = "json"
    DRAIN_SECONDS = tostring(local.drain_seconds)
  }

  definitions = { for name, service in local.declared : name => {
    port   = service.port
    path   = service.health
    calls  = service.public ? [for other in local.names : other if !local.declared[other].public] : []
    public = service.public ? local.public : null
    environment = merge(
      local.common,
      lookup(local.environments, name, {}),
      local.sizes[name].environment,
      service.public ? local.routes : {},
    )
  } }

  public = {
    priority           = 100
    paths              = ["/*"]
    hosts              = []
    health_path        = "/healthz"
    deregister_seconds = local.deregister_seconds
    # The stream of events lasts for hours; what counts here is the time to the first byte.
    latency_seconds = 1
  }

  environments = {
    # Metrics of the task where ECS provides them, otherwise of the container's limits.
    stats = merge({ STATS_SCOPE = "auto" }, var.emf == null ? {} : { STATS_EMF = tostring(var.emf.seconds) })
    gateway = merge(
      # The load balancer is in these subnets and its forwarded headers are trusted.
      { GATEWAY_TRUSTED_PROXIES = join(",", module.app.load_balancer_cidrs) },
      { for name, service in local.declared : service.address_setting => local.addresses[name] if service.address_setting != null },
    )
  }

  # Metrics that stats writes (services/stats/src/emf.rs). It has the scope of the task, because Fargate limits every task.
  emf_period = var.emf == null ? 60 : ceil(var.emf.seconds / 60) * 60
  emf_figures = var.emf == null ? {} : {
    cpu             = { text = "the task of stats needs more processor", widget = "Task of stats, in percent", threshold = var.emf.cpu_percent }
    ram             = { text = "the task of stats needs more memory", widget = "Task of stats, in percent", threshold = var.emf.ram_percent }
    pressure_cpu    = { text = "programs wait for a processor", widget = "Pressure, in percent", threshold = var.emf.pressure_cpu_percent }
    pressure_memory = { text = "programs wait for memory", widget = "Pressure, in percent", threshold = var.emf.pressure_memory_percent }
    pressure_io     = { text = "programs wait for disks", widget = "Pressure, in percent", threshold = var.emf.pressure_io_percent }
    disk_busy       = { text = "a disk is busy all the time", widget = "Disks, in percent", threshold = var.emf.disk_busy_percent }
    oom_kills       = { text = "the kernel has ended a program for lack of memory", widget = "OOM kills", threshold = var.emf.oom_kills ? 0 : null }
  }
  stats_name = "${local.application}-${var.environment}-stats"
  own_metrics = { for metric, figure in local.emf_figures : "stats ${replace(metric, "_", " ")}" => merge(figure, {
    # For OOM kills 0 is a threshold.
    threshold  = metric == "oom_kills" || figure.threshold != 0 ? figure.threshold : null
    namespace  = local.application
    metric     = metric
    dimensions = { scope = "task", family = local.stats_name, service = local.stats_name }
    statistic  = metric == "oom_kills" ? "Sum" : "Average"
    period     = local.emf_period
    periods    = metric == "oom_kills" ? 1 : max(1, ceil(var.emf.minutes * 60 / local.emf_period))
  }) }

  addresses = { for name, service in local.declared : name => "${name}.${module.app.namespace}:${service.port}" }

  # The gateway has settings for the addresses of stats and the frontend. Other services are in its list of routes,
  # before the routes of the environment.
  more_routes = compact(concat(
    [for name, service in local.declared : trimspace("${service.route} ${local.addresses[name]} ${service.route_options}") if service.route != null && service.address_setting == null],
    [lookup(local.sizes["gateway"].environment, "GATEWAY_ROUTES", "")],
  ))
  routes = length(local.more_routes) > 0 ? { GATEWAY_ROUTES = join("; ", local.more_routes) } : {}

  sizes = { for name in local.names : name => try(var.services[name], {
    cpu          = null
    memory       = null
    replicas     = 1
    spot_percent = 0
    autoscaling  = null
    environment  = {}
    secrets      = {}
    deployment   = {}
  }) }

  # The number of tasks, and when there are none.
  autoscaling = { for name, size in local.sizes : name => var.hours == null ? size.autoscaling : {
    minimum             = try(size.autoscaling.minimum, size.replicas)
    maximum             = try(size.autoscaling.maximum, size.replicas)
    cpu_percent         = try(size.autoscaling.cpu_percent, null)
    memory_percent      = try(size.autoscaling.memory_percent, null)
    requests_per_target = try(size.autoscaling.requests_per_target, null)
    schedules = merge(try(size.autoscaling.schedules, {}), {
      morning = {
        schedule = "cron(0 ${var.hours.from} ? * ${var.hours.days} *)"
        timezone = var.hours.timezone
        minimum  = try(size.autoscaling.minimum, size.replicas)
        maximum  = try(size.autoscaling.maximum, size.replicas)
      }
      # Every day, because a deployment starts the tasks on any.
      evening = {
        schedule = "cron(0 ${var.hours.to} * * ? *)"
        timezone = var.hours.timezone
        minimum  = 0
        maximum  = 0
      }
    })
  } }

  # An environment that shares another's load balancer has a port of its own there, by the number of its pull request.
  # tf/previews opens these ports. Two numbers share a port only if 40000 pull requests lie between them.
  pull_request = try(tonumber(regex("^pr-([0-9]+)$", var.environment)[0]), 0)
  base         = var.base == null ? null : { name = "${local.application}-${var.base}", port = 20000 + local.pull_request % 40000 }
}

# Resources of `make bootstrap`, by name.
data "aws_iam_role" "execution" {
  for_each = toset(local.names)
  name     = "${local.application}-${each.value}-execution"
}

data "aws_iam_role" "task" {
  for_each = toset(local.names)
  name     = "${local.application}-${each.value}-task"
}

data "aws_iam_role" "blue_green" {
  name = "${local.application}-blue-green"
}

data "aws_ecs_cluster" "this" {
  cluster_name = var.base == null ? local.application : local.base.name
}

data "aws_kms_alias" "this" {
  name = "alias/${local.application}"
}

module "app" {
  source = "./modules/app"

  name                 = "${local.application}-${var.environment}"
  cluster_name         = data.aws_ecs_cluster.this.cluster_name
  kms_key_arn          = data.aws_kms_alias.this.target_key_arn
  blue_green_role_arn  = data.aws_iam_role.blue_green.arn
  network              = var.network
  base                 = local.base
  monitored            = var.monitored
  ingress_cidrs        = var.ingress_cidrs
  https                = var.https
  idle_timeout_seconds = local.idle_timeout_seconds
  sign_in              = var.sign_in
  waf                  = var.waf
  access_logs          = var.access_logs
  log_retention_days   = var.log_retention_days
  alarms               = var.alarms
  own_metrics          = local.own_metrics
  protect              = var.protect
  budget               = var.budget_usd == null ? null : { usd = var.budget_usd, value = var.environment }

  services = { for name, definition in local.definitions : name => {
    image = var.images[name]
    port  = definition.port
    calls = definition.calls
    # The gateway removes an address only when the name has not listed it for a minute and it fails.
    keeps_addresses    = name == "gateway"
    public             = definition.public
    architecture       = var.architecture
    execution_role_arn = data.aws_iam_role.execution[name].arn
    task_role_arn      = data.aws_iam_role.task[name].arn
    environment        = definition.environment
    secrets            = local.sizes[name].secrets
    cpu                = coalesce(local.sizes[name].cpu, local.declared[name].task_cpu)
    memory             = coalesce(local.sizes[name].memory, local.declared[name].task_memory_mib)
    replicas           = local.sizes[name].replicas
    spot_percent       = local.sizes[name].spot_percent
    autoscaling        = local.autoscaling[name]
    deployment         = local.sizes[name].deployment
    stop_seconds       = local.stop_seconds
    # The binary is its own health check client: the image has no shell, and ECS ignores the image's HEALTHCHECK.
    health_check = { command = ["CMD", "/${name}", "healthcheck", definition.path] }
  } }
}
