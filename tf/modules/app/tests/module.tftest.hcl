# The module by itself.

provider "aws" {
  region                      = "eu-west-1"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

run "every_container_is_locked_down_logs_and_is_checked" {
  command = plan

  assert {
    condition = alltrue(flatten([for task in values(aws_ecs_task_definition.this) : [
      for container in jsondecode(task.container_definitions) :
      container.readonlyRootFilesystem && container.linuxParameters.capabilities.drop == ["ALL"] && container.linuxParameters.capabilities.add == [] && !startswith(container.user, "0") && !contains(keys(container), "privileged")
    ]]))
    error_message = "a container may write, has capabilities or is root"
  }
  assert {
    condition = alltrue(flatten([for name, task in aws_ecs_task_definition.this : [
      for container in jsondecode(task.container_definitions) : container.logConfiguration.options.awslogs-group == "/shop-test/${name}"
    ]]))
    error_message = "a container does not log into the group of its service"
  }
  assert {
    condition     = alltrue([for name, task in aws_ecs_task_definition.this : jsondecode(task.container_definitions)[0].healthCheck.command == ["CMD", "/${name}", "healthcheck"]])
    error_message = "a service has no health check"
  }
  assert {
    condition     = alltrue([for group in values(aws_cloudwatch_log_group.this) : group.kms_key_id == var.kms_key_arn && group.retention_in_days == 30])
    error_message = "a log group is kept for ever or is not encrypted"
  }
  assert {
    condition     = alltrue([for task in values(aws_ecs_task_definition.this) : task.network_mode == "awsvpc" && one(task.runtime_platform).cpu_architecture == "ARM64"])
    error_message = "tasks must run on Fargate's ARM64 by default"
  }
  assert {
    condition     = [for container in jsondecode(aws_ecs_task_definition.this["web"].container_definitions) : container.name] == ["web", "agent"]
    error_message = "the sidecar is missing"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.this["web"].container_definitions)[0].secrets == [{ name = "TOKEN", valueFrom = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:token" }]
    error_message = "secrets must be references, not values"
  }
}

run "a_bad_version_is_rolled_back" {
  command = plan

  assert {
    condition     = alltrue([for service in values(aws_ecs_service.this) : one(service.deployment_circuit_breaker).enable && one(service.deployment_circuit_breaker).rollback])
    error_message = "a service has no circuit breaker"
  }
  assert {
    condition     = toset(one(aws_ecs_service.this["web"].alarms).alarm_names) == toset(["shop-test-web-errors", "shop-test-web-blue-unhealthy"]) && one(aws_ecs_service.this["web"].alarms).rollback
    error_message = "the public service must roll back on its alarms"
  }
  assert {
    condition     = alltrue([for service in values(aws_ecs_service.this) : service.deployment_minimum_healthy_percent == 100])
    error_message = "a deployment must not take away what runs"
  }
}

run "only_public_services_are_behind_the_load_balancer" {
  command = plan

  assert {
    condition     = keys(aws_lb_listener_rule.rolling) == ["web"] && keys(aws_lb_target_group.this) == ["web blue"]
    error_message = "something else than web is public"
  }
  assert {
    condition     = length(aws_ecs_service.this["cart"].load_balancer) == 0
    error_message = "cart is behind the load balancer"
  }
  assert {
    condition     = one(aws_lb_listener.http.default_action).type == "fixed-response" && one(one(aws_lb_listener.http.default_action).fixed_response).status_code == "404"
    error_message = "what no rule names must be answered 404"
  }
  assert {
    condition     = aws_lb.this["own"].desync_mitigation_mode == "strictest" && aws_lb.this["own"].drop_invalid_header_fields && aws_lb.this["own"].enable_deletion_protection
    error_message = "the load balancer is not strict, or not protected"
  }
}

run "traffic_flows_along_the_chain_and_nowhere_else" {
  command = apply

  variables {
    protect = false
  }

  assert {
    condition = [for rule in values(aws_vpc_security_group_ingress_rule.load_balancer) : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"] == ["0.0.0.0/0 80-80"] && toset([
      for rule in concat(values(aws_vpc_security_group_ingress_rule.public_service), values(aws_vpc_security_group_ingress_rule.call)) :
      "${rule.security_group_id} from ${rule.referenced_security_group_id} ${rule.from_port}-${rule.to_port}"
      ]) == toset([
      "${aws_security_group.service["web"].id} from ${aws_security_group.load_balancer["own"].id} 8000-8000",
      "${aws_security_group.service["cart"].id} from ${aws_security_group.service["web"].id} 9000-9000",
    ])
    error_message = "what may come in is not exactly: world -> load balancer:80 -> web:8000 -> cart:9000"
  }
  assert {
    condition = toset([
      for rule in concat(values(aws_vpc_security_group_egress_rule.load_balancer), values(aws_vpc_security_group_egress_rule.call)) :
      "${rule.security_group_id} to ${rule.referenced_security_group_id} ${rule.from_port}-${rule.to_port}"
      ]) == toset([
      "${aws_security_group.load_balancer["own"].id} to ${aws_security_group.service["web"].id} 8000-8000",
      "${aws_security_group.service["web"].id} to ${aws_security_group.service["cart"].id} 9000-9000",
    ])
    error_message = "what may go out is not exactly: load balancer -> web:8000, web -> cart:9000"
  }
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.aws) == 0 && length(aws_vpc_security_group_egress_rule.sign_in) == 0 && length(aws_route.out) == 1 && aws_route.out["shop-test"].route_table_id == aws_route_table.public["shop-test"].id
    error_message = "private tasks must have no way out of the VPC"
  }
  assert {
    condition     = alltrue([for rule in concat(values(aws_vpc_security_group_egress_rule.endpoints), values(aws_vpc_security_group_egress_rule.layers)) : rule.from_port == 443 && rule.to_port == 443])
    error_message = "endpoints are reached on port 443 only"
  }
  assert {
    condition     = length(aws_default_security_group.this["shop-test"].ingress) == 0 && length(aws_default_security_group.this["shop-test"].egress) == 0
    error_message = "the VPC's default group must be empty"
  }
  assert {
    condition     = alltrue([for service in values(aws_ecs_service.this) : !one(service.network_configuration).assign_public_ip && toset(one(service.network_configuration).subnets) == toset([for subnet in values(aws_subnet.private) : subnet.id])])
    error_message = "tasks must be in the private subnets"
  }
  assert {
    condition     = join(" ", output.load_balancer_cidrs) == "10.0.0.0/20 10.0.16.0/20" && output.namespace == "shop-test.internal"
    error_message = "services must be able to know where requests come from and what the others are called"
  }
}

run "a_second_plan_is_empty" {
  command = plan

  variables {
    protect = false
  }

  assert {
    condition     = output.task_definitions == run.traffic_flows_along_the_chain_and_nowhere_else.task_definitions
    error_message = "the same input makes new task definitions"
  }
}

run "public_tasks_need_no_endpoints" {
  command = plan

  variables {
    network = { tasks = "public", zones = 3 }
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && length(aws_subnet.private) == 0 && length(aws_subnet.public) == 3
    error_message = "public tasks must cost no endpoints"
  }
  assert {
    condition     = alltrue([for rule in values(aws_vpc_security_group_egress_rule.aws) : rule.from_port == 443 && rule.to_port == 443])
    error_message = "the way to AWS is port 443 only"
  }
  assert {
    condition     = alltrue([for service in values(aws_ecs_service.this) : one(service.network_configuration).assign_public_ip])
    error_message = "without an address a task in a public subnet cannot fetch its image"
  }
}

run "an_existing_network_is_left_alone" {
  command = plan

  variables {
    network = {
      existing = {
        vpc_id                   = "vpc-0123456789abcdef0"
        load_balancer_subnet_ids = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
        task_subnet_ids          = ["subnet-0000000000000000c", "subnet-0000000000000000d"]
      }
    }
  }

  override_data {
    target = data.aws_subnet.given["subnet-0000000000000000a"]
    values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1a", cidr_block = "10.1.0.0/24" }
  }
  override_data {
    target = data.aws_subnet.given["subnet-0000000000000000b"]
    values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1b", cidr_block = "10.1.1.0/24" }
  }
  override_data {
    target = data.aws_subnet.given["subnet-0000000000000000c"]
    values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1a", cidr_block = "10.1.2.0/24" }
  }
  override_data {
    target = data.aws_subnet.given["subnet-0000000000000000d"]
    values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1b", cidr_block = "10.1.3.0/24" }
  }

  assert {
    condition     = output.load_balancer_cidrs == tolist(["10.1.0.0/24", "10.1.1.0/24"])
    error_message = "clients in the tasks' subnets could claim another address"
  }
  assert {
    condition     = length(aws_vpc.this) + length(aws_subnet.public) + length(aws_subnet.private) + length(aws_vpc_endpoint.interface) + length(aws_internet_gateway.this) == 0
    error_message = "something of a network is made although one is given"
  }
  assert {
    condition     = aws_lb_target_group.this["web blue"].vpc_id == "vpc-0123456789abcdef0"
    error_message = "the given VPC is not used"
  }
}

run "with_a_domain_everything_is_https" {
  command = plan

  variables {
    https = { domain = { name = "shop.example.com", zone_id = "Z0123456789ABCDEFGHIJ" } }
  }

  assert {
    condition     = one(aws_lb_listener.http.default_action).type == "redirect" && one(one(aws_lb_listener.http.default_action).redirect).protocol == "HTTPS"
    error_message = "plain HTTP must redirect"
  }
  assert {
    condition     = startswith(aws_lb_listener.https["https"].ssl_policy, "ELBSecurityPolicy-TLS13-1-2") && output.url == "https://shop.example.com"
    error_message = "TLS 1.2 is the least, and the address is the domain"
  }
}

run "a_service_that_starts_slowly_is_not_stopped_by_the_load_balancer" {
  command = plan

  variables {
    services = merge(var.services, { web = merge(var.services.web, { health_check = { command = ["CMD", "/web", "healthcheck"], start_seconds = 120 } }) })
  }

  assert {
    condition     = aws_ecs_service.this["web"].health_check_grace_period_seconds >= 120 + aws_lb_target_group.this["web blue"].health_check[0].healthy_threshold * aws_lb_target_group.this["web blue"].health_check[0].interval
    error_message = "ECS stops tasks that fail the load balancer's check while they still start"
  }
}

run "sign_in_stands_before_the_service" {
  command = plan

  variables {
    https   = { certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/6f1c1b0e-0000-4000-8000-000000000000", name = "shop.example.com" }
    sign_in = { cognito = { user_pool_arn = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_abcdefghi", client_id = "id", domain = "shop" } }
  }

  assert {
    condition     = [for action in aws_lb_listener_rule.rolling["web"].action : action.type] == ["authenticate-cognito", "forward"]
    error_message = "the first action must be the sign-in"
  }
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.sign_in) == 1
    error_message = "the load balancer cannot reach the provider of identities"
  }
  assert {
    condition     = output.url == "https://shop.example.com"
    error_message = "no certificate is valid for the load balancer's own name, so a deployment cannot be tested there"
  }
}

run "replicas_are_a_range_of_one" {
  command = plan

  assert {
    condition     = alltrue([for target in values(aws_appautoscaling_target.this) : target.min_capacity == 1 && target.max_capacity == 1]) && length(aws_appautoscaling_policy.this) == 0
    error_message = "without autoscaling there is exactly one task"
  }
}

run "autoscaling_follows_what_is_asked_for" {
  command = plan

  variables {
    services = { web = merge(var.services.web, {
      calls        = []
      spot_percent = 75
      autoscaling = {
        minimum             = 2
        maximum             = 9
        cpu_percent         = 60
        requests_per_target = 500
        schedules           = { night = { schedule = "cron(0 22 * * ? *)", minimum = 1, maximum = 2 } }
      }
    }) }
  }

  assert {
    condition     = aws_appautoscaling_target.this["web"].min_capacity == 2 && aws_appautoscaling_target.this["web"].max_capacity == 9
    error_message = "the bounds are not those given"
  }
  assert {
    condition     = keys(aws_appautoscaling_policy.this) == ["web cpu", "web requests"] && keys(aws_appautoscaling_scheduled_action.this) == ["web night"]
    error_message = "there must be two policies and a schedule"
  }
  assert {
    condition     = { for strategy in aws_ecs_service.this["web"].capacity_provider_strategy : strategy.capacity_provider => "${strategy.weight} ${strategy.base}" } == { FARGATE = "25 1", FARGATE_SPOT = "75 0" }
    error_message = "three quarters on spot, and the first task not"
  }
}

run "blue_green_has_two_target_groups" {
  command = plan

  variables {
    blue_green_role_arn = "arn:aws:iam::123456789012:role/blue-green"
    services = { web = merge(var.services.web, {
      calls      = []
      deployment = { strategy = "BLUE_GREEN", bake_minutes = 10 }
    }) }
  }

  assert {
    condition     = length(aws_lb_target_group.this) == 2 && length(distinct([for group in values(aws_lb_target_group.this) : group.name])) == 2
    error_message = "blue and green need a target group each, with names of their own"
  }
  assert {
    condition     = one(aws_ecs_service.this["web"].deployment_configuration).strategy == "BLUE_GREEN" && length(one(aws_ecs_service.this["web"].load_balancer).advanced_configuration) == 1
    error_message = "ECS is not configured to shift traffic"
  }
}

run "a_canary_gets_its_share_first_and_alarms_bring_it_back" {
  command = plan

  variables {
    blue_green_role_arn = "arn:aws:iam::123456789012:role/blue-green"
    services            = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "CANARY", percent = 10, minutes = 10 } }) })
  }

  assert {
    condition = (
      one(aws_ecs_service.this["web"].deployment_configuration).strategy == "CANARY" &&
      one(one(aws_ecs_service.this["web"].deployment_configuration).canary_configuration).canary_percent == 10 &&
      one(one(aws_ecs_service.this["web"].deployment_configuration).canary_configuration).canary_bake_time_in_minutes == "10" &&
      one(aws_ecs_service.this["web"].deployment_configuration).bake_time_in_minutes == "5"
    )
    error_message = "a tenth of the traffic is not shifted first, for ten minutes"
  }
  assert {
    condition     = one(aws_ecs_service.this["web"].alarms).rollback && one(aws_ecs_service.this["web"].deployment_circuit_breaker).rollback && toset(keys(aws_lb_target_group.this)) == toset(["web blue", "web green"])
    error_message = "a canary that answers with errors is not taken back"
  }
  assert {
    condition     = output.shift_minutes == { web = 15, cart = 0 } && length(one(aws_ecs_service.this["cart"].deployment_configuration).canary_configuration) == 0
    error_message = "`make deploy` would not wait for the canary"
  }
}

run "a_linear_shift_takes_its_steps" {
  command = plan

  variables {
    blue_green_role_arn = "arn:aws:iam::123456789012:role/blue-green"
    services            = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "LINEAR", percent = 25, minutes = 3, bake_minutes = 2 } }) })
  }

  assert {
    condition     = one(one(aws_ecs_service.this["web"].deployment_configuration).linear_configuration).step_percent == 25 && output.shift_minutes.web == 14
    error_message = "the steps are not those that were asked for"
  }
}

# The rule of the strategy before is there until the service has the other one.
run "before_the_strategy_changes" {
  command = apply

  variables {
    protect = false
  }
}

run "the_strategy_of_a_service_that_runs_can_change" {
  command = apply

  variables {
    protect             = false
    blue_green_role_arn = "arn:aws:iam::123456789012:role/blue-green"
    services            = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "CANARY" } }) })
  }

  assert {
    condition     = aws_lb_listener_rule.shifted["web"].priority == 9
    error_message = "the rule that ECS shifts must come before the one that goes"
  }
}

run "and_back" {
  command = apply

  variables {
    protect = false
  }

  assert {
    condition     = aws_lb_listener_rule.rolling["web"].priority == 10
    error_message = "the rule of a rolling service has another priority than its service"
  }
}

# A subnet is removed after the services have left it: AWS refuses otherwise, and the update waits for the removal.
run "before_a_zone_and_the_private_subnets_go" {
  command = apply

  variables {
    protect = false
    network = { zones = 3, tasks = "private" }
  }
}

run "tasks_move_to_public_subnets" {
  command = apply

  variables {
    protect = false
    network = { zones = 3, tasks = "public" }
  }

  assert {
    condition     = length(aws_subnet.private) == 0 && alltrue([for service in values(aws_ecs_service.this) : one(service.network_configuration).assign_public_ip])
    error_message = "the tasks are not in the public subnets"
  }
}

run "a_zone_can_be_given_up" {
  command = apply

  variables {
    protect = false
    network = { zones = 2, tasks = "public" }
  }

  assert {
    condition     = length(aws_lb.this["own"].subnets) == 2
    error_message = "the load balancer is still in the zone"
  }
}

run "a_sidecar_with_a_port_is_reached_by_its_callers_alone" {
  command = plan

  variables {
    services = {
      web = var.services.web
      cart = merge(var.services.cart, { sidecars = {
        stats = { image = "registry.example/stats@sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd", port = 8080, callers = ["web"] }
      } })
    }
  }

  assert {
    condition     = { for key, rule in aws_vpc_security_group_ingress_rule.call : key => rule.from_port } == { "web to cart" = 9000, "web to cart stats" = 8080 }
    error_message = "the sidecar cannot be reached, or by more than its callers"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.this["cart"].container_definitions)[1].portMappings[0].containerPort == 8080
    error_message = "the sidecar's port is not in the task definition"
  }
}

run "a_budget_notifies_before_it_is_spent" {
  command = plan

  variables {
    alarms = { emails = ["on-call@example.org"] }
    budget = { usd = 60, value = "staging" }
  }

  assert {
    condition     = one(one(values(aws_budgets_budget.this)).cost_filter).values == tolist(["user:environment$staging"]) && one(values(aws_budgets_budget.this)).limit_amount == "60"
    error_message = "the budget counts something else"
  }
  assert {
    condition     = { for one in one(values(aws_budgets_budget.this)).notification : one.notification_type => one.threshold } == { ACTUAL = 80, FORECASTED = 100 } && alltrue([for one in one(values(aws_budgets_budget.this)).notification : one.subscriber_email_addresses == toset(["on-call@example.org"])])
    error_message = "the budget has no notification before it is exceeded"
  }
}

run "names_are_of_healthy_tasks" {
  command = plan

  assert {
    condition     = alltrue([for service in values(aws_service_discovery_service.this) : one(service.health_check_custom_config).failure_threshold == 1])
    error_message = "Cloud Map would give out tasks that start or are unhealthy"
  }
}

run "a_caller_that_keeps_addresses_may_have_more_behind_a_name" {
  command = plan

  variables {
    services = {
      web  = merge(var.services.web, { keeps_addresses = true })
      cart = merge(var.services.cart, { replicas = 24 })
    }
  }

  assert {
    condition     = output.replicas.cart == 24
    error_message = "a callee has not the tasks that it was given"
  }
}

run "private_tasks_reach_their_secrets" {
  command = plan

  assert {
    condition     = toset(keys(aws_vpc_endpoint.interface)) == toset(["ecr.api", "ecr.dkr", "logs", "secretsmanager"])
    error_message = "a task could not fetch its secret, and would not start"
  }
}

run "rules_without_tags_have_none" {
  command = plan

  assert {
    condition     = alltrue([for rule in concat(values(aws_vpc_security_group_ingress_rule.load_balancer), values(aws_vpc_security_group_egress_rule.call)) : rule.tags == null])
    error_message = "an empty map of tags is a difference in every plan"
  }
}

run "rules_have_the_tags_that_are_given" {
  command = plan

  variables {
    tags = { team = "shop" }
  }

  assert {
    condition     = alltrue([for rule in values(aws_vpc_security_group_egress_rule.call) : rule.tags == tomap({ team = "shop" })])
    error_message = "a rule has lost its tags"
  }
}

run "a_new_service_does_not_alarm_by_having_no_data_yet" {
  assert {
    condition     = alltrue([for key, alarm in aws_cloudwatch_metric_alarm.this : alarm.treat_missing_data == "missing" && toset(alarm.insufficient_data_actions) == toset(alarm.alarm_actions) if endswith(key, " tasks")])
    error_message = "an alarm fires when the service is created, or nothing is notified when its data end"
  }
}

run "the_policy_of_logs_has_what_ec2_would_write" {
  variables {
    network = { flow_logs = true }
  }

  assert {
    condition     = alltrue([for sid in ["AWSLogDeliveryWrite", "AWSLogDeliveryAclCheck", "LoadBalancerWrites", "OnlyEncrypted"] : contains([for statement in jsondecode(one(values(aws_s3_bucket_policy.logs)).policy).Statement : statement.Sid], sid)])
    error_message = "EC2 would add its own statements, and the next plan would take them away"
  }
  assert {
    condition     = [for statement in jsondecode(one(values(aws_s3_bucket_policy.logs)).policy).Statement : try(statement.Condition.StringEqualsIfExists, null) if statement.Sid == "AWSLogDeliveryWrite"] == [{ "s3:x-amz-acl" = "bucket-owner-full-control" }]
    error_message = "a flow log that sends no ACL, because the bucket has none, would be refused"
  }
}

run "in_china_endpoints_and_the_writer_of_logs_have_other_names" {
  command = plan

  variables {
    access_logs = {}
    network     = { endpoints = ["cn.com.amazonaws.cn-north-1.sts"] }
  }

  override_data {
    target = data.aws_region.current
    values = { region = "cn-north-1" }
  }
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-cn" }
  }

  assert {
    condition = toset([for endpoint in values(aws_vpc_endpoint.interface) : endpoint.service_name]) == toset([
      "cn.com.amazonaws.cn-north-1.ecr.api",
      "cn.com.amazonaws.cn-north-1.ecr.dkr",
      "cn.com.amazonaws.cn-north-1.sts",
      "com.amazonaws.cn-north-1.logs",
      "com.amazonaws.cn-north-1.secretsmanager",
    ])
    error_message = "AWS has no endpoints of these names in China"
  }
  assert {
    condition     = local.log_writer == "638102146993"
    error_message = "a load balancer in China writes its access logs as another principal"
  }
}

run "in_the_sovereign_cloud_ecr_has_another_name" {
  command = plan

  override_data {
    target = data.aws_region.current
    values = { region = "eusc-de-east-1" }
  }
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-eusc" }
  }

  assert {
    condition     = aws_vpc_endpoint.interface["ecr.dkr"].service_name == "eu.amazonaws.eusc-de-east-1.ecr.dkr" && aws_vpc_endpoint.interface["logs"].service_name == "com.amazonaws.eusc-de-east-1.logs" && local.log_writer == null
    error_message = "AWS has no endpoints of these names in the sovereign cloud"
  }
}

run "a_firewall_may_refuse_as_early_as_aws_allows" {
  command = plan

  variables {
    waf = { requests_per_5_minutes = 10 }
  }

  assert {
    condition     = toset([for rule in aws_wafv2_web_acl.this["shop-test"].rule : rule.name]) == toset(["rate", "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"])
    error_message = "the firewall has other rules"
  }
}

run "zones_without_fargate_are_left_out" {
  command = plan

  assert {
    condition     = contains(data.aws_availability_zones.available.exclude_zone_ids, "use1-az3")
    error_message = "tasks could be placed where there is no Fargate"
  }
}

run "what_is_shared_has_no_services_and_lets_nothing_else_in" {
  variables {
    protect   = false
    monitored = false
    services  = {}
    network   = { cidr = "10.40.0.0/16", tasks = "private" }
    share     = { listener_ports = { first = 20000, last = 59999 }, target_ports = [8000] }
  }

  assert {
    condition     = length(aws_ecs_service.this) + length(aws_lb_target_group.this) + length(aws_cloudwatch_metric_alarm.this) + length(aws_cloudwatch_dashboard.this) + length(aws_sns_topic.alarms) == 0
    error_message = "something is made that only an application needs"
  }
  assert {
    condition     = toset([for rule in values(aws_vpc_security_group_ingress_rule.load_balancer) : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"]) == toset(["0.0.0.0/0 80-80", "0.0.0.0/0 20000-59999"])
    error_message = "the load balancer does not accept exactly the ports of listeners"
  }
  assert {
    condition     = [for rule in concat(values(aws_vpc_security_group_egress_rule.shared), values(aws_vpc_security_group_egress_rule.load_balancer)) : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"] == ["10.40.0.0/16 8000-8000"]
    error_message = "the load balancer does not reach exactly the port of tasks within the VPC"
  }
  assert {
    condition     = [for rule in concat(values(aws_vpc_security_group_ingress_rule.shared), values(aws_vpc_security_group_ingress_rule.endpoints)) : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"] == ["10.40.0.0/16 443-443"]
    error_message = "tasks of others cannot fetch their images through the endpoints"
  }
}

run "with_a_base_only_what_is_its_own_is_made" {
  variables {
    monitored   = false
    access_logs = null
    network     = { tasks = "public" }
    base        = { name = "shop-base", port = 20007 }
  }

  assert {
    condition     = length(aws_vpc.this) + length(aws_subnet.public) + length(aws_lb.this) + length(aws_security_group.load_balancer) + length(aws_service_discovery_private_dns_namespace.this) + length(aws_internet_gateway.this) + length(aws_s3_bucket.logs) + length(aws_vpc_endpoint.interface) == 0
    error_message = "something is made that the base has, and each such thing costs money or minutes"
  }
  assert {
    condition     = aws_lb_listener.http.load_balancer_arn == data.aws_lb.base["shop-base"].arn && aws_lb_listener.http.port == 20007 && endswith(output.url, ":20007") && one(one(aws_lb_listener.http.default_action).fixed_response).status_code == "404"
    error_message = "it has no listener of its own at the base's load balancer"
  }
  assert {
    condition     = aws_lb_target_group.this["web blue"].vpc_id == data.aws_lb.base["shop-base"].vpc_id && alltrue([for group in values(aws_security_group.service) : group.vpc_id == data.aws_lb.base["shop-base"].vpc_id])
    error_message = "the target group or a security group is not in the base's VPC"
  }
  assert {
    condition     = alltrue([for service in values(aws_ecs_service.this) : one(service.network_configuration).assign_public_ip && toset(one(service.network_configuration).subnets) == toset(one(values(data.aws_subnets.base)).ids)])
    error_message = "tasks are not in the base's subnets"
  }
  assert {
    condition     = { for name, service in aws_service_discovery_service.this : name => service.name } == { web = "web.shop-test", cart = "cart.shop-test" } && alltrue([for service in values(aws_service_discovery_service.this) : one(service.dns_config).namespace_id == data.aws_service_discovery_dns_namespace.base["shop-base"].id]) && output.namespace == "shop-test.shop-base.internal"
    error_message = "two applications with one base would have the same names"
  }
  assert {
    condition = length(aws_vpc_security_group_ingress_rule.load_balancer) + length(aws_vpc_security_group_egress_rule.load_balancer) + length(aws_vpc_security_group_egress_rule.shared) == 0 && toset([
      for rule in concat(values(aws_vpc_security_group_ingress_rule.public_service), values(aws_vpc_security_group_ingress_rule.call)) :
      "${rule.security_group_id} from ${rule.referenced_security_group_id} ${rule.from_port}-${rule.to_port}"
      ]) == toset([
      "${aws_security_group.service["web"].id} from ${one(data.aws_lb.base["shop-base"].security_groups)} 8000-8000",
      "${aws_security_group.service["cart"].id} from ${aws_security_group.service["web"].id} 9000-9000",
    ])
    error_message = "a task lets in more than the load balancer or its callers, or a rule of the base would be changed"
  }
  assert {
    condition     = alltrue([for service in values(aws_ecs_service.this) : length(service.alarms) == 0 && one(service.deployment_circuit_breaker).rollback]) && output.alarm_topic_arn == null && output.dashboard == null
    error_message = "it is monitored, or a version whose tasks do not start is not taken back"
  }
  assert {
    condition     = join(",", output.load_balancer_cidrs) == join(",", sort([for subnet in values(data.aws_subnet.given) : subnet.cidr_block])) && length(output.load_balancer_cidrs) > 0
    error_message = "services cannot know where requests come from"
  }
}

run "a_schedule_that_stops_a_service_is_no_missing_task" {
  command = plan

  variables {
    services = {
      web = merge(var.services.web, { autoscaling = {
        minimum   = 1
        maximum   = 1
        schedules = { evening = { schedule = "cron(0 20 * * ? *)", minimum = 0, maximum = 0 } }
      } })
      cart = var.services.cart
    }
  }

  assert {
    condition     = [for key in keys(aws_cloudwatch_metric_alarm.this) : key if endswith(key, " tasks")] == ["cart tasks"]
    error_message = "an alarm fires every evening, or a service that always runs has none"
  }
}

run "metrics_of_the_services_have_alarms_and_widgets" {
  command = apply

  variables {
    protect = false
    own_metrics = {
      "web queue" = { text = "the queue is long", widget = "Queue", namespace = "shop", metric = "queue", dimensions = { service = "web" }, threshold = 7, period = 300, periods = 2 }
      "web lost"  = { text = "an order is lost", widget = "Orders", namespace = "shop", metric = "lost", dimensions = { service = "web" }, statistic = "Sum", threshold = 0, periods = 1 }
      "web sold"  = { text = "", widget = "Orders", namespace = "shop", metric = "sold", dimensions = { service = "web" }, statistic = "Sum" }
    }
  }

  assert {
    condition = { for key, alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name => "${alarm.namespace} ${alarm.metric_name} ${alarm.statistic} > ${alarm.threshold} ${alarm.evaluation_periods} x ${alarm.period} ${alarm.treat_missing_data}" if alarm.namespace == "shop" } == {
      "shop-test-web-queue-metric" = "shop queue Average > 7 2 x 300 notBreaching"
      "shop-test-web-lost-metric"  = "shop lost Sum > 0 1 x 60 notBreaching"
    }
    error_message = "the alarms are not those of the metrics with a threshold"
  }
  assert {
    condition     = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.this) : toset(alarm.alarm_actions) == toset([one(values(aws_sns_topic.alarms)).arn]) && alarm.dimensions == tomap({ service = "web" }) if alarm.namespace == "shop"])
    error_message = "they have no recipient, or are of another service"
  }
  assert {
    condition = { for widget in jsondecode(one(values(aws_cloudwatch_dashboard.this)).dashboard_body).widgets : widget.properties.title => [for metric in widget.properties.metrics : metric[1]] if contains(["Queue", "Orders"], widget.properties.title) } == {
      Queue  = ["queue"]
      Orders = ["lost", "sold"]
    }
    error_message = "a metric is not on the dashboard"
  }
}
