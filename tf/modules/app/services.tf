# Tasks and services. A container has no shell, no root, no writable file and no capability.

locals {
  # Strategies in which ECS shifts the load balancer's traffic from one target group to another.
  shifted = { for name, service in var.services : name => service.deployment.strategy != "ROLLING" }

  service_names = { for name in keys(var.services) : name => "${var.name}-${name}" }

  # One description for the main container and those beside it.
  containers = {
    for name, service in var.services : name => concat(
      [{
        name        = name
        image       = service.image
        essential   = true
        command     = service.command
        environment = service.environment
        secrets     = service.secrets
        user        = service.user
        cpu         = 0
        memory      = null
        ports       = [service.port]
        stop        = service.stop_seconds
        healthCheck = {
          command     = service.health_check.command
          interval    = service.health_check.interval_seconds
          timeout     = service.health_check.timeout_seconds
          retries     = service.health_check.retries
          startPeriod = service.health_check.start_seconds
        }
      }],
      [for sidecar, given in service.sidecars : {
        name        = sidecar
        image       = given.image
        essential   = given.essential
        command     = given.command
        environment = given.environment
        secrets     = given.secrets
        user        = given.user
        cpu         = given.cpu
        memory      = given.memory
        ports       = given.port == null ? [] : [given.port]
        stop        = service.stop_seconds
        healthCheck = given.health_check == null ? null : {
          command     = given.health_check
          interval    = 10
          timeout     = 3
          retries     = 3
          startPeriod = 10
        }
      }],
    )
  }

  definitions = {
    for name, containers in local.containers : name => [
      for container in containers : { for key, value in {
        name                   = container.name
        image                  = container.image
        essential              = container.essential
        command                = container.command
        cpu                    = container.cpu
        memory                 = container.memory
        user                   = container.user
        readonlyRootFilesystem = true
        stopTimeout            = container.stop
        healthCheck            = container.healthCheck
        environment            = [for key, value in container.environment : { name = key, value = value }]
        secrets                = [for key, value in container.secrets : { name = key, valueFrom = value }]
        portMappings           = [for port in container.ports : { containerPort = port, hostPort = port, protocol = "tcp" }]
        mountPoints            = []
        volumesFrom            = []
        systemControls         = []
        # The programs handle signals themselves as the first process, so that no init is needed.
        linuxParameters = {
          capabilities       = { add = [], drop = ["ALL"] }
          initProcessEnabled = false
        }
        logConfiguration = {
          logDriver = "awslogs"
          options = {
            awslogs-group         = aws_cloudwatch_log_group.this[name].name
            awslogs-region        = data.aws_region.current.region
            awslogs-stream-prefix = container.name
            # A service must not wait for its logs.
            mode            = "non-blocking"
            max-buffer-size = "4m"
          }
        }
      } : key => value if value != null }
    ]
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = var.services

  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_ecs_task_definition" "this" {
  for_each = var.services

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = each.value.execution_role_arn
  task_role_arn            = each.value.task_role_arn
  container_definitions    = jsonencode(local.definitions[each.key])
  # The previous revision stays, so that ECS can roll back to it.
  skip_destroy = true
  tags         = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = each.value.architecture
  }

  lifecycle {
    precondition {
      condition     = try(each.value.public.deregister_seconds, 0) + each.value.stop_seconds <= 300
      error_message = "${each.key}: deregistering and stopping take more than five minutes together, so that a deployment would look stuck."
    }
  }
}

resource "aws_ecs_service" "this" {
  for_each = var.services

  # Whole, because environments may share a cluster.
  name             = local.service_names[each.key]
  cluster          = var.cluster_name
  task_definition  = aws_ecs_task_definition.this[each.key].arn
  desired_count    = try(each.value.autoscaling.minimum, each.value.replicas)
  platform_version = "1.4.0"
  tags             = var.tags

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = local.shifted[each.key] ? "DISABLED" : "ENABLED"
  propagate_tags                     = "SERVICE"
  enable_ecs_managed_tags            = true
  # There is no shell to execute.
  enable_execute_command = false
  # Until a task has started, and the load balancer has seen it healthy twice.
  health_check_grace_period_seconds = each.value.public == null ? null : each.value.health_check.start_seconds + 20
  # AWS requires it when the share of spot changes; without a change nothing is deployed.
  force_new_deployment = true

  network_configuration {
    subnets          = local.task_subnet_ids
    security_groups  = [aws_security_group.service[each.key].id]
    assign_public_ip = !local.private
  }

  dynamic "capacity_provider_strategy" {
    for_each = { for provider, weight in { FARGATE = 100 - each.value.spot_percent, FARGATE_SPOT = each.value.spot_percent } : provider => weight if weight > 0 }

    content {
      capacity_provider = capacity_provider_strategy.key
      weight            = capacity_provider_strategy.value
      # Where both are used, the first task is not a spot task, which AWS may reclaim.
      base = capacity_provider_strategy.key == "FARGATE" ? 1 : 0
    }
  }

  deployment_configuration {
    strategy             = each.value.deployment.strategy
    bake_time_in_minutes = local.shifted[each.key] ? each.value.deployment.bake_minutes : null

    dynamic "canary_configuration" {
      for_each = each.value.deployment.strategy == "CANARY" ? [each.value.deployment] : []

      content {
        canary_percent              = canary_configuration.value.percent
        canary_bake_time_in_minutes = canary_configuration.value.minutes
      }
    }

    dynamic "linear_configuration" {
      for_each = each.value.deployment.strategy == "LINEAR" ? [each.value.deployment] : []

      content {
        step_percent              = linear_configuration.value.percent
        step_bake_time_in_minutes = linear_configuration.value.minutes
      }
    }
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "alarms" {
    for_each = each.value.public == null || !var.monitored ? [] : [each.key]

    content {
      alarm_names = [for key in local.alarms_of_deployment[alarms.value] : aws_cloudwatch_metric_alarm.this[key].alarm_name]
      enable      = true
      rollback    = true
    }
  }

  dynamic "load_balancer" {
    for_each = each.value.public == null ? [] : [each.value]

    content {
      target_group_arn = aws_lb_target_group.this["${each.key} blue"].arn
      container_name   = each.key
      container_port   = load_balancer.value.port

      dynamic "advanced_configuration" {
        for_each = local.shifted[each.key] ? [each.key] : []

        content {
          alternate_target_group_arn = aws_lb_target_group.this["${each.key} green"].arn
          production_listener_rule   = aws_lb_listener_rule.shifted[each.key].arn
          role_arn                   = var.blue_green_role_arn
        }
      }
    }
  }

  # A DNS name cannot distinguish versions; while two run, only the load balancer routes to the right one.
  dynamic "service_registries" {
    for_each = !local.shifted[each.key] ? [aws_service_discovery_service.this[each.key].arn] : []

    content {
      registry_arn = service_registries.value
    }
  }

  # The first tasks need the way out and in to be there, and AWS refuses a target group without a listener.
  depends_on = [
    aws_lb_listener_rule.rolling,
    aws_lb_listener_rule.shifted,
    aws_route.out,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_endpoint.interface,
    aws_vpc_endpoint.s3,
    aws_vpc_security_group_egress_rule.aws,
    aws_vpc_security_group_egress_rule.endpoints,
    aws_vpc_security_group_egress_rule.layers,
    aws_vpc_security_group_ingress_rule.endpoints,
  ]

  lifecycle {
    # The limits in autoscaling.tf control the number of tasks; a deployment must not undo autoscaling.
    ignore_changes = [desired_count]
  }
}
