# GitHub's workflows sign in with a token of their own and no stored key. Four roles: look, push, deploy, and deploy previews.

locals {
  subjects = var.github == null ? {} : { plan = var.github.plan, push = var.github.push, deploy = var.github.deploy, preview = var.github.preview }
  github   = { for role, subjects in local.subjects : role => subjects if role != "preview" || length(subjects) > 0 }
  provider = try(var.github.provider_arn, null) != null ? var.github.provider_arn : try(one(values(aws_iam_openid_connect_provider.github)).arn, null)

  policies = {
    plan         = data.aws_iam_policy_document.plan.json
    push         = data.aws_iam_policy_document.push.json
    deploy       = data.aws_iam_policy_document.deploy["deploy"].json
    surroundings = data.aws_iam_policy_document.surroundings["deploy"].json

    preview              = data.aws_iam_policy_document.preview.json
    preview-deploy       = data.aws_iam_policy_document.deploy["preview"].json
    preview-surroundings = data.aws_iam_policy_document.surroundings["preview"].json
  }
  # Who deploys also looks: a plan comes first.
  grants = merge([
    for role, policies in {
      plan    = ["plan"]
      push    = ["push"]
      deploy  = ["plan", "deploy", "surroundings"]
      preview = ["plan", "preview", "preview-deploy", "preview-surroundings"]
    } :
    { for policy in policies : "${role} ${policy}" => { role = role, policy = policy } } if contains(keys(local.github), role)
  ]...)
}

resource "aws_iam_openid_connect_provider" "github" {
  for_each = var.github != null && try(var.github.provider_arn, null) == null ? toset(["token.actions.githubusercontent.com"]) : toset([])

  url            = "https://${each.value}"
  client_id_list = ["sts.amazonaws.com"]
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
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringLike"
      variable = "token.actions.githubusercontent.com:sub"
      values   = each.value
    }
  }
}

resource "aws_iam_role" "github" {
  for_each = local.github

  name                 = "${var.name}-github-${each.key}"
  description          = "What a workflow may do that is allowed to ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.github[each.key].json
  max_session_duration = 3600
}

resource "aws_iam_policy" "github" {
  for_each = var.github == null ? {} : local.policies

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
