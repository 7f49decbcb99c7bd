# Blocks addresses above the rate limit and requests that match AWS managed rules.

locals {
  firewall = var.waf == null ? {} : { (var.name) = var.waf }
}

resource "aws_wafv2_web_acl" "this" {
  #checkov:skip=CKV_AWS_192:it has these rules; the check does not follow dynamic blocks
  #checkov:skip=CKV2_AWS_31:metrics and samples are kept here, and every request is in the access logs
  for_each = local.firewall

  name  = each.key
  scope = "REGIONAL"
  tags  = var.tags

  default_action {
    allow {}
  }

  rule {
    name     = "rate"
    priority = 1

    action {
      block {}
    }

    statement {
      rate_based_statement {
        limit              = each.value.requests_per_5_minutes
        aggregate_key_type = "IP"
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "${each.key}-rate"
      sampled_requests_enabled   = true
    }
  }

  dynamic "rule" {
    for_each = { AWSManagedRulesCommonRuleSet = 2, AWSManagedRulesKnownBadInputsRuleSet = 3 }

    content {
      name     = rule.key
      priority = rule.value

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.key
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "${each.key}-${rule.key}"
        sampled_requests_enabled   = true
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = each.key
    sampled_requests_enabled   = true
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  for_each = aws_wafv2_web_acl.this

  resource_arn = local.load_balancer.arn
  web_acl_arn  = each.value.arn
}
