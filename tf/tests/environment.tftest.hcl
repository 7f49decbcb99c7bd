# Properties of every environment. Run once for each, with the variables of its folder:
#   terraform test -filter=tests/environment.tftest.hcl -var-file=environments/NAME/terraform.tfvars

variables {
  release = "0123456789abcdef0123456789abcdef01234567"
  images  = { for name in keys(jsondecode(file("../services.json"))) : name => "registry.example/${name}@sha256:${sha256(name)}" }
}

run "only_the_gateway_is_public" {
  command = plan

  assert {
    condition     = [for name, definition in local.definitions : name if definition.public != null] == ["gateway"]
    error_message = "something else than the gateway is public"
  }
  assert {
    condition     = { for name, definition in local.definitions : name => toset(definition.calls) } == { for name in local.names : name => toset(name == "gateway" ? setsubtract(local.names, ["gateway"]) : []) }
    error_message = "the gateway calls every other service, and they call none"
  }
}

run "the_gateway_routes_to_every_service_and_to_those_of_the_environment" {
  command = plan
  variables {
    services = { gateway = { environment = { GATEWAY_ROUTES = "/mine mine:1" } } }
  }

  assert {
    condition     = endswith(local.definitions.gateway.environment.GATEWAY_ROUTES, "/mine mine:1")
    error_message = "the routes of an environment are lost"
  }
  assert {
    condition     = alltrue([for name, service in local.declared : strcontains(local.definitions.gateway.environment[coalesce(service.address_setting, "GATEWAY_ROUTES")], "${name}.${module.app.namespace}:${service.port}") if service.route != null])
    error_message = "a service of services.json has no route"
  }
}

run "the_gateway_believes_the_load_balancer_and_nobody_else" {
  command = plan

  assert {
    condition     = local.definitions.gateway.environment.GATEWAY_TRUSTED_PROXIES == join(",", var.base == null ? [for index in range(var.network.zones) : cidrsubnet(var.network.cidr, 4, index)] : module.app.load_balancer_cidrs) && length(module.app.load_balancer_cidrs) >= 2
    error_message = "the trusted addresses are not exactly the load balancer's subnets"
  }
}

run "everything_begins_with_the_environment_s_name" {
  assert {
    condition     = output.services == { for name in local.names : name => "system-stats-${var.environment}-${name}" }
    error_message = "environments that share the cluster would fight over their services"
  }
  assert {
    condition     = output.log_groups == { for name in local.names : name => "/system-stats-${var.environment}/${name}" }
    error_message = "the execution roles may write only to /system-stats-ENVIRONMENT/SERVICE"
  }
}

run "waits_are_in_order" {
  command = plan

  assert {
    condition     = local.drain_seconds < local.stop_seconds
    error_message = "a task would be killed while it drains"
  }
  assert {
    # The gateway's own: IDLE_TIME in services/gateway/src/listener/connection.rs.
    condition     = local.idle_timeout_seconds < tonumber(regex("IDLE_TIME: Duration = Duration::from_secs\\(([0-9]+)\\)", file("../services/gateway/src/listener/connection.rs"))[0])
    error_message = "the gateway closes connections that the load balancer still uses"
  }
}

run "a_second_apply_changes_nothing" {
  assert {
    condition     = output.task_definitions == run.everything_begins_with_the_environment_s_name.task_definitions
    error_message = "the same input makes new task definitions"
  }
}

run "a_new_image_replaces_its_service_alone" {
  variables {
    images = merge(var.images, { stats = "registry.example/stats@sha256:${sha256("another one")}" })
  }

  assert {
    condition     = [for name, arn in output.task_definitions : name if arn != run.everything_begins_with_the_environment_s_name.task_definitions[name]] == ["stats"]
    error_message = "exactly stats must get a new task definition"
  }
}
