# Permissions to deploy an environment, in four policies: a policy is limited to 6144 characters. A preview has what
# `foundation` makes from the environment `preview`.

data "aws_iam_policy_document" "deploy" {
  for_each = local.scopes

  # Neither the account's part of the state nor another application's.
  statement {
    sid       = "WriteStates"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.state.arn}/environments/${each.value.environments}"]
  }

  statement {
    sid       = "EncryptStates"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.this.arn]
  }

  # A task gets these roles and no other, and only a task.
  statement {
    sid     = "GiveRolesToTasks"
    actions = ["iam:PassRole"]
    resources = concat(
      [for role in values(aws_iam_role.execution) : role.arn],
      [for role in values(aws_iam_role.task) : role.arn],
    )

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "GiveRoleToShiftTraffic"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.blue_green.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs.amazonaws.com"]
    }
  }

  # AWS makes these roles for itself, once in an account.
  statement {
    sid       = "FirstUse"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["${local.arn}:iam::${local.account}:role/aws-service-role/*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values = [
        "ecs.amazonaws.com",
        "ecs.application-autoscaling.amazonaws.com",
        "elasticloadbalancing.amazonaws.com",
      ]
    }
  }

  statement {
    sid       = "Services"
    actions   = ["ecs:CreateService", "ecs:DeleteService", "ecs:UpdateService"]
    resources = ["${local.arn}:ecs:${local.region}:${local.account}:service/${each.value.cluster.name}/${var.name}-${each.value.environments}"]
  }

  # Old revisions stay (skip_destroy), so nothing deregisters them.
  statement {
    sid       = "TaskDefinitions"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = ["${local.arn}:ecs:${local.region}:${local.account}:task-definition/${var.name}-${each.value.environments}:*"]
  }

  # `make run`: a task of an environment's own definitions, in the cluster.
  statement {
    sid       = "RunTasks"
    actions   = ["ecs:RunTask"]
    resources = ["${local.arn}:ecs:${local.region}:${local.account}:task-definition/${var.name}-${each.value.environments}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [each.value.cluster.arn]
    }
  }

  statement {
    sid       = "StopTasks"
    actions   = ["ecs:StopTask"]
    resources = ["${local.arn}:ecs:${local.region}:${local.account}:task/${each.value.cluster.name}/*"]
  }

  statement {
    sid     = "TagServices"
    actions = ["ecs:TagResource", "ecs:UntagResource"]
    resources = [
      "${local.arn}:ecs:${local.region}:${local.account}:service/${each.value.cluster.name}/${var.name}-${each.value.environments}",
      "${local.arn}:ecs:${local.region}:${local.account}:task-definition/${var.name}-${each.value.environments}:*",
    ]
  }

  statement {
    sid = "Listeners"
    actions = [
      "elasticloadbalancing:AddTags",
      "elasticloadbalancing:CreateListener",
      "elasticloadbalancing:CreateRule",
      "elasticloadbalancing:CreateTargetGroup",
      "elasticloadbalancing:DeleteListener",
      "elasticloadbalancing:DeleteRule",
      "elasticloadbalancing:DeleteTargetGroup",
      "elasticloadbalancing:ModifyListener",
      "elasticloadbalancing:ModifyListenerAttributes",
      "elasticloadbalancing:ModifyRule",
      "elasticloadbalancing:ModifyTargetGroup",
      "elasticloadbalancing:ModifyTargetGroupAttributes",
      "elasticloadbalancing:RemoveTags",
      "elasticloadbalancing:SetRulePriorities",
    ]
    resources = concat(
      [for kind in ["loadbalancer/app", "listener/app", "listener-rule/app"] : "${local.arn}:elasticloadbalancing:${local.region}:${local.account}:${kind}/${var.name}-${each.value.balancers}/*"],
      ["${local.arn}:elasticloadbalancing:${local.region}:${local.account}:targetgroup/${var.name}-${each.value.environments}/*"],
    )
  }
}

# Calls without resource-level permissions, and calls that AWS makes with the caller's permissions. They name no resource, or
# one that AWS chooses, so they are allowed on all of them.
data "aws_iam_policy_document" "delegated" {
  #checkov:skip=CKV_AWS_111:AWS makes these calls with the caller's permissions, and names no resource
  #checkov:skip=CKV_AWS_356:AWS makes these calls with the caller's permissions, and names no resource
  # Application Auto Scaling validates the caller by calls without a name before it registers a target, and makes
  # alarms named TargetTracking-service/... for a policy.
  statement {
    sid       = "AlarmsOfScaling"
    actions   = ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm"]
    resources = ["*"]
  }

  # wafv2:AssociateWebACL calls it.
  statement {
    sid       = "FirewallOfLoadBalancer"
    actions   = ["elasticloadbalancing:SetWebAcl"]
    resources = ["*"]
  }

  # The load balancer reads the client when a rule requires a sign-in by Cognito.
  statement {
    sid       = "ClientOfSignIn"
    actions   = ["cognito-idp:DescribeUserPoolClient"]
    resources = ["*"]
  }

  # Cloud Map writes the namespace's own records when it changes, and removes those of instances that are deregistered
  # with their service; its zone has an id that AWS chooses.
  statement {
    sid       = "RecordsOfNamespace"
    actions   = ["route53:ChangeResourceRecordSets"]
    resources = ["${local.arn}:route53:::hostedzone/*"]

    condition {
      test     = "ForAllValues:StringLike"
      variable = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
      values   = ["${local.named}.internal", "*.${local.named}.internal"]
    }
  }

  # EC2 sets up the delivery of flow logs.
  statement {
    sid       = "LogDelivery"
    actions   = ["logs:CreateLogDelivery", "logs:DeleteLogDelivery"]
    resources = ["*"]
  }
}

# Resources around the services: security groups, names, scaling, logs.
data "aws_iam_policy_document" "surroundings" {
  for_each = local.scopes

  # Security groups get their names from AWS, so these are bounded by the region alone.
  statement {
    sid = "SecurityGroups"
    actions = [
      "ec2:AuthorizeSecurityGroupEgress",
      "ec2:AuthorizeSecurityGroupIngress",
      "ec2:CreateSecurityGroup",
      "ec2:CreateTags",
      "ec2:DeleteNetworkInterface",
      "ec2:DeleteSecurityGroup",
      "ec2:DeleteTags",
      "ec2:DetachNetworkInterface",
      "ec2:ModifySecurityGroupRules",
      "ec2:RevokeSecurityGroupEgress",
      "ec2:RevokeSecurityGroupIngress",
    ]
    resources = ["${local.arn}:ec2:${local.region}:${local.account}:*"]
  }

  # Names are services of Cloud Map; neither they nor their namespace has a known ARN before it is created.
  statement {
    sid = "Names"
    actions = [
      "servicediscovery:CreateService",
      "servicediscovery:DeleteService",
      "servicediscovery:DeregisterInstance",
      "servicediscovery:ListInstances",
      "servicediscovery:TagResource",
      "servicediscovery:UntagResource",
      "servicediscovery:UpdateService",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [local.region]
    }
  }

  statement {
    sid = "Scaling"
    actions = [
      "application-autoscaling:DeleteScalingPolicy",
      "application-autoscaling:DeleteScheduledAction",
      "application-autoscaling:DeregisterScalableTarget",
      "application-autoscaling:PutScalingPolicy",
      "application-autoscaling:PutScheduledAction",
      "application-autoscaling:RegisterScalableTarget",
    ]
    resources = ["${local.arn}:application-autoscaling:${local.region}:${local.account}:scalable-target/*"]

    # AWS chooses the names of targets, those of databases and fleets included.
    condition {
      test     = "StringEquals"
      variable = "application-autoscaling:service-namespace"
      values   = ["ecs"]
    }
  }

  statement {
    sid       = "TagScaling"
    actions   = ["application-autoscaling:TagResource", "application-autoscaling:UntagResource"]
    resources = ["${local.arn}:application-autoscaling:${local.region}:${local.account}:scalable-target/*"]
  }

  statement {
    sid = "Logs"
    actions = [
      "logs:AssociateKmsKey",
      "logs:CreateLogGroup",
      "logs:DeleteLogGroup",
      "logs:FilterLogEvents",
      "logs:GetLogEvents",
      "logs:PutRetentionPolicy",
      "logs:TagResource",
      "logs:UntagResource",
    ]
    resources = ["${local.arn}:logs:${local.region}:${local.account}:log-group:/${var.name}-${each.value.environments}"]
  }
}

# Foundations of an environment: network, load balancer, namespace, certificate, alarms, firewall, buckets.
data "aws_iam_policy_document" "foundation" {
  statement {
    sid = "LoadBalancers"
    actions = [
      "elasticloadbalancing:CreateLoadBalancer",
      "elasticloadbalancing:DeleteLoadBalancer",
      "elasticloadbalancing:ModifyLoadBalancerAttributes",
      "elasticloadbalancing:SetSecurityGroups",
      "elasticloadbalancing:SetSubnets",
    ]
    resources = ["${local.arn}:elasticloadbalancing:${local.region}:${local.account}:loadbalancer/app/${local.named}/*"]
  }

  # Networks get their names from AWS, so these are bounded by the region alone.
  statement {
    sid = "Network"
    actions = [
      "ec2:AssociateRouteTable",
      "ec2:AttachInternetGateway",
      "ec2:CreateFlowLogs",
      "ec2:CreateInternetGateway",
      "ec2:CreateRoute",
      "ec2:CreateRouteTable",
      "ec2:CreateSubnet",
      "ec2:CreateVpc",
      "ec2:CreateVpcEndpoint",
      "ec2:DeleteFlowLogs",
      "ec2:DeleteInternetGateway",
      "ec2:DeleteRoute",
      "ec2:DeleteRouteTable",
      "ec2:DeleteSubnet",
      "ec2:DeleteVpc",
      "ec2:DeleteVpcEndpoints",
      "ec2:DetachInternetGateway",
      "ec2:DisassociateRouteTable",
      "ec2:ModifySubnetAttribute",
      "ec2:ModifyVpcAttribute",
      "ec2:ModifyVpcEndpoint",
      "ec2:ReplaceRoute",
      "ec2:ReplaceRouteTableAssociation",
    ]
    resources = ["${local.arn}:ec2:${local.region}:${local.account}:*"]
  }

  # Cloud Map keeps its names in a private zone of Route 53, and neither has a known name before it is created.
  statement {
    sid = "Namespaces"
    actions = [
      "route53:AssociateVPCWithHostedZone",
      "route53:CreateHostedZone",
      "route53:DeleteHostedZone",
      "servicediscovery:CreatePrivateDnsNamespace",
      "servicediscovery:DeleteNamespace",
      "servicediscovery:UpdatePrivateDnsNamespace",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      # Route 53 is everywhere, and answers from one region of each partition.
      values = distinct([local.region, lookup({ aws-cn = "cn-northwest-1", aws-us-gov = "us-gov-west-1", aws-eusc = "eusc-de-east-1" }, local.partition, "us-east-1")])
    }
  }

  statement {
    sid       = "Certificates"
    actions   = ["acm:AddTagsToCertificate", "acm:DeleteCertificate", "acm:RemoveTagsFromCertificate"]
    resources = ["${local.arn}:acm:${local.region}:${local.account}:certificate/*"]
  }

  # A certificate has no name before it is asked for.
  statement {
    sid       = "NewCertificates"
    actions   = ["acm:RequestCertificate"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [local.region]
    }
  }

  statement {
    sid = "Alarms"
    actions = [
      "cloudwatch:DeleteDashboards",
      "cloudwatch:PutDashboard",
      "cloudwatch:TagResource",
      "cloudwatch:UntagResource",
    ]
    resources = [
      "${local.arn}:cloudwatch:${local.region}:${local.account}:alarm:${local.named}",
      "${local.arn}:cloudwatch::${local.account}:dashboard/${local.named}",
    ]
  }

  statement {
    sid       = "Budgets"
    actions   = ["budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource"]
    resources = ["${local.arn}:budgets::${local.account}:budget/${local.named}"]
  }

  statement {
    sid       = "Topics"
    actions   = ["sns:CreateTopic", "sns:DeleteTopic", "sns:SetTopicAttributes", "sns:Subscribe", "sns:TagResource", "sns:Unsubscribe", "sns:UntagResource"]
    resources = ["${local.arn}:sns:${local.region}:${local.account}:${local.named}"]
  }

  statement {
    sid     = "Firewall"
    actions = ["wafv2:AssociateWebACL", "wafv2:CreateWebACL", "wafv2:DeleteWebACL", "wafv2:DisassociateWebACL", "wafv2:TagResource", "wafv2:UntagResource", "wafv2:UpdateWebACL"]
    resources = [
      "${local.arn}:elasticloadbalancing:${local.region}:${local.account}:loadbalancer/app/${local.named}/*",
      "${local.arn}:wafv2:${local.region}:${local.account}:regional/webacl/${local.named}/*",
      "${local.arn}:wafv2:${local.region}:aws:regional/managedruleset/AWS/*",
      "${local.arn}:wafv2:${local.region}:${local.account}:regional/managedruleset/*",
    ]
  }

  statement {
    sid = "LogBuckets"
    actions = [
      "s3:CreateBucket",
      "s3:DeleteBucket",
      "s3:DeleteBucketPolicy",
      "s3:DeleteObject",
      "s3:DeleteObjectVersion",
      "s3:ListBucketVersions",
      "s3:PutBucketOwnershipControls",
      "s3:PutBucketPolicy",
      "s3:PutBucketPublicAccessBlock",
      "s3:PutBucketTagging",
      "s3:PutEncryptionConfiguration",
      "s3:PutLifecycleConfiguration",
      "s3:TagResource",
      "s3:UntagResource",
    ]
    resources = ["${local.arn}:s3:::${local.named}-logs-${local.account}", "${local.arn}:s3:::${local.named}-logs-${local.account}/*"]
  }

  dynamic "statement" {
    for_each = length(var.zone_ids) > 0 ? [var.zone_ids] : []

    content {
      sid       = "Records"
      actions   = ["route53:ChangeResourceRecordSets"]
      resources = [for id in statement.value : "${local.arn}:route53:::hostedzone/${id}"]
    }
  }
}
