"""`make run ENV=staging S=stats CMD="--version"`: one task of a service with another command, to its end.

It has the image, roles, settings, network and log group of the service, and is not part of it: no health check counts,
and neither the load balancer nor a name leads to it.
"""

import shlex
import time
from typing import Callable

from tools.cloud.aws import Aws
from tools.cloud.rollout import Deployed, described, log
from tools.common.environments import Refused
from tools.common.progress import Failed

# A migration may take a while; a job of a workflow ends after two hours.
RUN_SECONDS = 3600
LOOK_EVERY_SECONDS = 5
FARGATE = [{"capacityProvider": "FARGATE", "weight": 1}]


def run(
    aws: Aws,
    deployed: Deployed,
    name: str,
    command: str,
    say: Callable[[str], None],
    seconds: float = RUN_SECONDS,
    every: float = LOOK_EVERY_SECONDS,
) -> None:
    """Start the task, wait until it stops, print its last lines; Failed unless its exit code is 0."""
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise Refused(f"CMD is {command!r}: {error}") from None
    service = described(aws, deployed).get(name)
    if service is None:
        raise Failed(
            f"there is no service {deployed.services[name]} in the cluster: `make drift` lists what is missing"
        )
    started = aws.call(
        "ecs",
        "run_task",
        cluster=deployed.cluster,
        taskDefinition=deployed.task_definitions[name],
        capacityProviderStrategy=FARGATE,
        networkConfiguration=service["networkConfiguration"],
        overrides={"containerOverrides": [{"name": name, "command": arguments}]},
        startedBy="make run",
    )
    if started["failures"]:
        raise Failed(f"no task was started: {started['failures'][0].get('reason', 'no reason given')}")
    arn = started["tasks"][0]["taskArn"]
    say(f"{name} {command}: task {arn.rsplit('/', 1)[-1]}")
    try:
        task = stopped(aws, deployed.cluster, arn, seconds, every)
    except BaseException:
        # It must not go on when nothing waits for it any more.
        aws.call("ecs", "stop_task", cluster=deployed.cluster, task=arn, reason="make run ended")
        raise
    container = next(one for one in task["containers"] if one["name"] == name)
    ours = {**task, "containers": [container]}
    for line in log(aws, deployed.log_groups[name], [ours]):
        print(line, flush=True)
    code = container.get("exitCode")
    if code != 0:
        reason = container.get("reason") or task.get("stoppedReason") or "no reason given"
        raise Failed(f"{name} {command}: {'no exit code' if code is None else f'exit code {code}'} ({reason})")


def stopped(aws: Aws, cluster: str, arn: str, seconds: float, every: float) -> dict:
    deadline = time.monotonic() + seconds
    while True:
        # Right after its start ECS may not know it yet (RunTask, "eventual consistency model").
        for task in aws.call("ecs", "describe_tasks", cluster=cluster, tasks=[arn])["tasks"]:
            if task["lastStatus"] == "STOPPED":
                return task
        if time.monotonic() > deadline:
            raise Failed(f"the task still runs after {seconds:.0f} s and was stopped")
        time.sleep(every)
