# The pattern of pr-N, a preview of a pull request: as cheap as it gets. `environment` and the key of the state are
# those of the preview, the rest is from here.
environment        = "preview"
network            = { cidr = "10.40.0.0/16", tasks = "public" }
log_retention_days = 3
log_level          = "debug"

services = {
  stats    = { spot_percent = 100 }
  frontend = { spot_percent = 100 }
  gateway  = { spot_percent = 100 }
}
