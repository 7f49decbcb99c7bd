# The account's own settings. `make bootstrap` reads this file.
region = "us-east-1"

# account_id = "123456789012"

# Which GitHub workflows may take which role; see variables.tf. `make bootstrap` prints these lines with the ids of the
# repository that `origin` names.
# github = {
#   repository_id = "REPOSITORY_ID"
#   plan          = ["repo:OWNER/NAME:pull_request", "repo:OWNER@OWNER_ID/NAME@REPOSITORY_ID:pull_request"]
#   plan_main     = ["repo:OWNER/NAME:ref:refs/heads/main", "repo:OWNER@OWNER_ID/NAME@REPOSITORY_ID:ref:refs/heads/main"]
#   push          = ["repo:OWNER/NAME:environment:images", "repo:OWNER@OWNER_ID/NAME@REPOSITORY_ID:environment:images"]
#   deploy        = ["repo:OWNER/NAME:environment:staging", "repo:OWNER@OWNER_ID/NAME@REPOSITORY_ID:environment:staging", ...]
#   preview       = ["repo:OWNER/NAME:environment:preview", "repo:OWNER@OWNER_ID/NAME@REPOSITORY_ID:environment:preview"]
# }
