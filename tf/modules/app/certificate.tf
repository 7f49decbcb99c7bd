# For a domain: a certificate, validated by records in its zone, and the DNS name.

resource "aws_acm_certificate" "this" {
  for_each = local.domain

  domain_name       = each.key
  validation_method = "DNS"
  tags              = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "proof" {
  for_each = local.domain

  zone_id         = each.value
  name            = one(aws_acm_certificate.this[each.key].domain_validation_options).resource_record_name
  type            = one(aws_acm_certificate.this[each.key].domain_validation_options).resource_record_type
  records         = [one(aws_acm_certificate.this[each.key].domain_validation_options).resource_record_value]
  ttl             = 60
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "this" {
  for_each = local.domain

  certificate_arn         = aws_acm_certificate.this[each.key].arn
  validation_record_fqdns = [aws_route53_record.proof[each.key].fqdn]
}

resource "aws_route53_record" "this" {
  for_each = local.domain

  zone_id = each.value
  name    = each.key
  type    = "A"

  alias {
    name                   = local.load_balancer.dns_name
    zone_id                = local.load_balancer.zone_id
    evaluate_target_health = true
  }
}
