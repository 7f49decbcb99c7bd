# Everything that changes a policy is on; tools/ci/infrastructure.py compares the result with AWS's reference.
github = {
  repository_id = "2"
  plan          = ["repo:acme/system-stats:pull_request"]
  plan_main     = ["repo:acme/system-stats:ref:refs/heads/main"]
  push          = ["repo:acme/system-stats:environment:images"]
  deploy        = ["repo:acme/system-stats:environment:staging"]
  preview       = ["repo:acme/system-stats:environment:preview"]
}
zone_ids            = ["Z0123456789"]
sign_in_secret_arns = ["arn:aws:secretsmanager:us-east-1:123456789012:secret:sign-in-abcdef"]
services = {
  stats    = {}
  frontend = {}
  gateway = {
    secret_arns     = ["arn:aws:secretsmanager:us-east-1:123456789012:secret:token-abcdef", "arn:aws:ssm:us-east-1:123456789012:parameter/token"]
    secret_key_arns = ["arn:aws:kms:us-east-1:123456789012:key/1"]
  }
}
accounts = { "222222222222" = "system-stats-deploy" }
