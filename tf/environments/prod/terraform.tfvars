# The safest: three zones, tasks without any route to the internet, two of each at least, a firewall, and nothing
# that can be destroyed by mistake. Set `https` before anybody relies on it, and `alarms.emails` for who is on call.
environment        = "prod"
network            = { cidr = "10.30.0.0/16", zones = 3, tasks = "private", flow_logs = true }
log_retention_days = 90
access_logs        = { days = 90 }
waf                = { requests_per_5_minutes = 3000 }
protect            = true

services = {
  stats    = { replicas = 2 }
  frontend = { autoscaling = { minimum = 2, maximum = 6, cpu_percent = 60 } }
  gateway = {
    cpu         = 512
    memory      = 1024
    autoscaling = { minimum = 2, maximum = 10, cpu_percent = 60, memory_percent = 75, requests_per_target = 2000 }
  }
}
