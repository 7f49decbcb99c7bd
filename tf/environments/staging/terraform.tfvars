# Like prod in shape, smaller: public subnets, half of the tasks on spot capacity.
environment        = "staging"
network            = { cidr = "10.20.0.0/16", tasks = "public" }
log_retention_days = 14
access_logs        = { days = 14 }

services = {
  stats    = { spot_percent = 50 }
  frontend = { replicas = 2, spot_percent = 50 }
  gateway  = { replicas = 2, spot_percent = 50 }
}
