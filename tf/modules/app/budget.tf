# Monthly budget of the application, by the tag of its resources. AWS counts a tag only after it was
# activated as a cost allocation tag in the account's billing settings.

resource "aws_budgets_budget" "this" {
  for_each = var.budget == null ? {} : { (var.name) = var.budget }

  name         = each.key
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(each.value.usd)
  limit_unit   = "USD"
  tags         = var.tags

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:%s$%s", each.value.tag, each.value.value)]
  }

  # When most of it is spent, and when the month's forecast exceeds it.
  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = sort(var.alarms.emails)
    }
  }
}
