# Two roles a service. With the execution role ECS starts a task: it fetches that service's image, writes that
# service's log and reads that service's secrets. The task role of the program has no permissions.

data "aws_iam_policy_document" "tasks" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    # Not on behalf of another account.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:ecs:${local.region}:${local.account}:*"]
    }
  }
}

# AWS documents the two conditions for task roles only. Where it sends them for an execution role, they count.
data "aws_iam_policy_document" "execution_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition {
      test     = "StringEqualsIfExists"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnLikeIfExists"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:ecs:${local.region}:${local.account}:*"]
    }
  }
}

resource "aws_iam_role" "execution" {
  for_each = var.services

  name                 = "${var.name}-${each.key}-execution"
  description          = "Starts the tasks of ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.execution_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role" "task" {
  for_each = var.services

  name                 = "${var.name}-${each.key}-task"
  description          = "Task role of ${each.key}, without permissions"
  assume_role_policy   = data.aws_iam_policy_document.tasks.json
  permissions_boundary = var.permissions_boundary_arn
}

data "aws_iam_policy_document" "execution" {
  for_each = var.services

  # The action does not support resources.
  statement {
    sid       = "SignInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid     = "FetchImage"
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = concat(
      [aws_ecr_repository.this[each.key].arn, aws_ecr_repository.preview[each.key].arn],
      var.home == null ? [] : ["${local.arn}:ecr:${local.region}:${var.home.account_id}:repository/${var.name}/${each.key}"],
    )
  }

  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/${var.name}-*/${each.key}:*"]
  }

  dynamic "statement" {
    for_each = { for kind, action in { secretsmanager = "secretsmanager:GetSecretValue", ssm = "ssm:GetParameters" } : kind => action if length([for arn in each.value.secret_arns : arn if strcontains(arn, ":${kind}:")]) > 0 }

    content {
      sid       = "Read${title(statement.key)}"
      actions   = [statement.value]
      resources = [for arn in each.value.secret_arns : arn if strcontains(arn, ":${statement.key}:")]
    }
  }

  dynamic "statement" {
    for_each = length(each.value.secret_key_arns) > 0 ? [each.value.secret_key_arns] : []

    content {
      sid       = "DecryptSecrets"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  for_each = var.services

  name   = "start-tasks"
  role   = aws_iam_role.execution[each.key].id
  policy = data.aws_iam_policy_document.execution[each.key].json
}

# With this one ECS shifts the load balancer's traffic between two versions; only services with the strategy
# BLUE_GREEN use it. The policy is AWS's own and made for exactly this.
data "aws_iam_policy_document" "ecs" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs.amazonaws.com"]
    }
    condition {
      test     = "StringEqualsIfExists"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "blue_green" {
  name                 = "${var.name}-blue-green"
  description          = "Lets ECS shift traffic between two versions"
  assume_role_policy   = data.aws_iam_policy_document.ecs.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "blue_green" {
  role       = aws_iam_role.blue_green.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers"
}
