"""Monthly cost of an environment without traffic, from the resources of a Terraform plan.

Public list prices of us-east-1, in US dollars, as of November 2026; without taxes, discounts and
the free tier. Traffic, log lines, requests and Container Insights (some 10 dollars for three
services; previews have none) come on top and depend on use. Tasks that a schedule stops cost nothing meanwhile.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

HOURS = 730
WEEK = 7 * 24
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Fargate, an hour of one vCPU and of one GB.
FARGATE = {"ARM64": (0.03238, 0.00356), "X86_64": (0.04048, 0.004445)}
# Spot is sold at a changing price; 30 % of the list price is usual.
SPOT_SHARE = 0.3
LOAD_BALANCER = 0.0225 * HOURS
PUBLIC_ADDRESS = 0.005 * HOURS
INTERFACE_ENDPOINT = 0.01 * HOURS
ALARM = 0.10
# Application Auto Scaling makes one to scale out and one to scale in.
ALARMS_OF_A_POLICY = 2
DASHBOARD = 3.00
PRIVATE_ZONE = 0.50
FIREWALL, FIREWALL_RULE = 5.00, 1.00


@dataclass(frozen=True)
class Line:
    what: str
    count: float
    dollars: float


def lines(shown: dict) -> list[Line]:
    """Resources with a price, from the structure of `terraform show -json`."""
    every = list(resources(shown.get("values", {}).get("root_module", {})))

    def of(kind: str) -> list[dict]:
        return [one["values"] for one in every if one["type"] == kind]

    tasks = {one["family"]: one for one in of("aws_ecs_task_definition")}
    schedules: dict[str, list[dict]] = {}
    for one in of("aws_appautoscaling_scheduled_action"):
        schedules.setdefault(one["resource_id"].rsplit("/", 1)[-1], []).append(one)
    result = []
    public_tasks = 0.0
    for service in of("aws_ecs_service"):
        task = tasks[service["name"]]
        actions = schedules.get(service["name"], [])
        # A service that its schedule has just stopped starts again.
        count = max(
            service["desired_count"],
            *(int(one["scalable_target_action"][0]["min_capacity"] or 0) for one in actions),
            0,
        )
        hours = hours_a_week(actions)
        share = hours / WEEK
        some = f", {hours} of {WEEK} hours a week" if hours != WEEK else ""
        dollars = count * task_month({**service, "desired_count": count}, task) * share
        result.append(Line(f"{service['name']}: {task['cpu']} CPU, {task['memory']} MiB{some}", count, dollars))
        if service["network_configuration"][0]["assign_public_ip"]:
            public_tasks += count * share
    balancers, firewalls = len(of("aws_lb")), of("aws_wafv2_web_acl")
    subnets = [one["name"] for one in every if one["type"] == "aws_subnet"]
    # Addresses of endpoints are one a zone; before an apply their number is not known yet.
    endpoints = sum(one["vpc_endpoint_type"] == "Interface" for one in of("aws_vpc_endpoint")) * subnets.count(
        "private"
    )
    prices = {
        "load balancer": (balancers, LOAD_BALANCER),
        "public addresses": (public_tasks + balancers * (subnets.count("public") or 2), PUBLIC_ADDRESS),
        "VPC endpoints, a zone each": (endpoints, INTERFACE_ENDPOINT),
        "alarms": (
            len(of("aws_cloudwatch_metric_alarm")) + ALARMS_OF_A_POLICY * len(of("aws_appautoscaling_policy")),
            ALARM,
        ),
        "dashboard": (len(of("aws_cloudwatch_dashboard")), DASHBOARD),
        "private zone": (len(of("aws_service_discovery_private_dns_namespace")), PRIVATE_ZONE),
    }
    result += [Line(what, count, count * price) for what, (count, price) in prices.items()]
    rules = sum(len(one["rule"]) for one in firewalls)
    result.append(Line("firewall", len(firewalls), FIREWALL * len(firewalls) + FIREWALL_RULE * rules))
    return [line for line in result if line.count]


def hours_a_week(actions: list[dict]) -> int:
    """The hours in which a service runs, when some actions of a schedule stop it and others start it."""
    times = {}
    for one in actions:
        runs = one["scalable_target_action"][0]["max_capacity"] not in (0, "0")
        for hour in hours_of(one["schedule"]):
            times[hour] = runs
    if all(times.values()):
        return WEEK
    # The state at the week's begin is the one that its last action leaves.
    running, found = times[max(times)], 0
    for hour in range(WEEK):
        running = times.get(hour, running)
        found += running
    return found


def hours_of(schedule: str) -> list[int]:
    """The hours of a week, from Sunday on, at which a schedule such as `cron(0 7 ? * MON-FRI *)` acts."""
    match = re.fullmatch(r"cron\(0 (\d+) (?:\?|\*) \* ([A-Z,*?-]+) \*\)", schedule)
    if match is None:
        return []
    try:
        days = days_of(match[2])
    except ValueError:
        # Such as L, the last day.
        return []
    return [day * 24 + int(match[1]) for day in days]


def days_of(text: str) -> list[int]:
    if text in ("*", "?"):
        return list(range(7))
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found += [day % 7 for day in range(begin, end + (7 if end < begin else 0) + 1)]
    return found


def task_month(service: dict, task: dict) -> float:
    """One task, a month, at the service's mix of capacity."""
    processor, memory = FARGATE[task["runtime_platform"][0]["cpu_architecture"]]
    full = (float(task["cpu"]) / 1024 * processor + float(task["memory"]) / 1024 * memory) * HOURS
    weights = {one["capacity_provider"]: one["weight"] for one in service["capacity_provider_strategy"]}
    spot = weights.get("FARGATE_SPOT", 0) / (sum(weights.values()) or 1)
    # The first task of a mix is never on spot capacity.
    count = service["desired_count"]
    spot_tasks = count * spot if spot == 1 else max(count - 1, 0) * spot
    share = spot_tasks / count if count else 0
    return full * (1 - share + share * SPOT_SHARE)


def resources(module: dict) -> Iterator[dict]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources(child)


def table(found: list[Line]) -> str:
    width = max(len(line.what) for line in found)
    rows = [f"  {line.what:<{width}} {line.count:>5.4g} {line.dollars:>9.2f}" for line in found]
    total = sum(line.dollars for line in found)
    return "\n".join([*rows, f"  {'together, US dollars a month':<{width}} {'':>5} {total:>9.2f}"])
