# The pattern of pr-N, a preview of a pull request: as cheap as it gets. `environment` and the key of the state are
# those of the preview, the rest is from here. The environment `preview` itself is what previews share: see previews/.
environment        = "preview"
base               = "preview"
network            = { tasks = "public" }
hours              = { days = "MON-FRI", from = 7, to = 20, timezone = "Etc/UTC" }
monitored          = false
log_retention_days = 3
log_level          = "debug"

services = {
  stats    = { spot_percent = 100 }
  frontend = { spot_percent = 100 }
  gateway  = { spot_percent = 100 }
}
