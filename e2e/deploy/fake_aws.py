"""A fake of AWS for an applied plan: it runs the tasks of ECS services as
processes.

It reads the state that Terraform has written, takes the images that were pushed out of the
registry, starts what is in them with the settings of the task definition, asks their health
checks, replaces old tasks by new ones, and rolls back when the new ones fail. It answers the
few calls to ECS, ECR and CloudWatch Logs of the make targets.
"""

from __future__ import annotations

import base64
import io
import json
import platform
import re
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.common import catalog  # noqa: E402
from tools.supply.oci import Registry  # noqa: E402

# Terraform's name of this machine's architecture; of a multi-platform image, this one runs here.
HERE = {"aarch64": "ARM64", "arm64": "ARM64"}.get(platform.machine(), "X86_64")

# ECS gives up after three tasks that do not live.
FAILED_TASKS = 3
HEALTHY_SECONDS = 15
TICK_SECONDS = 0.2
LISTEN = {name: service.listen_setting for name, service in catalog.ALL.items()}


class Relay:
    """An address that leads to whatever task is current: the load balancer, or a name of Cloud Map."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.targets: list[tuple[str, int]] = []
        self.turn = 0
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
        targets = list(self.targets)
        self.turn += 1
        try:
            if not targets:
                client.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                )
                client.close()
                return
            target = socket.create_connection(targets[self.turn % len(targets)], timeout=5)
            target.settimeout(None)
        except OSError:
            client.close()
            return
        threading.Thread(target=pour, args=(client, target), daemon=True).start()
        pour(target, client)

    def close(self) -> None:
        self.socket.close()


def pour(source: socket.socket, goal: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            goal.sendall(part)
    except OSError:
        pass
    for end in (source, goal):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Task:
    """One container of a task definition, as a process with an address of its own."""

    def __init__(
        self, aws: FakeAws, service: str, definition: dict, address: str, command: tuple = ()
    ) -> None:
        container = json.loads(definition["container_definitions"])[0]
        self.name = container["name"]
        self.definition = definition["arn"]
        self.identity = uuid.uuid4().hex
        self.arn = f"{definition['arn'].split(':task-definition')[0]}:task/{self.identity}"
        self.address = (address, container["portMappings"][0]["containerPort"])
        self.check = container["healthCheck"]["command"][2:]
        self.program = aws.program(container["image"], self.name)
        self.environment = {
            pair["name"]: aws.resolved(pair["value"]) for pair in container["environment"]
        }
        self.environment[LISTEN[self.name]] = f"{self.address[0]}:{self.address[1]}"
        if self.name != "gateway":
            # On ECS it does not listen on loopback, and answers any name.
            self.environment[f"{self.name.upper()}_HOSTS"] = "*"
        self.log = aws.folder / f"{self.identity}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.program, *command],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
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

    def __init__(self, aws: FakeAws, full_name: str) -> None:
        self.aws = aws
        self.full_name = full_name
        self.current: dict | None = None
        self.wanted_arn = ""
        self.coming: dict | None = None
        self.given_up = ""
        self.tasks: list[Task] = []
        self.new: list[Task] = []
        self.stopped: list[Task] = []
        self.failed = 0
        self.count = 1
        self.relay: Relay | None = None

    def want(self, definition: dict, count: int) -> None:
        self.count = count
        if definition["arn"] != self.wanted_arn:
            self.wanted_arn = definition["arn"]
            self.failed, self.given_up = 0, ""
            self._drop(self.new)
            self.new = []
            self.coming = (
                None if self.current and definition["arn"] == self.current["arn"] else definition
            )

    def tick(self) -> None:
        if self.coming is None:
            return
        while len(self.new) < self.count:
            self.new.append(Task(self.aws, self.full_name, self.coming, self.aws.address()))
        verdicts = [task.verdict() for task in self.new]
        if False in verdicts:
            broken = [task for task, verdict in zip(self.new, verdicts) if verdict is False]
            self._drop(broken)
            self.new = [task for task in self.new if task not in broken]
            self.failed += len(broken)
            if self.failed >= FAILED_TASKS:
                self._drop(self.new)
                self.new = []
                self.given_up, self.coming = self.coming["arn"], None
        elif all(verdicts):
            old, self.tasks, self.new = self.tasks, self.new, []
            self.current, self.coming = self.coming, None
            if self.relay is None:
                self.relay = self.aws.relay(self.tasks[0])
            self.relay.targets = [task.address for task in self.tasks]
            self._drop(old)

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
        deployments = []
        if self.current:
            reason = (
                "ECS deployment circuit breaker: rolling back to the last completed deployment."
                if self.given_up
                else "ECS deployment completed."
            )
            deployments.append(
                self._deployment(
                    self.current["arn"],
                    "COMPLETED",
                    reason,
                    len(self.tasks),
                    "ACTIVE" if self.coming else "PRIMARY",
                )
            )
        if self.coming:
            deployments.insert(
                0, self._deployment(self.coming["arn"], "IN_PROGRESS", "in progress", 0, "PRIMARY")
            )
        if self.given_up and not self.current:
            deployments.insert(
                0,
                self._deployment(
                    self.given_up,
                    "FAILED",
                    "ECS deployment circuit breaker: tasks failed to start.",
                    0,
                    "PRIMARY",
                ),
            )
        network = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}
        return {
            "serviceName": self.full_name,
            "status": "ACTIVE",
            "deployments": deployments,
            "networkConfiguration": network,
        }

    def _deployment(self, arn: str, state: str, reason: str, running: int, status: str) -> dict:
        return {
            "status": status,
            "taskDefinition": arn,
            "rolloutState": state,
            "rolloutStateReason": reason,
            "runningCount": running,
            "desiredCount": self.count,
            "failedTasks": self.failed if state != "COMPLETED" else 0,
        }


class Refusal(Exception):
    """The error of a rejected call: its code, and the reason."""


class FakeAws:
    def __init__(
        self,
        folder: Path,
        s3: str,
        bucket: str,
        key: str,
        registry: str,
        local_state: Path,
        network: str,
    ) -> None:
        self.folder, self.s3, self.bucket, self.key, self.registry = (
            folder,
            s3,
            bucket,
            key,
            registry,
        )
        self.local_state = local_state
        self.network = network
        self.services: dict[str, Service] = {}
        self.balancer = Relay(("127.0.0.1", 0))
        self.names = {name: f"{network}.0.{number}" for number, name in enumerate(LISTEN, 1)}
        self.used = 0
        self.lock = threading.Lock()
        # A state that was read earlier must not be applied later.
        self.reconciling = threading.Lock()
        self.trouble: list[str] = []
        # Resources with the environment's tags that are not in the state.
        self.tagged: list[str] = []
        self.single: list[Task] = []
        self.ended = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        threading.Thread(target=self._live, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.balancer.address[1]}"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def variables(self) -> dict[str, str]:
        """Variables that direct boto3 to this fake."""
        services = ("ECS", "ECR", "CLOUDWATCH_LOGS", "RESOURCE_GROUPS_TAGGING_API")
        return {f"AWS_ENDPOINT_URL_{service}": self.endpoint for service in services}

    def address(self) -> str:
        self.used += 1
        return f"{self.network}.{1 + self.used // 250}.{1 + self.used % 250}"

    def relay(self, task: Task) -> Relay:
        return (
            self.balancer
            if task.name == "gateway"
            else Relay((self.names[task.name], task.address[1]))
        )

    def resolved(self, value: str) -> str:
        """Replaces a name by the addresses of Cloud Map."""
        for name, address in self.names.items():
            value = re.sub(rf"\b{name}\.[a-z0-9.-]+\.internal\b", address, value)
        return value

    def program(self, image: str, name: str) -> str:
        """The one file of an image, fetched by its digest."""
        repository, _, digest = image.partition("@")
        path = self.folder / digest.replace(":", "-") / name
        if not path.exists():
            registry = Registry(repository)
            layer = registry.blob(registry.manifest(digest, HERE)["layers"][0]["digest"])
            with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
                content = archive.extractfile(name).read()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755)
        return str(path)

    def _live(self) -> None:
        while not self.ended:
            try:
                self._make_bucket()
                self._reconcile()
            except Exception as error:  # Reported by the rehearsal, which would wait without effect otherwise.
                self.trouble.append(f"{type(error).__name__}: {error}")
            time.sleep(TICK_SECONDS)

    def _make_bucket(self) -> None:
        """A bucket that Terraform believes to have made becomes a real one of the fake."""
        if self.local_state.exists() and '"aws_s3_bucket"' in self.local_state.read_text(
            encoding="utf-8"
        ):
            self.ask("PUT", self.bucket)

    def _reconcile(self) -> None:
        with self.reconciling:
            self._follow_state()

    def _follow_state(self) -> None:
        text = self.state()
        state = json.loads(text) if text else {"resources": []}
        found = {}
        for resource in state["resources"]:
            for instance in resource["instances"]:
                found.setdefault(resource["type"], []).append(instance["attributes"])
        definitions = {one["arn"]: one for one in found.get("aws_ecs_task_definition", [])}
        wanted = {one["name"]: one for one in found.get("aws_ecs_service", [])}
        with self.lock:
            for name, one in wanted.items():
                if one["task_definition"] in definitions:
                    self.services.setdefault(name, Service(self, name)).want(
                        definitions[one["task_definition"]], int(one["desired_count"])
                    )
            for name in set(self.services) - set(wanted):
                self.services.pop(name).end()
            for service in self.services.values():
                service.tick()

    def state(self) -> str:
        """Terraform's state of the environment; empty before the first apply."""
        return self.ask("GET", f"{self.bucket}/{self.key}")

    def ask(self, method: str, path: str, body: str | None = None) -> str:
        # moto requires a signature, and does not check it.
        signed = "AWS4-HMAC-SHA256 Credential=rehearsal/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        request = urllib.request.Request(
            f"{self.s3}/{path}",
            data=None if body is None else body.encode(),
            method=method,
            # Otherwise it would be a form, which moto reads as one.
            headers={"authorization": signed, "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            # Not there yet, or there already.
            if error.code in (404, 409):
                return ""
            raise

    def end(self) -> None:
        self.ended = True
        with self.lock:
            for service in self.services.values():
                service.end()
        self.server.shutdown()

    # Calls of the make targets.

    def DescribeServices(self, asked: dict) -> dict:
        # Applied changes are visible at once, as in ECS.
        self._reconcile()
        with self.lock:
            return {
                "services": [
                    self.services[name].described()
                    for name in asked["services"]
                    if name in self.services
                ],
                "failures": [],
            }

    def ListTasks(self, asked: dict) -> dict:
        with self.lock:
            return {"taskArns": [task.arn for task in self.services[asked["serviceName"]].stopped]}

    def DescribeTasks(self, asked: dict) -> dict:
        with self.lock:
            stopped = [task for service in self.services.values() for task in service.stopped]
            every = [*stopped, *self.single]
            return {"tasks": [task.described() for task in every if task.arn in asked["tasks"]]}

    def RunTask(self, asked: dict) -> dict:
        (override,) = asked["overrides"]["containerOverrides"]
        with self.lock:
            found = [one.current for one in self.services.values() if one.current]
            definition = next(one for one in found if one["arn"] == asked["taskDefinition"])
            task = Task(self, override["name"], definition, self.address(), override["command"])
            self.single.append(task)
        return {"tasks": [{"taskArn": task.arn}], "failures": []}

    def FilterLogEvents(self, asked: dict) -> dict:
        if "logStreamNames" in asked:
            tasks = [name.rsplit("/", 1)[-1] for name in asked["logStreamNames"]]
        else:
            service = asked["logGroupName"].rsplit("/", 1)[-1]
            with self.lock:
                every = list(self.services.values())
            found = [task for one in every for task in (*one.tasks, *one.new, *one.stopped)]
            tasks = [task.identity for task in found if task.name == service]
        events = []
        for task in tasks:
            text = (self.folder / f"{task}.log").read_text(encoding="utf-8", errors="replace")
            for number, line in enumerate(text.splitlines()):
                at = int(time.time() * 1000)
                events.append({"eventId": f"{task}-{number}", "message": line, "timestamp": at})
        return {"events": events}

    def DescribeRepositories(self, asked: dict) -> dict:
        return {
            "repositories": [
                {"repositoryName": name, "repositoryUri": f"{self.registry}/{name}"}
                for name in asked["repositoryNames"]
            ]
        }

    def GetResources(self, _asked: dict) -> dict:
        return {"ResourceTagMappingList": [{"ResourceARN": one} for one in self.tagged]}

    def DescribeImages(self, asked: dict) -> dict:
        tag = asked["imageIds"][0]["imageTag"]
        found = Registry(f"{self.registry}/{asked['repositoryName']}").digest_of(tag)
        if found is None:
            raise Refusal("ImageNotFoundException", f"there is no {tag}")
        return {"imageDetails": [{"imageDigest": found}]}

    def BatchGetImage(self, asked: dict) -> dict:
        digest = asked["imageIds"][0]["imageDigest"]
        found = Registry(f"{self.registry}/{asked['repositoryName']}").exactly(digest)
        return {"images": [{"imageManifest": json.dumps(found)}]}

    def GetAuthorizationToken(self, _asked: dict) -> dict:
        return {
            "authorizationData": [
                {"authorizationToken": base64.b64encode(b"AWS:rehearsal").decode()}
            ]
        }


CALLS = (
    "DescribeServices",
    "ListTasks",
    "DescribeTasks",
    "RunTask",
    "FilterLogEvents",
    "DescribeImages",
    "GetResources",
    "DescribeRepositories",
    "BatchGetImage",
    "GetAuthorizationToken",
)


def handler(aws: FakeAws) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            call = self.headers.get("x-amz-target", "").rpartition(".")[2]
            try:
                if call not in CALLS:
                    raise Refusal("UnknownOperationException", f"the fake does not know {call}")
                status, answer = 200, getattr(aws, call)(json.loads(body))
            except Refusal as refusal:
                code, message = refusal.args
                status, answer = 400, {"__type": code, "message": message}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/x-amz-json-1.1")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments) -> None:
            pass

    return Handler
