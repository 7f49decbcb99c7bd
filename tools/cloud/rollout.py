"""Waiting until the tasks that run are those that were applied.

`terraform apply` is content as soon as ECS has taken note. What counts comes after: new tasks
start, become healthy and replace the old ones, or ECS rolls back to the version before. ECS's record of a deployment
has the result also where the task definition stays the same, such as after a change of the network.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Callable

from tools.cloud.aws import Aws, AwsError
from tools.common.progress import TargetError

# Start, three health checks, registration, the old tasks' 20 s of deregistration and 30 s to stop:
# about three
# minutes. The circuit breaker gives up after 3 to 10 failed tasks, each of some minutes. What ECS
# takes to shift traffic comes on top.
ROLLOUT_SECONDS = 1500
LOOK_EVERY_SECONDS = 5
# The old tasks still run, so that only rules of the load balancer change; then the new tasks get 50 s to stop.
RETURN_SECONDS = 600
LOG_LINES = 15
EVENT_LINES = 3
# ECS refuses more (DescribeServices, `services`).
SERVICES_IN_A_CALL = 10
# ECS has records of three months, and fails without a time where there is none (terraform-provider-aws issue 43445).
RECORD_DAYS = 80
# How ECS's record of a deployment ends (ServiceDeployment, `status`).
OVER = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")


class RolledBack(TargetError):
    """The applied version does not run; the message has the reason."""


@dataclass(frozen=True)
class Deployed:
    """The desired state: the outputs of an apply."""

    cluster: str
    services: dict[str, str]
    task_definitions: dict[str, str]
    replicas: dict[str, int]
    log_groups: dict[str, str]
    shift_minutes: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, outputs: dict) -> Deployed:
        names = ("cluster", "services", "task_definitions", "replicas", "log_groups")
        # A version from before it could shift has no such output.
        return cls(**{name: outputs[name] for name in names}, shift_minutes=outputs.get("shift_minutes", {}))

    @property
    def shift_seconds(self) -> float:
        return 60 * max(self.shift_minutes.values(), default=0)


def wait(
    aws: Aws,
    wanted: Deployed,
    say: Callable[[str], None],
    seconds: float = ROLLOUT_SECONDS,
    every: float = LOOK_EVERY_SECONDS,
    before: Collection[str] = (),
) -> None:
    """Return when every service runs what was applied; RolledBack when one does not, or not in time. `before` has the
    deployments that were over before the apply, whatever their result."""
    seconds += wanted.shift_seconds
    deadline = time.monotonic() + seconds
    last: dict[str, str] = {}
    while True:
        now = states(aws, wanted, before)
        for name, (text, _) in now.items():
            if last.get(name) != text:
                say(f"{name}: {text}")
                last[name] = text
        failed = [name for name, (_, verdict) in now.items() if verdict is False]
        if failed:
            why = "\n".join(reason(aws, wanted, name, now[name][0]) for name in failed)
            if shifted := [name for name in failed if wanted.shift_minutes.get(name)]:
                settle(aws, wanted, shifted, say, every)
            raise RolledBack(why)
        if all(verdict for _, verdict in now.values()):
            return
        if time.monotonic() > deadline:
            late = [name for name, (_, verdict) in now.items() if not verdict]
            raise RolledBack(
                "\n".join(reason(aws, wanted, name, f"not done after {seconds:.0f} s: {now[name][0]}") for name in late)
            )
        time.sleep(every)


def settle(aws: Aws, wanted: Deployed, names: list[str], say: Callable[[str], None], every: float) -> None:
    """Wait until ECS has brought all traffic back to the old tasks: a deployment before that would start from both."""
    deadline = time.monotonic() + RETURN_SECONDS
    while moving := [name for name, service in described(aws, wanted).items() if name in names and not still(service)]:
        if time.monotonic() > deadline:
            say(f"ECS has not brought the traffic of {', '.join(moving)} back after {RETURN_SECONDS} s")
            return
        time.sleep(every)


def still(service: dict) -> bool:
    """Whether one deployment has all tasks, and ECS changes nothing."""
    running = [one for one in service["deployments"] if one.get("runningCount")]
    return len(running) <= 1 and all(one.get("rolloutState") != "IN_PROGRESS" for one in service["deployments"])


def described(aws: Aws, wanted: Deployed) -> dict[str, dict]:
    """ECS's description of each service that exists, by our name for it."""
    names = {full: name for name, full in wanted.services.items()}
    every = list(names)
    found = []
    for first in range(0, len(every), SERVICES_IN_A_CALL):
        some = every[first : first + SERVICES_IN_A_CALL]
        found += aws.call("ecs", "describe_services", cluster=wanted.cluster, services=some)["services"]
    return {names[one["serviceName"]]: one for one in found if one["status"] != "INACTIVE"}


def over(aws: Aws, outputs: dict) -> set[str]:
    """The newest deployment of each service, where it is over: its result is not that of the next apply."""
    # After a first apply that broke off, some outputs are missing.
    if not outputs.get("cluster") or not outputs.get("services"):
        return set()
    wanted = Deployed(outputs["cluster"], outputs["services"], {}, {}, {})
    found = [newest(aws, wanted, name) for name in described(aws, wanted)]
    return {one["serviceDeploymentArn"] for one in found if one and one.get("status") in OVER}


def states(aws: Aws, wanted: Deployed, before: Collection[str] | None = None) -> dict[str, tuple[str, bool | None]]:
    """The state of each service; without `before`, a deployment that ECS took back is only reported."""
    found = described(aws, wanted)
    result = {}
    for name in wanted.services:
        text, done = state(found.get(name), wanted.task_definitions[name], wanted.replicas[name])
        result[name] = confirmed(text, newest(aws, wanted, name), before) if done else (text, done)
    return result


def confirmed(text: str, record: dict | None, before: Collection[str] | None) -> tuple[str, bool | None]:
    """The state of a service that looks done, by ECS's record of its newest deployment: tasks of the applied definition
    also run after ECS took back other settings of the service, and before it has shifted all traffic."""
    status = record.get("status", "") if record else "SUCCESSFUL"
    if record is None or status == "SUCCESSFUL" or record["serviceDeploymentArn"] in (before or ()):
        return text, True
    if status not in OVER:
        return f"{text}; ECS has not finished the deployment", None
    text += f"; ECS took the newest deployment back ({status}): {record.get('statusReason') or 'no reason from ECS'}"
    # Later, the settings from before may be those that were applied since.
    return text, before is None


def state(service: dict | None, wanted: str, replicas: int) -> tuple[str, bool | None]:
    """In words, and whether it is done: True, False for never, None for not yet."""
    if service is None:
        return "not there", None
    primary: dict = next((one for one in service["deployments"] if one["status"] == "PRIMARY"), {})
    # Of several with one definition, the newest.
    ours = next((one for one in (primary, *service["deployments"]) if one.get("taskDefinition") == wanted), None)
    if ours and ours.get("rolloutState") == "FAILED":
        return (f"{short(wanted)} failed: {ours.get('rolloutStateReason', 'no reason from ECS')}", False)
    if primary.get("taskDefinition") != wanted:
        # Terraform has made ours the primary one; ECS alone can have changed that since.
        return (
            f"ECS rolled back to {short(primary.get('taskDefinition', 'nothing'))}:"
            f" {primary.get('rolloutStateReason', 'no reason from ECS')}",
            False,
        )
    running, desired = primary.get("runningCount", 0), primary.get("desiredCount", 0)
    text = f"{short(wanted)}: {running} of {desired} tasks run"
    if primary.get("failedTasks"):
        text += f", {primary['failedTasks']} failed"
    others = sum(one.get("runningCount", 0) for one in service["deployments"] if one is not primary)
    done = primary.get("rolloutState", "COMPLETED") == "COMPLETED" and running == desired >= replicas and not others
    if others:
        text += f", {others} of the version before"
    if primary.get("rolloutState") == "COMPLETED" and desired < replicas:
        text += f"; {replicas} are the least, and the scaler has not raised it yet"
    return text, True if done else None


def reason(aws: Aws, wanted: Deployed, name: str, text: str) -> str:
    """Reasons for a failure from ECS and from the service."""
    lines = [f"{name}: {text}"]
    try:
        record = newest(aws, wanted, name)
        lines += [f"    {line}" for line in last_deployment(aws, record)]
        lines += [f"    ECS: {text}" for text in unplaced(described(aws, wanted).get(name, {}), record)]
        tasks = stopped(aws, wanted, name)
        for task in tasks[:3]:
            lines.append(f"    a task stopped: {task.get('stoppedReason', 'no reason given')}")
            for container in task.get("containers", []):
                code = container.get("exitCode")
                cause = container.get("reason", "")
                if code is not None or cause:
                    ended = f"exit code {code}" if code is not None else ""
                    lines.append(f"    container {container['name']}: {ended} {cause}".rstrip())
        for line in log(aws, wanted.log_groups[name], tasks[:1]):
            lines.append(f"    log: {line}")
    except AwsError as error:
        lines.append(f"    and why cannot be read: {error}")
    return "\n".join(lines)


def unplaced(service: dict, record: dict | None) -> list[str]:
    """Why tasks do not start or stay, such as no Spot capacity, which no stopped task has; the newest first, and
    none of another deployment."""
    events = service.get("events", [])
    ours = (one["message"] for one in events if record and one["createdAt"] >= record["createdAt"])
    found = (text for text in ours if "unable" in text or "unhealthy" in text)
    return list(dict.fromkeys(found))[:EVENT_LINES]


def last_deployment(aws: Aws, record: dict | None) -> list[str]:
    """The result of a deployment, and the alarms that ended it."""
    if record is None:
        return []
    arn = record["serviceDeploymentArn"]
    answer = aws.call("ecs", "describe_service_deployments", serviceDeploymentArns=[arn])
    lines = []
    for one in answer["serviceDeployments"]:
        lines += [f"alarm {alarm} was triggered" for alarm in one.get("alarms", {}).get("triggeredAlarmNames", [])]
        if one.get("statusReason"):
            lines.append(f"{one.get('status', 'no status')}: {one['statusReason']}")
    return lines


def newest(aws: Aws, wanted: Deployed, name: str) -> dict | None:
    """ECS's record of the newest deployment of a service; None after RECORD_DAYS without one. ECS has no order."""
    found: list[dict] = []
    after = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=RECORD_DAYS)
    # The maximum; the default is 20.
    more: dict[str, Any] = {"maxResults": 100, "createdAt": {"after": after}}
    while True:
        answer = aws.call(
            "ecs", "list_service_deployments", cluster=wanted.cluster, service=wanted.services[name], **more
        )
        found += answer["serviceDeployments"]
        if not answer.get("nextToken"):
            return max(found, key=lambda one: str(one.get("createdAt", "")), default=None)
        more["nextToken"] = answer["nextToken"]


def stopped(aws: Aws, wanted: Deployed, name: str) -> list[dict]:
    """The stopped tasks of what was applied, the newest first."""
    arns = aws.call(
        "ecs", "list_tasks", cluster=wanted.cluster, serviceName=wanted.services[name], desiredStatus="STOPPED"
    )["taskArns"]
    if not arns:
        return []
    tasks = aws.call("ecs", "describe_tasks", cluster=wanted.cluster, tasks=arns[:100])["tasks"]
    ours = [task for task in tasks if task["taskDefinitionArn"] == wanted.task_definitions[name]]
    return sorted(ours, key=lambda task: str(task.get("stoppedAt", "")), reverse=True)


def log(aws: Aws, group: str, tasks: list[dict]) -> list[str]:
    """The last lines of a stopped task."""
    for task in tasks:
        identity = task["taskArn"].rsplit("/", 1)[-1]
        container = task["containers"][0]["name"]
        stream = f"{container}/{container}/{identity}"
        events: list[dict] = []
        more: dict[str, Any] = {"limit": LOG_LINES, "startFromHead": False}
        # From the end; any page may be empty, and the first in the stream has its own token.
        while len(events) < LOG_LINES:
            page = aws.call("logs", "get_log_events", logGroupName=group, logStreamName=stream, **more)
            if page["nextBackwardToken"] == more.get("nextToken"):
                break
            events = page["events"] + events
            more["nextToken"] = page["nextBackwardToken"]
        return [event["message"].rstrip() for event in events[-LOG_LINES:]]
    return []


def short(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]
