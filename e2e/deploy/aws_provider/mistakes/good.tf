resource "aws_ecs_cluster" "good" {
  name = "shop"
}

resource "aws_iam_policy" "good" {
  name   = "shop"
  policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }] })
}

# A data source has other requirements than the resource of its name.
data "aws_subnet" "good" {
  id = "subnet-1"
}

resource "aws_lb_listener" "good" {
  load_balancer_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/shop/0123456789abcdef"
  port              = 80
  protocol          = "HTTP"
  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}
