# The cheapest: one task each, on spot capacity, in public subnets without NAT or endpoints.
environment        = "dev"
network            = { cidr = "10.10.0.0/16", tasks = "public" }
log_retention_days = 7
log_level          = "debug"

services = {
  stats    = { spot_percent = 100 }
  frontend = { spot_percent = 100 }
  gateway  = { spot_percent = 100 }
}
