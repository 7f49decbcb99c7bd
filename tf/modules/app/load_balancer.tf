# One load balancer for all public services, or a listener of another application's. Requests that match no rule get 404.

locals {
  secure      = var.https == null ? {} : { https = var.https }
  domain      = try(var.https.domain, null) == null ? {} : { (var.https.domain.name) = var.https.domain.zone_id }
  certificate = length(local.domain) > 0 ? one(values(aws_acm_certificate_validation.this)).certificate_arn : try(var.https.certificate_arn, null)
  listener    = var.https == null ? aws_lb_listener.http : aws_lb_listener.https["https"]
  address     = var.https != null ? coalesce(var.https.name, one(keys(local.domain))) : var.base == null ? local.load_balancer.dns_name : "${local.load_balancer.dns_name}:${var.base.port}"

  own           = var.base == null ? toset(["own"]) : toset([])
  load_balancer = one(concat(values(aws_lb.this), values(data.aws_lb.base)))

  # Names of target groups are short and must differ when a group is replaced, because the new one is made
  # before the old one goes. The digest is of all that forces a replacement.
  target_groups = merge([
    for name, service in local.public : {
      for color in local.shifted[name] ? ["blue", "green"] : ["blue"] : "${name} ${color}" => {
        service         = service
        name_of_service = name
        name            = "${trimsuffix(substr("${var.name}-${name}", 0, 23), "-")}-${substr(sha1("${var.name} ${name} ${service.port} ${color}"), 0, 8)}"
      }
    }
  ]...)

  sign_in = [for given in [var.sign_in] : {
    type    = given.cognito != null ? "authenticate-cognito" : "authenticate-oidc"
    cognito = [for pool in [given.cognito] : pool if pool != null]
    oidc    = [for provider in [given.oidc] : provider if provider != null]
  } if given != null]
}

resource "aws_lb" "this" {
  for_each = local.own

  #checkov:skip=CKV2_AWS_20:it redirects where https is given; without a domain there is no certificate to redirect to
  #checkov:skip=CKV_AWS_150:protected by default; the one of previews is for as long as there are any
  #checkov:skip=CKV2_AWS_28:the firewall is a choice
  #checkov:skip=CKV2_AWS_76:the firewall is a choice, and has these rules; the check does not follow its for_each
  name               = var.name
  load_balancer_type = "application"
  internal           = false
  subnets            = local.load_balancer_subnet_ids
  security_groups    = [aws_security_group.load_balancer[each.key].id]
  tags               = var.tags

  desync_mitigation_mode     = "strictest"
  drop_invalid_header_fields = true
  idle_timeout               = var.idle_timeout_seconds
  enable_deletion_protection = var.protect

  dynamic "access_logs" {
    for_each = aws_s3_bucket.logs

    content {
      bucket  = access_logs.value.id
      prefix  = "load-balancer"
      enabled = true
    }
  }

  # AWS writes a test object when access logs are enabled, and refuses a load balancer of the internet in a VPC without a
  # gateway.
  depends_on = [aws_route.out, aws_s3_bucket_policy.logs]

  lifecycle {
    precondition {
      condition     = length(distinct([for id in try(var.network.existing.load_balancer_subnet_ids, []) : data.aws_subnet.given[id].availability_zone])) == length(try(var.network.existing.load_balancer_subnet_ids, []))
      error_message = "network.existing: two of load_balancer_subnet_ids are in one availability zone, and a load balancer takes one subnet of each."
    }
  }
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:inside the VPC, from one security group to another
  for_each = local.target_groups

  name                 = each.value.name
  vpc_id               = local.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = each.value.service.port
  deregistration_delay = each.value.service.public.deregister_seconds
  tags                 = var.tags

  health_check {
    path                = each.value.service.public.health_path
    matcher             = "200"
    interval            = 10
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "http" {
  #checkov:skip=CKV_AWS_103:it only redirects, or there is no domain and so no certificate
  load_balancer_arn = local.load_balancer.arn
  protocol          = "HTTP"
  port              = var.base == null ? 80 : var.base.port
  tags              = var.tags

  dynamic "default_action" {
    for_each = local.secure

    content {
      type = "redirect"

      redirect {
        protocol    = "HTTPS"
        port        = "443"
        status_code = "HTTP_301"
      }
    }
  }

  dynamic "default_action" {
    for_each = var.https == null ? { http = 80 } : {}

    content {
      type = "fixed-response"

      fixed_response {
        content_type = "text/plain"
        message_body = "not found"
        status_code  = "404"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  #checkov:skip=CKV_AWS_103:variables.tf refuses policies that allow less than TLS 1.2
  for_each = local.secure

  load_balancer_arn = local.load_balancer.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = each.value.policy
  certificate_arn   = local.certificate
  tags              = var.tags

  default_action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "not found"
      status_code  = "404"
    }
  }

  lifecycle {
    precondition {
      condition     = !strcontains(coalesce(each.value.certificate_arn, "none"), ":acm:") || strcontains(coalesce(each.value.certificate_arn, "none"), ":acm:${data.aws_region.current.region}:")
      error_message = "https.certificate_arn is of another region than ${data.aws_region.current.region}, and a load balancer takes certificates of its own."
    }
  }
}

# The strategy of a service that runs can change: the new rule is there before the old one goes, with a priority of its
# own, because a listener has each only once.
resource "aws_lb_listener_rule" "rolling" {
  for_each = { for name, service in local.public : name => service.public if !local.shifted[name] }

  listener_arn = local.listener.arn
  priority     = each.value.priority
  tags         = merge(var.tags, { Name = each.key })

  dynamic "condition" {
    for_each = length(each.value.paths) > 0 ? [each.value.paths] : []

    content {
      path_pattern {
        values = condition.value
      }
    }
  }

  dynamic "condition" {
    for_each = length(each.value.hosts) > 0 ? [each.value.hosts] : []

    content {
      host_header {
        values = condition.value
      }
    }
  }

  dynamic "action" {
    for_each = each.value.requires_sign_in ? local.sign_in : []

    content {
      type  = action.value.type
      order = 1

      dynamic "authenticate_cognito" {
        for_each = action.value.cognito

        content {
          user_pool_arn       = authenticate_cognito.value.user_pool_arn
          user_pool_client_id = authenticate_cognito.value.client_id
          user_pool_domain    = authenticate_cognito.value.domain
        }
      }

      dynamic "authenticate_oidc" {
        for_each = action.value.oidc

        content {
          issuer                 = authenticate_oidc.value.issuer
          authorization_endpoint = authenticate_oidc.value.authorization_endpoint
          token_endpoint         = authenticate_oidc.value.token_endpoint
          user_info_endpoint     = authenticate_oidc.value.user_info_endpoint
          client_id              = authenticate_oidc.value.client_id
          client_secret          = one(values(data.aws_secretsmanager_secret_version.sign_in)).secret_string
        }
      }
    }
  }

  action {
    type             = "forward"
    order            = 2
    target_group_arn = aws_lb_target_group.this["${each.key} blue"].arn
  }

  lifecycle {
    create_before_destroy = true
  }
}

# The same for services whose traffic ECS shifts: Terraform does not revert the shift. While both rules are there, this
# one decides.
resource "aws_lb_listener_rule" "shifted" {
  for_each = { for name, service in local.public : name => service.public if local.shifted[name] }

  listener_arn = local.listener.arn
  priority     = each.value.priority - 1
  tags         = merge(var.tags, { Name = each.key })

  dynamic "condition" {
    for_each = length(each.value.paths) > 0 ? [each.value.paths] : []

    content {
      path_pattern {
        values = condition.value
      }
    }
  }

  dynamic "condition" {
    for_each = length(each.value.hosts) > 0 ? [each.value.hosts] : []

    content {
      host_header {
        values = condition.value
      }
    }
  }

  action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.this["${each.key} blue"].arn
        weight = 100
      }
      target_group {
        arn    = aws_lb_target_group.this["${each.key} green"].arn
        weight = 0
      }
    }
  }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [action]
  }
}

moved {
  from = aws_lb.this
  to   = aws_lb.this["own"]
}

moved {
  from = aws_lb_listener_rule.blue_green
  to   = aws_lb_listener_rule.shifted
}

data "aws_secretsmanager_secret_version" "sign_in" {
  for_each = toset([for given in [try(var.sign_in.oidc.client_secret_arn, null)] : given if given != null])

  secret_id = each.value
}
