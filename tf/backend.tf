# Each environment has its own state, whose key is in environments/NAME/backend.hcl. The bucket belongs to the account
# (see preconfigured/) and is passed by the make targets, so that the account number is not repeated here.
terraform {
  backend "s3" {}
}
