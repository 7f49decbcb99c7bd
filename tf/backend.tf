# Every environment has a state of its own: environments/NAME/backend.hcl says where. The bucket is the account's
# (see preconfigured/) and given by the verbs, so that no account number is written down twice.
terraform {
  backend "s3" {}
}
