# Two services that have nothing to do with this repository, for every test in this folder.
name         = "shop-test"
cluster_name = "shop"
kms_key_arn  = "arn:aws:kms:eu-west-1:123456789012:key/6f1c1b0e-0000-4000-8000-000000000000"
services = {
  web = {
    image              = "registry.example/shop/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    port               = 8000
    execution_role_arn = "arn:aws:iam::123456789012:role/web-execution"
    task_role_arn      = "arn:aws:iam::123456789012:role/web-task"
    health_check       = { command = ["CMD", "/web", "healthcheck"] }
    environment        = { GREETING = "hello" }
    secrets            = { TOKEN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:token" }
    calls              = ["cart"]
    public             = { priority = 10 }
    sidecars = {
      agent = { image = "registry.example/agent@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" }
    }
  }
  cart = {
    image              = "registry.example/shop/cart@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
    port               = 9000
    execution_role_arn = "arn:aws:iam::123456789012:role/cart-execution"
    task_role_arn      = "arn:aws:iam::123456789012:role/cart-task"
    health_check       = { command = ["CMD", "/cart", "healthcheck"] }
  }
}
