# The account's own settings. `make bootstrap` reads this file.
region = "us-east-1"

# account_id = "123456789012"

# Who at GitHub may do what; see variables.tf. The workflows name these environments of the repository's settings.
# github = {
#   plan    = ["repo:OWNER/system-stats:pull_request", "repo:OWNER/system-stats:ref:refs/heads/main"]
#   push    = ["repo:OWNER/system-stats:environment:images"]
#   deploy  = ["repo:OWNER/system-stats:environment:staging", "repo:OWNER/system-stats:environment:prod"]
#   preview = ["repo:OWNER/system-stats:environment:preview"]
# }
