key          = "environments/preview/terraform.tfstate"
region       = "us-east-1"
use_lockfile = true
