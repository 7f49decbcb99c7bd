# Who reaches the previews, and where their tasks are: `public`, or `private` with endpoints in place of addresses, which
# is cheaper from eleven previews on (docs/deploy.md). tf/environments/preview/terraform.tfvars must agree on `tasks`.
network       = { cidr = "10.40.0.0/16", tasks = "public" }
ingress_cidrs = ["0.0.0.0/0"]
