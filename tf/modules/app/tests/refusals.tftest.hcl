# Inputs that the module rejects before anything is planned.

provider "aws" {
  region                      = "eu-west-1"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  blue_green_role_arn = "arn:aws:iam::123456789012:role/blue-green"
}

run "a_shift_that_outlives_its_job_is_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "LINEAR", percent = 5, minutes = 10 } }) })
  }
  expect_failures = [var.services]
}

run "old_tasks_that_stay_longer_than_the_job_are_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "BLUE_GREEN", bake_minutes = 60 } }) })
  }
  expect_failures = [var.services]
}

run "a_linear_step_is_at_least_the_smallest_of_ecs" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "LINEAR", percent = 2, minutes = 0 } }) })
  }
  expect_failures = [var.services]
}

run "minutes_are_whole_as_ecs_counts_them" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "CANARY", minutes = 2.5 } }) })
  }
  expect_failures = [var.services]
}

run "the_place_before_a_public_service_is_its_own" {
  command = plan
  variables {
    services = merge(var.services, { cart = merge(var.services.cart, { public = { priority = 9 } }) })
  }
  expect_failures = [var.services]
}

run "requests_per_target_do_not_go_with_a_shift" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "BLUE_GREEN" }, autoscaling = { minimum = 1, maximum = 2, requests_per_target = 100 } }) })
  }
  expect_failures = [var.services]
}

run "a_sidecar_does_not_take_the_port_of_its_service" {
  command = plan
  variables {
    services = merge(var.services, { cart = merge(var.services.cart, { sidecars = { stats = { image = "registry.example/stats@sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd", port = 9000 } } }) })
  }
  expect_failures = [var.services]
}

run "a_sidecar_does_not_take_the_name_of_its_service" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { sidecars = { web = var.services.web.sidecars.agent } }) })
  }
  expect_failures = [var.services]
}

run "a_budget_without_anybody_to_notify_is_refused" {
  command = plan
  variables {
    budget = { usd = 60, value = "staging" }
  }
  expect_failures = [var.budget]
}

run "nine_tasks_behind_a_name_are_refused" {
  command = plan
  variables {
    services = merge(var.services, { cart = merge(var.services.cart, { replicas = 9 }) })
  }
  expect_failures = [var.services]
}

run "a_schedule_of_nine_tasks_is_refused_too" {
  command = plan
  variables {
    services = merge(var.services, { cart = merge(var.services.cart, { autoscaling = { minimum = 1, maximum = 2, schedules = { fair = { schedule = "cron(0 8 * * ? *)", minimum = 1, maximum = 9 } } } }) })
  }
  expect_failures = [var.services]
}

run "a_tag_is_no_image" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { image = "registry.example/shop/web:latest" }) })
  }
  expect_failures = [var.services]
}

run "a_port_is_at_most_65535" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { port = 70000 }) })
  }
  expect_failures = [var.services]
}

run "cpu_and_memory_are_a_pair_that_fargate_knows" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { cpu = 256, memory = 4096 }) })
  }
  expect_failures = [var.services]
}

run "a_health_check_has_its_form" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { health_check = { command = ["curl", "localhost"] } }) })
  }
  expect_failures = [var.services]
}

run "nothing_runs_as_root" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { user = "0:0" }) })
  }
  expect_failures = [var.services]
}

run "an_architecture_is_one_of_two" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { architecture = "amd64" }) })
  }
  expect_failures = [var.services]
}

run "calls_name_services_of_the_application" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { calls = ["nobody"] }) })
  }
  expect_failures = [var.services]
}

run "a_service_does_not_call_itself" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { calls = ["web"] }) })
  }
  expect_failures = [var.services]
}

run "a_minimum_does_not_exceed_the_maximum" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { autoscaling = { minimum = 3, maximum = 2 } }) })
  }
  expect_failures = [var.services]
}

run "the_limits_of_a_schedule_are_in_order" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { autoscaling = { minimum = 1, maximum = 4, schedules = { night = { schedule = "cron(0 22 * * ? *)", minimum = 2, maximum = 1 } } } }) })
  }
  expect_failures = [var.services]
}

run "the_load_balancer_has_no_ipv6" {
  command = plan
  variables {
    ingress_cidrs = ["203.0.113.0/24", "2001:db8::/32"]
  }
  expect_failures = [var.ingress_cidrs]
}

run "a_block_begins_with_its_first_address" {
  command = plan
  variables {
    ingress_cidrs = ["203.0.113.7/24"]
  }
  expect_failures = [var.ingress_cidrs]
}

run "a_public_service_has_a_path_or_host" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { public = { priority = 10, paths = [] } }) })
  }
  expect_failures = [var.services]
}

run "blue_green_is_for_public_services" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { public = null, deployment = { strategy = "BLUE_GREEN" } }) })
  }
  expect_failures = [var.services]
}

run "blue_green_has_no_name_to_be_called_by" {
  command = plan
  variables {
    services = merge(var.services, { cart = merge(var.services.cart, { public = { priority = 20 }, deployment = { strategy = "BLUE_GREEN" } }) })
  }
  expect_failures = [var.services]
}

run "a_container_is_not_stopped_later_than_fargate_allows" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { stop_seconds = 600 }) })
  }
  expect_failures = [var.services]
}

run "two_public_services_need_an_order" {
  command = plan
  variables {
    services = merge(var.services, { cart = merge(var.services.cart, { public = { priority = 10 } }) })
  }
  expect_failures = [var.services]
}

# Three zones here, and two in us-west-1.
run "more_zones_than_the_region_has_are_refused" {
  command = plan
  variables {
    network = { zones = 4 }
  }
  expect_failures = [data.aws_availability_zones.available]
}

run "sign_in_without_https_is_refused" {
  command = plan
  variables {
    sign_in = { cognito = { user_pool_arn = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_abcdefghi", client_id = "id", domain = "shop" } }
  }
  expect_failures = [var.sign_in]
}

run "a_network_of_one_zone_is_refused" {
  command = plan
  variables {
    network = { zones = 1 }
  }
  expect_failures = [var.network]
}

run "a_base_s_load_balancer_is_not_configured_from_here" {
  command = plan
  variables {
    base = { name = "shop-base", port = 20007 }
    waf  = {}
  }
  expect_failures = [var.base]
}

run "a_base_shares_nothing_of_its_own" {
  command = plan
  variables {
    access_logs = null
    base        = { name = "shop-base", port = 20007 }
    share       = { listener_ports = { first = 20000, last = 20001 }, target_ports = [8000] }
  }
  expect_failures = [var.base]
}

run "ports_to_share_that_are_no_range" {
  command = plan
  variables {
    share = { listener_ports = { first = 20000, last = 19999 }, target_ports = [8000] }
  }
  expect_failures = [var.share]
}

run "a_shift_without_alarms_is_refused" {
  command = plan
  variables {
    monitored = false
    services  = merge(var.services, { web = merge(var.services.web, { deployment = { strategy = "BLUE_GREEN" } }) })
  }
  expect_failures = [var.monitored]
}

run "a_period_that_cloudwatch_does_not_have" {
  command = plan
  variables {
    own_metrics = { "web queue" = { text = "", widget = "Queue", namespace = "shop", metric = "queue", dimensions = {}, period = 90 } }
  }
  expect_failures = [var.own_metrics]
}

run "two_subnets_of_a_load_balancer_in_one_zone_are_refused" {
  command = plan
  variables {
    network = {
      existing = {
        vpc_id                   = "vpc-0123456789abcdef0"
        load_balancer_subnet_ids = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
        task_subnet_ids          = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
      }
    }
  }
  override_data {
    target = data.aws_subnet.given
    values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "eu-west-1a", cidr_block = "10.1.0.0/24" }
  }
  expect_failures = [aws_lb.this["own"]]
}

run "a_subnet_of_another_vpc_is_refused" {
  command = plan
  variables {
    network = {
      existing = {
        vpc_id                   = "vpc-0123456789abcdef0"
        load_balancer_subnet_ids = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
        task_subnet_ids          = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
      }
    }
  }
  override_data {
    target = data.aws_subnet.given
    values = { vpc_id = "vpc-0fedcba9876543210", availability_zone = "eu-west-1a", cidr_block = "10.1.0.0/24" }
  }
  expect_failures = [data.aws_subnet.given["subnet-0000000000000000a"], data.aws_subnet.given["subnet-0000000000000000b"]]
}

run "a_vpc_without_names_is_refused" {
  command = plan
  variables {
    network = {
      existing = {
        vpc_id                   = "vpc-0123456789abcdef0"
        load_balancer_subnet_ids = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
        task_subnet_ids          = ["subnet-0000000000000000a", "subnet-0000000000000000b"]
      }
    }
  }
  override_data {
    target = data.aws_subnet.given
    values = { vpc_id = "vpc-0123456789abcdef0", cidr_block = "10.1.0.0/24" }
  }
  override_data {
    target = data.aws_vpc.given
    values = { enable_dns_support = true, enable_dns_hostnames = false }
  }
  expect_failures = [data.aws_vpc.given["vpc-0123456789abcdef0"]]
}

run "a_certificate_of_another_region_is_refused" {
  command = plan
  variables {
    https = { certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1", name = "shop.example.com" }
  }
  expect_failures = [aws_lb_listener.https["https"]]
}

run "a_certificate_that_is_none_is_refused" {
  command = plan
  variables {
    https = { certificate_arn = "shop.example.com", name = "shop.example.com" }
  }
  expect_failures = [var.https]
}

run "a_certificate_without_a_name_is_refused" {
  command = plan
  variables {
    https = { certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1" }
  }
  expect_failures = [var.https]
}

run "a_domain_with_a_dot_at_its_end_is_refused" {
  command = plan
  variables {
    https = { domain = { name = "shop.example.com.", zone_id = "Z0123456789ABC" } }
  }
  expect_failures = [var.https]
}

run "the_name_of_a_zone_is_no_id" {
  command = plan
  variables {
    https = { domain = { name = "shop.example.com", zone_id = "example.com" } }
  }
  expect_failures = [var.https]
}

run "more_paths_than_a_rule_takes_are_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { public = { priority = 10, paths = ["/a", "/b", "/c", "/d"], hosts = ["a.example.com", "b.example.com"] } }) })
  }
  expect_failures = [var.services]
}

run "more_recipients_than_a_budget_has_are_refused" {
  command = plan
  variables {
    alarms = { emails = [for number in range(11) : "on-call-${number}@example.com"] }
    budget = { usd = 100, value = "test" }
  }
  expect_failures = [var.budget]
}

run "the_name_of_a_topic_is_no_arn" {
  command = plan
  variables {
    alarms = { topic_arns = ["on-call"] }
  }
  expect_failures = [var.alarms]
}

run "a_topic_of_another_region_is_refused" {
  command = plan
  variables {
    alarms = { topic_arns = ["arn:aws:sns:us-east-1:123456789012:on-call"] }
  }
  expect_failures = [var.alarms]
}

run "a_secret_with_the_name_of_a_setting_is_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { secrets = { GREETING = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:token" } }) })
  }
  expect_failures = [var.services]
}

run "the_same_in_a_sidecar_is_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { sidecars = { agent = merge(var.services.web.sidecars.agent, { environment = { KEY = "a" }, secrets = { KEY = "b" } }) } }) })
  }
  expect_failures = [var.services]
}

run "sidecars_with_all_the_memory_of_a_task_are_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { sidecars = { agent = merge(var.services.web.sidecars.agent, { memory = 512 }) } }) })
  }
  expect_failures = [var.services]
}

run "sidecars_with_more_cpu_than_a_task_are_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { sidecars = { agent = merge(var.services.web.sidecars.agent, { cpu = 257 }) } }) })
  }
  expect_failures = [var.services]
}

run "a_health_check_more_often_than_ecs_has_it_is_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { health_check = { command = ["CMD", "/web", "healthcheck"], interval_seconds = 4 } }) })
  }
  expect_failures = [var.services]
}

run "a_start_longer_than_ecs_waits_is_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { health_check = { command = ["CMD", "/web", "healthcheck"], start_seconds = 301 } }) })
  }
  expect_failures = [var.services]
}

run "a_fraction_is_no_percentage_to_scale_by" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { autoscaling = { minimum = 1, maximum = 2, cpu_percent = 0.6 } }) })
  }
  expect_failures = [var.services]
}

run "scaling_by_no_request_is_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { autoscaling = { minimum = 1, maximum = 2, requests_per_target = 0 } }) })
  }
  expect_failures = [var.services]
}

run "a_schedule_with_the_five_fields_of_cron_is_refused" {
  command = plan
  variables {
    services = merge(var.services, { web = merge(var.services.web, { autoscaling = { minimum = 1, maximum = 2, schedules = { night = { schedule = "cron(0 22 * * *)", minimum = 0, maximum = 0 } } } }) })
  }
  expect_failures = [var.services]
}
