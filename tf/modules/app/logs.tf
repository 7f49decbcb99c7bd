# A bucket for logs written by AWS: access logs of the load balancer and rejected traffic of the network.

locals {
  log_days  = var.access_logs != null ? var.access_logs.days : 30
  log_store = var.access_logs != null || (var.network.flow_logs && length(local.own_vpc) > 0) ? { (var.name) = local.log_days } : {}

  # In China, load balancers write as an account of AWS and not as a service (Elastic Load Balancing's guide for China,
  # "Attach a policy to your S3 bucket").
  log_writer = lookup({ cn-north-1 = "638102146993", cn-northwest-1 = "037604701340" }, data.aws_region.current.region, null)
}

resource "aws_s3_bucket" "logs" {
  #checkov:skip=CKV_AWS_18:it holds access logs; logging its own would never end
  #checkov:skip=CKV2_AWS_62:nothing waits for logs to arrive
  #checkov:skip=CKV_AWS_144:logs of one region stay there and expire
  #checkov:skip=CKV_AWS_21:AWS writes each log once, and they expire
  #checkov:skip=CKV_AWS_145:the load balancer can write with S3's own key only
  for_each = local.log_store

  bucket        = "${each.key}-logs-${data.aws_caller_identity.current.account_id}"
  force_destroy = !var.protect
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "logs" {
  for_each = aws_s3_bucket.logs

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "logs" {
  for_each = aws_s3_bucket.logs

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# The load balancer can write with S3's own key only.
resource "aws_s3_bucket_server_side_encryption_configuration" "logs" {
  for_each = aws_s3_bucket.logs

  bucket = each.value.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  for_each = aws_s3_bucket.logs

  bucket = each.value.id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = local.log_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

data "aws_iam_policy_document" "logs" {
  for_each = aws_s3_bucket.logs

  # The account's number in the path keeps other accounts' load balancers out.
  statement {
    sid       = "LoadBalancerWrites"
    actions   = ["s3:PutObject"]
    resources = ["${each.value.arn}/load-balancer/AWSLogs/${data.aws_caller_identity.current.account_id}/*"]

    principals {
      type        = local.log_writer == null ? "Service" : "AWS"
      identifiers = [local.log_writer == null ? "logdelivery.elasticloadbalancing.amazonaws.com" : "arn:${data.aws_partition.current.partition}:iam::${local.log_writer}:root"]
    }
  }

  # These two are what EC2 itself writes when it creates a flow log, but for one condition, so that it has nothing to add
  # later (VPC User Guide, "Amazon S3 bucket permissions for flow logs").
  statement {
    sid       = "AWSLogDeliveryWrite"
    actions   = ["s3:PutObject"]
    resources = ["${each.value.arn}/network/AWSLogs/${data.aws_caller_identity.current.account_id}/*"]

    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
    # The bucket has no ACLs, and the writer may send none (terraform-aws-vpc-flow-logs-s3-bucket #101).
    condition {
      test     = "StringEqualsIfExists"
      variable = "s3:x-amz-acl"
      values   = ["bucket-owner-full-control"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:*"]
    }
  }

  statement {
    sid       = "AWSLogDeliveryAclCheck"
    actions   = ["s3:GetBucketAcl"]
    resources = [each.value.arn]

    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:*"]
    }
  }

  statement {
    sid       = "OnlyEncrypted"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  for_each = aws_s3_bucket.logs

  bucket = each.value.id
  policy = data.aws_iam_policy_document.logs[each.key].json

  # EC2 replaces the whole policy when it creates a flow log, so this one comes after it.
  depends_on = [aws_s3_bucket_public_access_block.logs, aws_flow_log.this]
}
