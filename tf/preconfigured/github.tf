# GitHub's workflows sign in with a token of their own and no stored key. Five roles: plan for pull requests, plan for
# main, push images, deploy, and deploy previews.

locals {
  subjects = var.github == null ? {} : {
    plan      = var.github.plan
    plan-main = var.github.plan_main
    push      = var.github.push
    deploy    = var.github.deploy
    preview   = var.github.preview
  }
  github   = { for role, subjects in local.subjects : role => subjects if !contains(["plan-main", "preview"], role) || length(subjects) > 0 }
  provider = try(var.github.provider_arn, null) != null ? var.github.provider_arn : try(one(values(aws_iam_openid_connect_provider.github)).arn, null)

  # The one that GitHub's action requests by default, and the one that it documents for China.
  audiences = distinct(["sts.amazonaws.com", "sts.${data.aws_partition.current.dns_suffix}"])

  policies = {
    plan         = data.aws_iam_policy_document.plan.json
    plan-main    = data.aws_iam_policy_document.plan_main.json
    push         = data.aws_iam_policy_document.push.json
    delegated    = data.aws_iam_policy_document.delegated.json
    deploy       = data.aws_iam_policy_document.deploy["deploy"].json
    surroundings = data.aws_iam_policy_document.surroundings["deploy"].json
    foundation   = data.aws_iam_policy_document.foundation.json

    preview              = data.aws_iam_policy_document.preview.json
    preview-deploy       = data.aws_iam_policy_document.deploy["preview"].json
    preview-surroundings = data.aws_iam_policy_document.surroundings["preview"].json
  }
  # Deploying includes planning.
  grants = merge([
    for role, policies in {
      plan      = ["plan"]
      plan-main = ["plan", "plan-main"]
      push      = ["push"]
      deploy    = ["plan", "plan-main", "deploy", "surroundings", "foundation", "delegated"]
      preview   = ["plan", "preview", "preview-deploy", "preview-surroundings"]
    } :
    { for policy in policies : "${role} ${policy}" => { role = role, policy = policy } } if contains(keys(local.github), role)
  ]...)
}

resource "aws_iam_openid_connect_provider" "github" {
  for_each = var.github != null && try(var.github.provider_arn, null) == null ? toset(["token.actions.githubusercontent.com"]) : toset([])

  url            = "https://${each.value}"
  client_id_list = local.audiences
}

data "aws_iam_policy_document" "github" {
  for_each = local.github

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.provider]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = local.audiences
    }
    condition {
      test     = "StringLike"
      variable = "token.actions.githubusercontent.com:sub"
      values   = each.value
    }
    # A name can be given up and taken by another account; the number of a repository cannot.
    dynamic "condition" {
      for_each = var.github.repository_id == null ? [] : [var.github.repository_id]

      content {
        test     = "StringEquals"
        variable = "token.actions.githubusercontent.com:repository_id"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "github" {
  for_each = local.github

  name                 = "${var.name}-github-${each.key}"
  description          = "Permissions of a workflow that may ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.github[each.key].json
  permissions_boundary = var.permissions_boundary_arn
  # As long as the longest job may take; see timeout-minutes in .github/workflows/terraform.yaml.
  max_session_duration = 7200
}

resource "aws_iam_policy" "github" {
  for_each = var.github == null && var.home == null ? {} : local.policies

  name        = "${var.name}-github-${each.key}"
  description = "For the roles of workflows"
  policy      = each.value

  lifecycle {
    precondition {
      condition     = length(replace(each.value, "/\\s/", "")) <= 6144
      error_message = "the policy ${each.key} has more than the 6144 characters that AWS allows; split it."
    }
  }
}

resource "aws_iam_role_policy_attachment" "github" {
  for_each = local.grants

  role       = aws_iam_role.github[each.value.role].name
  policy_arn = aws_iam_policy.github[each.value.policy].arn
}

# In another account than the registry's, environments are deployed by roles of that account, which assume this one.
data "aws_iam_policy_document" "deployed_by" {
  for_each = var.home == null ? {} : { deploy = var.home.deployed_by }

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = each.value
    }
  }
}

resource "aws_iam_role" "deployed_by" {
  for_each = data.aws_iam_policy_document.deployed_by

  name                 = "${var.name}-${each.key}"
  description          = "Permissions to deploy from the registry's account"
  assume_role_policy   = each.value.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "deployed_by" {
  for_each = var.home == null ? toset([]) : toset(["plan", "plan-main", "deploy", "surroundings", "foundation", "delegated"])

  role       = aws_iam_role.deployed_by["deploy"].name
  policy_arn = aws_iam_policy.github[each.key].arn
}
