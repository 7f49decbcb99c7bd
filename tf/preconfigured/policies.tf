# Permissions of the roles. tests/preconfigured.tftest.hcl repeats the lists, so that none grows unnoticed.

locals {
  arn = "arn:${local.partition}"
  # Resources of the environments are named after this application; the roles cannot change others.
  named = "${var.name}-*"
  # The roles that deploy any environment, and the role that deploys previews of pull requests only. The latter makes no
  # network and no load balancer: it uses those of the environment `preview` (../previews).
  scopes = {
    deploy  = { environments = "*", balancers = "*", cluster = aws_ecs_cluster.this }
    preview = { environments = "pr-*", balancers = "preview", cluster = aws_ecs_cluster.preview }
  }

  # Of environments in other accounts.
  roles_elsewhere = [for id, role in var.accounts : "${local.arn}:iam::${id}:role/${role}"]

  # Of EC2's resources those that a preview makes, or AWS for its tasks, and whose tag decides who may change them.
  nameless = [for kind in ["network-interface", "security-group"] : "${local.arn}:ec2:${local.region}:${local.account}:${kind}/*"]

  # The calls of a preview that name a resource of the environment `preview`: its VPC, load balancer and namespace.
  uses_of_base = [
    "ec2:CreateSecurityGroup",
    "ec2:Describe*",
    "elasticloadbalancing:CreateListener",
    "elasticloadbalancing:Describe*",
    "servicediscovery:CreateService",
    "servicediscovery:GetNamespace",
    "servicediscovery:ListTagsForResource",
    "tag:GetResources",
  ]
}

# Reads what Terraform compares with. Pull requests run with it, so it has no state of a protected environment and no secret.
data "aws_iam_policy_document" "plan" {
  #checkov:skip=CKV_AWS_356:it only describes what there is; these calls know no narrower resource
  statement {
    sid = "Look"
    actions = [
      "acm:DescribeCertificate",
      "acm:ListTagsForCertificate",
      "application-autoscaling:Describe*",
      "application-autoscaling:ListTagsForResource",
      "budgets:ListTagsForResource",
      "budgets:ViewBudget",
      "cloudwatch:DescribeAlarms",
      "cloudwatch:GetDashboard",
      "cloudwatch:ListTagsForResource",
      # Not all of Describe*: some of it returns the user data of other applications' instances.
      "ec2:DescribeAvailabilityZones",
      "ec2:DescribeFlowLogs",
      "ec2:DescribeInternetGateways",
      "ec2:DescribeNetwork*",
      "ec2:DescribePrefixLists",
      "ec2:DescribeRegions",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSecurityGroup*",
      "ec2:DescribeSubnets",
      "ec2:DescribeTags",
      "ec2:DescribeVpc*",
      "ecr:DescribeRepositories",
      "ecr:GetAuthorizationToken",
      "ecr:GetLifecyclePolicy",
      "ecr:GetRepositoryPolicy",
      "ecr:ListTagsForResource",
      "ecs:Describe*",
      "ecs:List*",
      "ec2:GetSecurityGroupsForVpc",
      "elasticloadbalancing:Describe*",
      "iam:GetOpenIDConnectProvider",
      "iam:GetPolicy",
      "iam:GetPolicyVersion",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListRolePolicies",
      "kms:DescribeKey",
      "kms:GetKeyPolicy",
      "kms:GetKeyRotationStatus",
      "kms:ListAliases",
      "kms:ListResourceTags",
      "logs:DescribeLogGroups",
      "logs:ListTagsForResource",
      "route53:GetChange",
      "route53:GetHostedZone",
      "route53:ListHostedZonesByName",
      "route53:ListResourceRecordSets",
      "servicediscovery:GetNamespace",
      "servicediscovery:GetOperation",
      "servicediscovery:GetService",
      "servicediscovery:ListNamespaces",
      "servicediscovery:ListTagsForResource",
      "sns:GetSubscriptionAttributes",
      "sns:GetTopicAttributes",
      "sns:ListTagsForResource",
      "tag:GetResources",
      "wafv2:GetWebACL",
      "wafv2:GetWebACLForResource",
      "wafv2:ListTagsForResource",
    ]
    # Most of these read actions have no resource-level permissions.
    resources = ["*"]
  }

  statement {
    sid       = "LookAtBuckets"
    actions   = ["s3:GetAccelerateConfiguration", "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket", "s3:ListTagsForResource"]
    resources = ["${local.arn}:s3:::${local.named}"]
  }

  # Layers hold the attestations and the labels of an image.
  statement {
    sid       = "ReadImages"
    actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for repository in concat(values(aws_ecr_repository.this), values(aws_ecr_repository.preview)) : repository.arn]
  }

  # A state holds every value in clear text, such as a client secret for sign-in.
  statement {
    sid     = "ReadStates"
    actions = ["s3:GetObject"]
    resources = [
      "${aws_s3_bucket.state.arn}/preconfigured/*",
      "${aws_s3_bucket.state.arn}/environments/${local.scopes.preview.environments}",
      "${aws_s3_bucket.state.arn}/environments/*/releases.json",
    ]
  }

  statement {
    sid       = "DecryptStates"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.this.arn]
  }
}

# Plans of protected environments, which only runs of main make: their states, and the client secret of sign-in.
data "aws_iam_policy_document" "plan_main" {
  statement {
    sid       = "ReadAllStates"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.state.arn}/*"]
  }

  dynamic "statement" {
    for_each = length(local.roles_elsewhere) > 0 ? [local.roles_elsewhere] : []

    content {
      sid       = "OtherAccounts"
      actions   = ["sts:AssumeRole"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.sign_in_secret_arns) > 0 ? [var.sign_in_secret_arns] : []

    content {
      sid       = "SecretOfSignIn"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }
}

data "aws_iam_policy_document" "push" {
  statement {
    sid       = "SignInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "PushImages"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:DescribeRepositories",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [for repository in values(aws_ecr_repository.this) : repository.arn]
  }
}

# Additional policy of the preview role: its own repositories, and denials where names alone do not limit it.
data "aws_iam_policy_document" "preview" {
  #checkov:skip=CKV_AWS_111:AWS makes these calls with the caller's permissions, and names no resource
  #checkov:skip=CKV_AWS_356:the same, and the star in what is denied
  statement {
    sid = "PushImages"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:CompleteLayerUpload",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [for repository in values(aws_ecr_repository.preview) : repository.arn]
  }

  # Application Auto Scaling validates its caller by these calls; see `delegated`.
  statement {
    sid       = "AlarmsOfScaling"
    actions   = ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm"]
    resources = ["*"]
  }

  # Cloud Map removes the records of instances that are deregistered with their service; see `delegated`.
  statement {
    sid       = "RecordsOfNames"
    actions   = ["route53:ChangeResourceRecordSets"]
    resources = ["${local.arn}:route53:::hostedzone/*"]

    condition {
      test     = "ForAllValues:StringLike"
      variable = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
      values   = ["*.${var.name}-${local.scopes.preview.environments}.${var.name}-${local.scopes.preview.balancers}.internal"]
    }
  }

  # Security groups and scaling have no name in their ARN; what another environment has made is tagged so.
  statement {
    sid       = "NotOthers"
    effect    = "Deny"
    actions   = ["*"]
    resources = ["*"]

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/environment"
      values   = ["false"]
    }
    condition {
      test     = "StringNotLike"
      variable = "aws:ResourceTag/environment"
      values   = [local.scopes.preview.environments, local.scopes.preview.balancers]
    }
  }

  # Another application of the account may tag nothing so. Its security groups stay as they are, and do not become a
  # preview's by a tag: tags are written when a resource is created.
  statement {
    sid       = "NotUntagged"
    effect    = "Deny"
    actions   = ["ec2:AuthorizeSecurityGroup*", "ec2:DeleteNetworkInterface", "ec2:DeleteSecurityGroup", "ec2:DetachNetworkInterface", "ec2:ModifySecurityGroupRules", "ec2:RevokeSecurityGroup*"]
    resources = local.nameless

    condition {
      test     = "StringNotLike"
      variable = "aws:ResourceTag/environment"
      values   = [local.scopes.preview.environments]
    }
  }

  # Not for rules: Terraform writes their tags after they are there.
  statement {
    sid       = "NotByATag"
    effect    = "Deny"
    actions   = ["ec2:CreateTags", "ec2:DeleteTags"]
    resources = local.nameless

    condition {
      test     = "Null"
      variable = "ec2:CreateAction"
      values   = ["true"]
    }
    condition {
      test     = "StringNotLike"
      variable = "aws:ResourceTag/environment"
      values   = [local.scopes.preview.environments]
    }
  }

  # Previews use the environment `preview`, and this role does not change it.
  statement {
    sid         = "NotTheBase"
    effect      = "Deny"
    not_actions = local.uses_of_base
    resources   = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/environment"
      values   = [local.scopes.preview.balancers]
    }
  }

  # The plan policy allows reading the account's state and the versions of every environment; a preview is built from an
  # unreviewed branch.
  statement {
    sid           = "NotOthersStates"
    effect        = "Deny"
    actions       = ["s3:GetObject", "s3:GetObjectVersion"]
    not_resources = ["${aws_s3_bucket.state.arn}/environments/${local.scopes.preview.environments}"]
  }
}
