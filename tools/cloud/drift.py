"""`make drift ENV=NAME`: what differs from the code that was deployed, and what belongs to no state.

The first comes from a plan with the images that run, of tf/ as it was at the deployed commit. The second are resources
that carry the tags of the environment and are in no state, such as what a broken-off run has left.
"""

import re
from collections.abc import Iterator

from tools.cloud.aws import Aws, AwsError
from tools.common.environments import APPLICATION

# ECS copies the tags of a service to these, and Terraform does not manage them. Old revisions of task definitions
# stay, so that ECS can roll back to them.
NOT_MANAGED = re.compile(
    r"arn:[^:]+:(ecs:[^:]+:[^:]+:(task|task-definition|service-deployment|service-revision)/|ec2:[^:]+:[^:]+:network-interface/)"
)

SCHEDULE = "aws_appautoscaling_scheduled_action"


def tagged(aws: Aws, environment: str) -> list[str]:
    """The ARNs of everything that carries the tags of tf/providers.tf for this environment."""
    filters = [{"Key": "application", "Values": [APPLICATION]}, {"Key": "environment", "Values": [environment]}]
    pages = aws.pages("resourcegroupstaggingapi", "get_resources", TagFilters=filters)
    return [one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]]


def arns(value: object) -> Iterator[str]:
    """Every ARN anywhere in a state."""
    if isinstance(value, dict):
        for one in value.values():
            yield from arns(one)
    elif isinstance(value, list):
        for one in value:
            yield from arns(one)
    elif isinstance(value, str) and value.startswith("arn:"):
        yield value


def stateless(found: list[str], state: dict) -> list[str]:
    """The resources that are in no state. Some ARNs end in `:*` in one place and not in the other."""
    known = {one.removesuffix(":*") for one in arns(state)}
    return sorted(one for one in found if one.removesuffix(":*") not in known and not NOT_MANAGED.match(one))


def there(aws: Aws, arn: str) -> bool:
    """Whether a resource exists: the index of tags lists those of a load balancer for some time after their end."""
    if ":elasticloadbalancing:" not in arn:
        return True
    try:
        aws.call("elbv2", "describe_tags", ResourceArns=[arn])
    except AwsError as error:
        return not error.code.endswith("NotFound")
    return True


def differences(plan: dict) -> list[str]:
    """Changes of a plan: addresses and attributes, no values. Terraform's own list of drift is left out: it has
    every attribute that AWS fills in, and those that the code ignores, such as the number of tasks."""
    changes = plan.get("resource_changes", [])
    scheduled = {one["change"]["after"]["resource_id"] for one in changes if kept(one, SCHEDULE)}
    return sorted(
        f"{one['address']} differs from the code: {what(one['change'])}"
        for one in changes
        if one["change"]["actions"] not in (["no-op"], ["read"]) and not by_schedule(one, scheduled)
    )


def kept(one: dict, kind: str) -> bool:
    return one.get("type") == kind and one["change"].get("after") is not None


def by_schedule(one: dict, scheduled: set[str]) -> bool:
    """Whether only a schedule has made the difference: it sets the limits of a service until the next one does."""
    if not kept(one, "aws_appautoscaling_target") or one["change"]["after"]["resource_id"] not in scheduled:
        return False
    return set(what(one["change"]).split(", ")) <= {"max_capacity", "min_capacity"}


def what(change: dict) -> str:
    if change["actions"] == ["create"]:
        return "it is missing"
    if change["actions"] == ["delete"]:
        return "it is not in the code"
    before, after = change.get("before") or {}, change.get("after") or {}
    unknown = change.get("after_unknown") or {}
    names = [
        name for name in sorted({*before, *after}) if before.get(name) != after.get(name) and not unknown.get(name)
    ]
    return ", ".join(names) or "it would be replaced"


def report(name: str, differing: list[str], without: list[str]) -> str:
    """Both lists as Markdown."""
    if not differing and not without:
        return f"**Drift of {name}**: none"
    lines = [f"**Drift of {name}**: {len(differing)} differences, {len(without)} resources in no state", "", "```"]
    return "\n".join([*lines, *differing, *(f"{one} is in no state" for one in without), "```"])
