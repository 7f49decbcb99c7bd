# Resources of an account, and the permissions of its roles.

variables {
  github = {
    repository_id = "2"
    plan          = ["repo:acme/system-stats:pull_request"]
    plan_main     = ["repo:acme/system-stats:ref:refs/heads/main", "repo:acme@1/system-stats@2:ref:refs/heads/main"]
    push          = ["repo:acme/system-stats:ref:refs/heads/main"]
    deploy        = ["repo:acme/system-stats:environment:staging"]
    preview       = ["repo:acme/system-stats:environment:preview"]
  }
}

run "states_are_versioned_encrypted_and_private" {
  assert {
    condition     = aws_s3_bucket.state.bucket == "system-stats-state-123456789012-us-east-1" && one(aws_s3_bucket_versioning.state.versioning_configuration).status == "Enabled"
    error_message = "the bucket is not versioned or not named as the make targets expect"
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "the states are not encrypted with the account's key"
  }
  assert {
    condition     = alltrue([aws_s3_bucket_public_access_block.state.block_public_acls, aws_s3_bucket_public_access_block.state.block_public_policy, aws_s3_bucket_public_access_block.state.ignore_public_acls, aws_s3_bucket_public_access_block.state.restrict_public_buckets])
    error_message = "the states could become public"
  }
  assert {
    condition     = jsondecode(aws_s3_bucket_policy.state.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.state.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "the states can be read without TLS"
  }
  assert {
    condition = [for statement in jsondecode(aws_s3_bucket_policy.state.policy).Statement : statement.Condition if statement.Sid == "OnlyTheAccountsKey" && statement.Effect == "Deny"] == [{
      Null            = { "s3:x-amz-server-side-encryption" = "false" }
      StringNotEquals = { "s3:x-amz-server-side-encryption" = "aws:kms" }
    }]
    error_message = "a state could be written under another key than the account's"
  }
  assert {
    condition     = anytrue([for rule in aws_s3_bucket_lifecycle_configuration.state.rule : try(one(rule.expiration).expired_object_delete_marker, false)])
    error_message = "delete markers of locks and previews pile up"
  }
}

run "images_do_not_change_and_are_looked_through" {
  assert {
    condition     = toset(keys(aws_ecr_repository.this)) == toset(keys(jsondecode(file("../../services.json"))))
    error_message = "a service has no repository"
  }
  assert {
    condition     = alltrue([for repository in values(aws_ecr_repository.this) : repository.image_tag_mutability == "IMMUTABLE" && one(repository.image_scanning_configuration).scan_on_push && one(repository.encryption_configuration).encryption_type == "KMS"])
    error_message = "a repository lets tags be moved, does not scan, or is not encrypted with the account's key"
  }
  assert {
    condition     = alltrue(flatten([for policy in concat(values(aws_ecr_lifecycle_policy.this), values(aws_ecr_lifecycle_policy.preview)) : [for rule in jsondecode(policy.policy).rules : rule.selection.tagStatus == "tagged" && rule.selection.countType == "imageCountMoreThan"]]))
    error_message = "attestations have no tag, and must live as long as what they are about; and no image expires by age under an open pull request"
  }
}

run "a_version_counts_once_although_it_has_three_manifests" {
  command = plan

  variables {
    kept_images = 20
  }

  assert {
    condition     = [for policies in [aws_ecr_lifecycle_policy.this, aws_ecr_lifecycle_policy.preview] : join(" ", distinct([for policy in values(policies) : tostring(jsondecode(policy.policy).rules[0].selection.countNumber)]))] == ["60", "180"]
    error_message = "the index and the images of two processors take three places, so that versions expire too early"
  }
}

run "the_cluster_can_use_spot_and_has_insights" {
  assert {
    condition     = one(aws_ecs_cluster.this.setting).value == "enabled" && aws_ecs_cluster.this.name == "system-stats" && alltrue([for one in values(aws_ecs_cluster_capacity_providers.this) : one.capacity_providers == toset(["FARGATE", "FARGATE_SPOT"])])
    error_message = "Container Insights or spot capacity is missing"
  }
  assert {
    condition     = one(aws_ecs_cluster.preview.setting).value == "disabled" && aws_ecs_cluster.preview.name == "system-stats-preview" && length(aws_ecs_cluster_capacity_providers.this) == 2
    error_message = "previews have no cluster of their own, or pay for Container Insights"
  }
}

run "a_program_may_do_nothing_and_is_started_with_its_own_things" {
  assert {
    condition     = length(aws_iam_role_policy.execution) == 3 && toset([for policy in values(aws_iam_role_policy.execution) : policy.role]) == toset([for role in values(aws_iam_role.execution) : role.id])
    error_message = "a task role has a policy"
  }
  assert {
    condition     = alltrue([for name, policy in aws_iam_role_policy.execution : sort(flatten([for statement in jsondecode(policy.policy).Statement : statement.Action])) == tolist(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer", "logs:CreateLogStream", "logs:PutLogEvents"])])
    error_message = "an execution role may do more than fetch an image and write a log"
  }
  assert {
    condition     = alltrue([for name, policy in aws_iam_role_policy.execution : toset(jsondecode(policy.policy).Statement[1].Resource) == toset([aws_ecr_repository.this[name].arn, aws_ecr_repository.preview[name].arn])])
    error_message = "an execution role can fetch the image of another service"
  }
}

run "secrets_are_read_by_their_service_only" {
  variables {
    services = {
      stats = {}
      gateway = {
        secret_arns     = ["arn:aws:secretsmanager:us-east-1:123456789012:secret:token-abcdef"]
        secret_key_arns = ["arn:aws:kms:us-east-1:123456789012:key/1"]
      }
    }
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.execution["stats"].policy, "kms:") && jsondecode(aws_iam_role_policy.execution["gateway"].policy).Statement[4] == { Sid = "DecryptSecrets", Effect = "Allow", Action = "kms:Decrypt", Resource = "arn:aws:kms:us-east-1:123456789012:key/1" }
    error_message = "a secret under a customer key cannot be decrypted"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.execution["stats"].policy, "secretsmanager") && jsondecode(aws_iam_role_policy.execution["gateway"].policy).Statement[3].Resource == "arn:aws:secretsmanager:us-east-1:123456789012:secret:token-abcdef"
    error_message = "the secret is not the gateway's alone"
  }
}

run "a_workflow_takes_a_role_only_with_the_right_token" {
  assert {
    condition     = jsondecode(aws_iam_role.github["deploy"].assume_role_policy).Statement[0].Condition == { StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:repository_id" = "2" }, StringLike = { "token.actions.githubusercontent.com:sub" = "repo:acme/system-stats:environment:staging" } }
    error_message = "the deploy role can be taken by more than the environment's job"
  }
  assert {
    condition     = toset([for grant in values(aws_iam_role_policy_attachment.github) : "${grant.role} ${grant.policy_arn}" if endswith(grant.role, "plan") || endswith(grant.role, "push")]) == toset(["system-stats-github-plan ${aws_iam_policy.github["plan"].arn}", "system-stats-github-push ${aws_iam_policy.github["push"].arn}"])
    error_message = "who plans or pushes may do more than that"
  }
}

run "in_china_a_token_may_be_for_either_audience_and_logs_are_another_principal" {
  command = plan

  override_data {
    target = data.aws_region.current
    values = { region = "cn-north-1" }
  }
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-cn", dns_suffix = "amazonaws.com.cn" }
  }

  assert {
    condition     = one(values(aws_iam_openid_connect_provider.github)).client_id_list == toset(["sts.amazonaws.com", "sts.amazonaws.com.cn"])
    error_message = "a token for the audience that GitHub's action documents for China is refused"
  }
  assert {
    condition     = [for statement in jsondecode(data.aws_iam_policy_document.key.json).Statement : statement.Principal.Service if startswith(statement.Sid, "Logs")] == ["logs.cn-north-1.amazonaws.com.cn", "logs.cn-north-1.amazonaws.com.cn"]
    error_message = "CloudWatch Logs has another principal in China"
  }
  assert {
    condition     = [for statement in jsondecode(data.aws_iam_policy_document.foundation.json).Statement : sort(statement.Condition.StringEquals["aws:RequestedRegion"]) if statement.Sid == "Namespaces"] == [tolist(["cn-north-1", "cn-northwest-1"])]
    error_message = "Route 53 of China answers from Ningxia, and no namespace could be created in Beijing"
  }
}

run "in_govcloud_route_53_is_in_the_west" {
  command = plan

  override_data {
    target = data.aws_region.current
    values = { region = "us-gov-east-1" }
  }
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-us-gov", dns_suffix = "amazonaws.com" }
  }

  assert {
    condition     = [for statement in jsondecode(data.aws_iam_policy_document.foundation.json).Statement : sort(statement.Condition.StringEquals["aws:RequestedRegion"]) if statement.Sid == "Namespaces"] == [tolist(["us-gov-east-1", "us-gov-west-1"])]
    error_message = "no namespace could be created in us-gov-east-1"
  }
}

run "scaling_is_that_of_ecs" {
  assert {
    condition     = alltrue([for name in ["surroundings", "preview-surroundings"] : [for statement in jsondecode(aws_iam_policy.github[name].policy).Statement : statement.Condition if statement.Sid == "Scaling"] == [{ StringEquals = { "application-autoscaling:service-namespace" = "ecs" } }]])
    error_message = "a deployment may change the scaling of databases"
  }
}

run "aws_acts_for_this_account_alone" {
  assert {
    condition     = jsondecode(aws_iam_role.blue_green.assume_role_policy).Statement[0].Condition == { StringEqualsIfExists = { "aws:SourceAccount" = "123456789012" } }
    error_message = "ECS could take the role on behalf of another account"
  }
  assert {
    condition     = [for statement in jsondecode(aws_kms_key.this.policy).Statement : statement.Condition if statement.Sid == "Alarms"] == [{ StringEqualsIfExists = { "aws:SourceAccount" = "123456789012" } }]
    error_message = "the alarms of another account could use the key"
  }
}

run "an_organization_can_limit_every_role_and_require_tags" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
    tags                     = { cost-center = "42" }
    home                     = { account_id = "111111111111", deployed_by = ["arn:aws:iam::111111111111:role/deploy"] }
  }

  assert {
    condition     = toset([for role in concat([aws_iam_role.blue_green], [for roles in [aws_iam_role.execution, aws_iam_role.task, aws_iam_role.github, aws_iam_role.deployed_by] : values(roles)]...) : role.permissions_boundary]) == toset(["arn:aws:iam::123456789012:policy/boundary"])
    error_message = "a role without the boundary would be refused in the middle of make bootstrap"
  }
  assert {
    condition     = aws_ecs_cluster.this.tags_all == tomap({ cost-center = "42", application = "system-stats", part = "preconfigured", managed-by = "terraform" })
    error_message = "a resource lacks the organization's tags, or lost its own"
  }
}

run "tags_that_decide_who_may_change_a_resource_stay" {
  command = plan

  variables {
    tags = { Environment = "pr-7" }
  }

  expect_failures = [var.tags]
}

run "only_roles_of_tasks_are_passed_on" {
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_policy.github["deploy"].policy).Statement : statement.Resource if try(contains(tolist(flatten([statement.Action])), "iam:PassRole"), false)])) == toset(concat(
      [for role in values(aws_iam_role.execution) : role.arn],
      [for role in values(aws_iam_role.task) : role.arn],
      [aws_iam_role.blue_green.arn],
    ))
    error_message = "deploying may give away a role that is not a task's"
  }
  assert {
    condition     = alltrue([for statement in flatten([for name in ["deploy", "surroundings", "foundation"] : jsondecode(aws_iam_policy.github[name].policy).Statement]) : !contains(flatten([statement.Action]), "*") && alltrue([for action in flatten([statement.Action]) : !strcontains(action, "*")])])
    error_message = "deploying has an action with a star"
  }
}

run "a_preview_s_role_is_fenced_in" {
  assert {
    condition     = toset([for grant in values(aws_iam_role_policy_attachment.github) : grant.policy_arn if strcontains(grant.role, "preview")]) == toset([for name in ["plan", "preview", "preview-deploy", "preview-surroundings"] : aws_iam_policy.github[name].arn])
    error_message = "a preview's role has other policies than its own"
  }
  assert {
    condition     = alltrue([for name in ["preview-deploy", "preview-surroundings"] : !strcontains(aws_iam_policy.github[name].policy, "system-stats-*") && !strcontains(aws_iam_policy.github[name].policy, "environments/*") && strcontains(aws_iam_policy.github[name].policy, "system-stats-pr-*")])
    error_message = "a preview's role may touch other environments by name"
  }
  assert {
    condition = [for statement in jsondecode(aws_iam_policy.github["preview"].policy).Statement : statement.Condition if statement.Sid == "NotOthers" && statement.Effect == "Deny" && try(statement.Action == "*", false)] == [{
      Null          = { "aws:ResourceTag/environment" = "false" }
      StringNotLike = { "aws:ResourceTag/environment" = ["preview", "pr-*"] }
    }]
    error_message = "a preview's role may touch what another environment has made"
  }
  assert {
    condition = { for statement in jsondecode(aws_iam_policy.github["preview"].policy).Statement : statement.Sid => [statement.Condition, sort(statement.Action), statement.Resource] if contains(["NotUntagged", "NotByATag"], statement.Sid) && statement.Effect == "Deny" } == {
      NotUntagged = [
        { StringNotLike = { "aws:ResourceTag/environment" = "pr-*" } },
        tolist(["ec2:AuthorizeSecurityGroup*", "ec2:DeleteNetworkInterface", "ec2:DeleteSecurityGroup", "ec2:DetachNetworkInterface", "ec2:ModifySecurityGroupRules", "ec2:RevokeSecurityGroup*"]),
        ["arn:aws:ec2:us-east-1:123456789012:security-group/*", "arn:aws:ec2:us-east-1:123456789012:network-interface/*"],
      ]
      NotByATag = [
        { Null = { "ec2:CreateAction" = "true" }, StringNotLike = { "aws:ResourceTag/environment" = "pr-*" } },
        tolist(["ec2:CreateTags", "ec2:DeleteTags"]),
        ["arn:aws:ec2:us-east-1:123456789012:security-group/*", "arn:aws:ec2:us-east-1:123456789012:network-interface/*"],
      ]
    }
    error_message = "a preview's role may open or remove the security groups of other applications, which have no such tag"
  }
  assert {
    condition = [for statement in jsondecode(aws_iam_policy.github["preview"].policy).Statement : statement.Condition if statement.Sid == "NotTheBase" && statement.Effect == "Deny"] == [{ StringEquals = { "aws:ResourceTag/environment" = "preview" } }] && toset(flatten([for statement in jsondecode(aws_iam_policy.github["preview"].policy).Statement : statement.NotAction if statement.Sid == "NotTheBase"])) == toset([
      "ec2:CreateSecurityGroup",
      "ec2:Describe*",
      "elasticloadbalancing:CreateListener",
      "elasticloadbalancing:Describe*",
      "servicediscovery:CreateService",
      "servicediscovery:GetNamespace",
      "servicediscovery:ListTagsForResource",
      "tag:GetResources",
    ])
    error_message = "a preview's role may change what all previews share"
  }
  assert {
    condition     = strcontains(aws_iam_policy.github["preview-deploy"].policy, ":service/system-stats-preview/system-stats-pr-*") && !strcontains(aws_iam_policy.github["preview-deploy"].policy, "system-stats/system-stats-") && !strcontains(aws_iam_policy.github["preview-deploy"].policy, "task/system-stats/")
    error_message = "a preview's role starts or stops tasks in the cluster of the environments"
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_policy.github["preview"].policy).Statement : statement.NotResource if statement.Sid == "NotOthersStates" && statement.Effect == "Deny"] == ["${aws_s3_bucket.state.arn}/environments/pr-*"]
    error_message = "a preview's role may read another environment's state"
  }
  assert {
    condition     = toset(flatten([for statement in jsondecode(aws_iam_policy.github["preview"].policy).Statement : statement.Resource if statement.Sid == "PushImages"])) == toset([for repository in values(aws_ecr_repository.preview) : repository.arn])
    error_message = "a preview's role pushes where the environments' images are"
  }
}

run "without_previews_there_is_no_role_for_them" {
  variables {
    github = { plan = [], push = [], deploy = [] }
  }

  assert {
    condition     = toset(keys(aws_iam_role.github)) == toset(["plan", "push", "deploy"])
    error_message = "there is an unexpected role"
  }
}

run "calls_without_a_resource_are_these" {
  assert {
    condition = sort(distinct(flatten([for statement in jsondecode(aws_iam_policy.github["delegated"].policy).Statement : statement.Action]))) == tolist([
      "cloudwatch:DeleteAlarms",
      "cloudwatch:PutMetricAlarm",
      "cognito-idp:DescribeUserPoolClient",
      "elasticloadbalancing:SetWebAcl",
      "logs:CreateLogDelivery",
      "logs:DeleteLogDelivery",
      "route53:ChangeResourceRecordSets",
    ])
    error_message = "an action came or went: ${join(" ", sort(distinct(flatten([for statement in jsondecode(aws_iam_policy.github["delegated"].policy).Statement : statement.Action]))))}"
  }
}

# stats.system-stats-staging.internal is a record of an instance, and so is the longer one of a preview.
run "records_go_with_the_instances_of_a_name" {
  assert {
    condition = { for policy in ["delegated", "preview"] : policy => flatten([
      for statement in jsondecode(aws_iam_policy.github[policy].policy).Statement : values(statement.Condition["ForAllValues:StringLike"])
      if try(statement.Action, null) == "route53:ChangeResourceRecordSets"
      ]) } == {
      delegated = ["system-stats-*.internal", "*.system-stats-*.internal"]
      preview   = ["*.system-stats-pr-*.system-stats-preview.internal"]
    }
    error_message = "a name that still has instances could not be removed, or other records could"
  }
}

run "only_plans_of_main_read_every_state" {
  variables {
    sign_in_secret_arns = ["arn:aws:secretsmanager:us-east-1:123456789012:secret:sign-in-abcdef"]
  }

  assert {
    condition     = alltrue([for name in ["plan", "preview", "preview-deploy", "preview-surroundings"] : !strcontains(aws_iam_policy.github[name].policy, "secretsmanager") && !strcontains(aws_iam_policy.github[name].policy, "${aws_s3_bucket.state.arn}/*")])
    error_message = "a pull request could read the state of a protected environment, or a secret"
  }
  assert {
    condition     = toset([for grant in values(aws_iam_role_policy_attachment.github) : grant.role if grant.policy_arn == aws_iam_policy.github["plan-main"].arn]) == toset(["system-stats-github-plan-main", "system-stats-github-deploy"])
    error_message = "a role besides plan-main and deploy reads every state"
  }
}

run "without_github_there_is_no_way_in" {
  variables {
    github = null
  }

  assert {
    condition     = length(aws_iam_role.github) + length(aws_iam_policy.github) + length(aws_iam_openid_connect_provider.github) + length(aws_iam_role_policy_attachment.github) == 0
    error_message = "something of GitHub is left"
  }
}

run "an_existing_provider_is_used" {
  variables {
    github = {
      provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
      plan         = ["repo:acme/system-stats:pull_request"]
      push         = ["repo:acme@1/system-stats@2:ref:refs/heads/main"]
      deploy       = ["repo:acme/system-stats:environment:prod"]
    }
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0 && length(aws_iam_role.github) == 3
    error_message = "a second provider would be made, and AWS refuses it"
  }
}

run "a_stranger_s_repository_is_refused" {
  command = plan

  variables {
    github = { plan = ["repo:acme/*:pull_request"], push = [], deploy = [] }
  }

  expect_failures = [var.github]
}

run "a_pull_request_does_not_deploy" {
  command = plan

  variables {
    github = { plan = [], push = [], deploy = ["repo:acme/system-stats:pull_request"] }
  }

  expect_failures = [var.github]
}

run "a_pull_request_s_preview_needs_an_environment_too" {
  command = plan

  variables {
    github = { plan = [], push = [], deploy = [], preview = ["repo:acme/system-stats:pull_request"] }
  }

  expect_failures = [var.github]
}

run "another_account_pulls_images_and_is_deployed_to" {
  variables {
    accounts = { "222222222222" = "system-stats-deploy" }
  }

  assert {
    condition = alltrue([for policy in values(aws_ecr_repository_policy.this) : [for statement in jsondecode(policy.policy).Statement : [statement.Effect, statement.Principal.AWS, statement.Condition, sort(statement.Action)]] == [[
      "Allow", "arn:aws:iam::222222222222:root", { ArnLike = { "aws:PrincipalArn" = "arn:aws:iam::222222222222:role/system-stats-*-execution" } },
      tolist(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]),
    ]]]) && toset(keys(aws_ecr_repository_policy.this)) == toset(keys(aws_ecr_repository.this))
    error_message = "tasks of the other account cannot pull, or more than they can"
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_policy.github["plan-main"].policy).Statement : statement.Resource if statement.Sid == "OtherAccounts"] == ["arn:aws:iam::222222222222:role/system-stats-deploy"] && alltrue([for name in ["plan", "push", "preview", "preview-deploy", "preview-surroundings"] : !strcontains(aws_iam_policy.github[name].policy, "sts:")])
    error_message = "deployments cannot reach the other account, or a pull request can"
  }
}

run "without_other_accounts_nobody_else_pulls" {
  assert {
    condition     = length(aws_ecr_repository_policy.this) + length(aws_iam_role.deployed_by) == 0 && !strcontains(aws_iam_policy.github["plan-main"].policy, "sts:")
    error_message = "another account has access"
  }
}

run "an_account_without_the_registry_is_deployed_to_from_there" {
  variables {
    github = null
    home = {
      account_id  = "111111111111"
      deployed_by = ["arn:aws:iam::111111111111:role/system-stats-github-deploy", "arn:aws:iam::111111111111:role/system-stats-github-plan-main"]
    }
  }

  assert {
    condition     = aws_iam_role.deployed_by["deploy"].name == "system-stats-deploy" && toset(jsondecode(aws_iam_role.deployed_by["deploy"].assume_role_policy).Statement[0].Principal.AWS) == toset(var.home.deployed_by)
    error_message = "the role can be assumed by others than those that were named"
  }
  assert {
    condition     = toset([for one in values(aws_iam_role_policy_attachment.deployed_by) : one.policy_arn]) == toset([for name in ["plan", "plan-main", "deploy", "surroundings", "foundation", "delegated"] : aws_iam_policy.github[name].arn]) && length(aws_iam_role.github) == 0
    error_message = "the role has not the policies of a deployment"
  }
  assert {
    condition     = alltrue([for name, policy in aws_iam_role_policy.execution : contains(jsondecode(policy.policy).Statement[1].Resource, "arn:aws:ecr:us-east-1:111111111111:repository/system-stats/${name}")])
    error_message = "a task cannot pull its image from the registry's account"
  }
}

run "a_home_that_is_another_s" {
  command = plan

  variables {
    home = { account_id = "111111111111", deployed_by = ["arn:aws:iam::333333333333:role/deploy"] }
  }

  expect_failures = [var.home]
}
