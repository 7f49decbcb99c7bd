# One repository a service. A tag is a commit and an architecture and never changes its meaning.

locals {
  # ECR counts manifests: a version is an index and an image for each of two processors, and all three have a tag.
  manifests = 3 * var.kept_images
}

resource "aws_ecr_repository" "this" {
  for_each = var.services

  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.this.arn
  }
}

# The execution roles of other accounts' environments alone.
data "aws_iam_policy_document" "pull" {
  statement {
    sid     = "PullFromOtherAccounts"
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]

    principals {
      type        = "AWS"
      identifiers = [for id in keys(var.accounts) : "${local.arn}:iam::${id}:root"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:PrincipalArn"
      values   = [for id in keys(var.accounts) : "${local.arn}:iam::${id}:role/${var.name}-*-execution"]
    }
  }
}

resource "aws_ecr_repository_policy" "this" {
  for_each = length(var.accounts) > 0 ? aws_ecr_repository.this : {}

  repository = each.value.name
  policy     = data.aws_iam_policy_document.pull.json
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    # Only what has a tag is counted. Attestations have none; ECR takes them away with what they are about.
    rules = [{
      rulePriority = 1
      description  = "all but the newest"
      selection    = { tagStatus = "tagged", tagPatternList = ["*"], countType = "imageCountMoreThan", countNumber = local.manifests }
      action       = { type = "expire" }
    }]
  })
}

# Separate repositories for pull requests: their images neither expire those that an environment runs nor take their tags.
resource "aws_ecr_repository" "preview" {
  for_each = var.services

  name                 = "${var.name}/preview/${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.this.arn
  }
}

resource "aws_ecr_lifecycle_policy" "preview" {
  for_each = aws_ecr_repository.preview

  repository = each.value.name
  policy = jsonencode({
    # By number and not by age: a pull request may stay open for months, and its tasks must be able to start again.
    rules = [{
      rulePriority = 1
      description  = "all but the newest"
      selection    = { tagStatus = "tagged", tagPatternList = ["*"], countType = "imageCountMoreThan", countNumber = 3 * local.manifests }
      action       = { type = "expire" }
    }]
  })
}
