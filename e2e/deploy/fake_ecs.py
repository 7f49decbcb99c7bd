"""ECS for an applied plan: the tasks of services as processes.

moto has ECS without this part: its tasks are entries that no program runs behind, a service is complete as soon as it
is created, and there are no deployments that fail, shift traffic or are rolled back.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
import uuid
from typing import TYPE_CHECKING

from tools.common import catalog

if TYPE_CHECKING:
    from fake_aws import Environment

# ECS gives up after three tasks that do not live.
FAILED_TASKS = 3
HEALTHY_SECONDS = 15
# A minute of the shifts of traffic and of the alarms.
MINUTE_SECONDS = 1.0
LISTEN = {name: service.listen_setting for name, service in catalog.ALL.items()}


class Relay:
    """An address that leads to whatever task is current: the load balancer, or a name of Cloud Map."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.targets: list[tuple[str, int]] = []
        # The tasks that traffic is shifted to, and how much of it.
        self.shifted_targets: list[tuple[str, int]] = []
        self.percent = 0
        self.turn = 0
        # When 5xx were answered; there is one answer for each connection in most tests.
        self.errors: list[float] = []
        self.socket = socket.create_server(address)
        self.address = self.socket.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client: socket.socket) -> None:
        self.turn += 1
        # Spread evenly: with 10 percent, each tenth connection.
        shifted = self.turn * self.percent % 100 < self.percent
        targets = list(self.shifted_targets if shifted else self.targets)
        try:
            if not targets:
                client.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                client.close()
                return
            target = socket.create_connection(targets[self.turn % len(targets)], timeout=5)
            target.settimeout(None)
        except OSError:
            client.close()
            return
        threading.Thread(target=pour, args=(client, target), daemon=True).start()
        pour(target, client, self.errors)

    def errors_between(self, start: float, end: float) -> int:
        return sum(start <= at < end for at in list(self.errors))

    def close(self) -> None:
        self.socket.close()


def pour(source: socket.socket, goal: socket.socket, errors: list[float] | None = None) -> None:
    try:
        while part := source.recv(65536):
            if errors is not None and part.startswith(b"HTTP/1.1 5"):
                errors.append(time.monotonic())
            goal.sendall(part)
    except OSError:
        pass
    for end in (source, goal):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Task:
    """One container of a task definition, as a process with an address of its own."""

    def __init__(self, aws: Environment, definition: dict, address: str, command: tuple = ()) -> None:
        container = json.loads(definition["container_definitions"])[0]
        self.name = container["name"]
        self.definition = definition["arn"]
        self.identity = uuid.uuid4().hex
        self.arn = f"{definition['arn'].split(':task-definition')[0]}:task/{self.identity}"
        self.address = (address, container["portMappings"][0]["containerPort"])
        self.check = container["healthCheck"]["command"][2:]
        self.program = aws.program(container["image"], self.name)
        self.environment = {pair["name"]: aws.resolved(pair["value"]) for pair in container["environment"]}
        self.environment[LISTEN[self.name]] = f"{self.address[0]}:{self.address[1]}"
        if self.name != "gateway":
            # On ECS it does not listen on loopback, and answers any name.
            self.environment[f"{self.name.upper()}_HOSTS"] = "*"
        self.process = subprocess.Popen(
            [self.program, *command],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        options = container["logConfiguration"]["options"]
        stream = f"{options['awslogs-stream-prefix']}/{self.name}/{self.identity}"
        self.log = threading.Thread(
            target=aws.account.log, args=(options["awslogs-group"], stream, self.process.stdout), daemon=True
        )
        self.log.start()
        self.begun = time.monotonic()
        self.stopped_at = 0.0
        self.reason = ""

    def verdict(self) -> bool | None:
        """Healthy, never going to be, or not yet."""
        if self.process.poll() is not None:
            self.reason = "Essential container in task exited"
            return False
        done = subprocess.run(
            [self.program, *self.check],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
        )
        if done.returncode == 0:
            return True
        if time.monotonic() - self.begun > HEALTHY_SECONDS:
            self.reason = "Task failed container health checks"
            return False
        return None

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.join(timeout=5)
        self.stopped_at = time.time()
        self.reason = self.reason or "Scaling activity initiated by deployment"

    def described(self) -> dict:
        code = self.process.poll()
        return {
            "taskArn": self.arn,
            "taskDefinitionArn": self.definition,
            "lastStatus": "RUNNING" if code is None else "STOPPED",
            "stoppedReason": self.reason,
            "stoppedAt": self.stopped_at,
            "containers": [{"name": self.name, **({} if code is None else {"exitCode": code})}],
        }


class Service:
    """Deployments of one service: what runs, what comes, and what has failed."""

    def __init__(self, aws: Environment, full_name: str) -> None:
        self.aws = aws
        self.full_name = full_name
        self.current: dict | None = None
        self.expected_arn = ""
        self.coming: dict | None = None
        self.given_up: dict | None = None
        self.tasks: list[Task] = []
        self.new: list[Task] = []
        self.stopped: list[Task] = []
        self.failed = 0
        self.count = 1
        self.relay: Relay | None = None
        # What is left of a shift of traffic: percent, and for how many minutes; the end of the first of them.
        self.stages: list[tuple[int, float]] = []
        self.stage_ends = 0.0
        self.alarms: list[str] = []
        self.fired: list[str] = []

    def expect(self, definition: dict, service: dict) -> None:
        self.count = 0 if self.aws.asleep else int(service["desired_count"])
        if definition["arn"] != self.expected_arn:
            self.expected_arn = definition["arn"]
            self.failed, self.given_up, self.fired = 0, None, []
            self._back()
            self.coming = None if self.current and definition["arn"] == self.current["arn"] else definition
            self.stages, self.stage_ends = stages(service) if self.current else [], 0.0
            names = service["alarms"][0]["alarm_names"] if service["alarms"] else []
            # ECS ignores an alarm that fires already: the deployment may be the way out.
            self.alarms = [name for name in names if name not in self.aws.firing(names)]

    def tick(self) -> None:
        if self.coming is None:
            self._scale()
            return
        while len(self.new) < self.count:
            self.new.append(Task(self.aws, self.coming, self.aws.address()))
        verdicts = [task.verdict() for task in self.new]
        if False in verdicts:
            broken = [task for task, verdict in zip(self.new, verdicts) if verdict is False]
            self._drop(broken)
            self.new = [task for task in self.new if task not in broken]
            self.failed += len(broken)
            if self.failed >= FAILED_TASKS:
                self._give_up()
        elif all(verdicts) and not self._shifting():
            old, self.tasks, self.new = self.tasks, self.new, []
            self.current, self.coming = self.coming, None
            if self.relay is None:
                self.relay = self.aws.relay(self.tasks[0])
            self.relay.targets, self.relay.percent = [task.address for task in self.tasks], 0
            self._drop(old)

    def _scale(self) -> None:
        """As many tasks of the current version as there should be."""
        if self.current and len(self.tasks) != self.count:
            self._drop(self.tasks[self.count :])
            del self.tasks[self.count :]
            while len(self.tasks) < self.count:
                self.tasks.append(Task(self.aws, self.current, self.aws.address()))
            self.relay.targets = [task.address for task in self.tasks]

    def _shifting(self) -> bool:
        """Go on with the shift of traffic; whether it is not over."""
        self.fired = self.aws.firing(self.alarms)
        if self.fired:
            self._give_up()
        now = time.monotonic()
        while self.stages and now >= self.stage_ends:
            if self.stage_ends:
                self.stages.pop(0)
            if self.stages:
                percent, minutes = self.stages[0]
                self.relay.shifted_targets, self.relay.percent = [task.address for task in self.new], percent
                self.stage_ends = now + minutes * MINUTE_SECONDS
        return bool(self.stages) or self.coming is None

    def _give_up(self) -> None:
        self._back()
        self.given_up, self.coming = self.coming, None

    def _back(self) -> None:
        """All traffic on the old tasks, and the new ones stopped."""
        self.stages = []
        if self.relay:
            self.relay.percent = 0
        self._drop(self.new)
        self.new = []

    def _drop(self, tasks: list[Task]) -> None:
        for task in tasks:
            task.stop()
            self.stopped.append(task)

    def end(self) -> None:
        self._drop([*self.tasks, *self.new])
        self.tasks = self.new = []
        if self.relay:
            self.relay.close()

    def described(self) -> dict:
        entries = []
        if self.coming:
            entries.append((self.coming, "IN_PROGRESS", "in progress", self.new))
        elif self.given_up and not self.current:
            entries.append((self.given_up, "FAILED", "ECS deployment circuit breaker: tasks failed to start.", []))
        if self.current:
            broken = self.given_up and not self.fired
            reason = f"{'circuit breaker: rolling back to the last completed deployment' if broken else 'completed'}."
            entries.append((self.current, "COMPLETED", f"ECS deployment {reason}", self.tasks))
        deployments = [
            {
                "status": "ACTIVE" if number else "PRIMARY",
                "taskDefinition": definition["arn"],
                "rolloutState": state,
                "rolloutStateReason": reason,
                "runningCount": len(tasks),
                "desiredCount": self.count,
                "failedTasks": self.failed if state != "COMPLETED" else 0,
            }
            for number, (definition, state, reason, tasks) in enumerate(entries)
        ]
        network = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}
        named = {"serviceName": self.full_name, "status": "ACTIVE"}
        return {**named, "deployments": deployments, "networkConfiguration": network}


def stages(service: dict) -> list[tuple[int, float]]:
    """The steps of a shift of traffic; none for a service whose tasks are replaced."""
    (how,) = service["deployment_configuration"]
    bake = (100, float(how["bake_time_in_minutes"] or 0))
    for canary in how["canary_configuration"]:
        first = (int(canary["canary_percent"]), float(canary["canary_bake_time_in_minutes"]))
        return [first, bake]
    for linear in how["linear_configuration"]:
        step, minutes = int(linear["step_percent"]), float(linear["step_bake_time_in_minutes"])
        return [*((percent, minutes) for percent in range(step, 100, step)), bake]
    return [bake] if how["strategy"] == "BLUE_GREEN" else []
