"""A fake of AWS: moto's server in this process, and what it lacks.

moto answers S3, STS, IAM, CloudWatch Logs, the Resource Groups Tagging API and ECR's sign-in. The answers of these
calls are our own, and botocore's models validate each of them:

- ECS (services, service deployments, tasks): moto runs no containers and has no deployments; see fake_ecs.py.
- ECR (DescribeRepositories): a real registry has the images, and moto's repositories have AWS's address.
- DescribeScalableTargets: moto accepts targets of its own ECS services only, and carries out no schedule.

Resources of Terraform are not in moto: the provider of aws_provider/ makes them up, and the state has them.
`Environment` reads that state, runs what it describes, and creates its log groups in moto.
"""

from __future__ import annotations

import io
import json
import logging
import platform
import re
import sys
import tarfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import camelcase_to_underscores, get_service_model
from moto.ecr.responses import ECRResponse
from moto.ecs.exceptions import ServiceNotFoundException
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.logs.models import logs_backends
from moto.server import ThreadedMotoServer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fake_ecs import LISTEN, MINUTE_SECONDS, Relay, Service, Task

from tools.supply.oci import Registry

ACCOUNT = "123456789012"
REGION = "us-east-1"
# Terraform's name of this machine's architecture; of a multi-platform image, this one runs here.
HERE = {"aarch64": "ARM64", "arm64": "ARM64"}.get(platform.machine(), "X86_64")
TICK_SECONDS = 0.2
CALLER = re.compile(r"Credential=([^/]+)/")
OWN = {
    EC2ContainerServiceResponse: (
        *("DescribeServices", "ListServiceDeployments", "DescribeServiceDeployments"),
        *("ListTasks", "DescribeTasks", "RunTask"),
    ),
    ECRResponse: ("DescribeRepositories",),
    ApplicationAutoScalingResponse: ("DescribeScalableTargets",),
}


class Account:
    """The account: moto's server with our own answers, and a record of the calls."""

    def __init__(self, registry: str) -> None:
        self.registry = registry
        self.environments: list[Environment] = []
        self.trouble: list[str] = []
        # Caller, service and action.
        self.calls: set[tuple[str, str, str]] = set()
        self.logs = logs_backends[ACCOUNT][REGION]
        self._record()
        for kind, calls in OWN.items():
            for call in calls:
                setattr(kind, camelcase_to_underscores(call), self._answering(call))
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.server.start()
        self.url = "http://{}:{}".format(*self.server.get_host_and_port())

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
        )

    def _record(self) -> None:
        answer = BaseResponse.call_action

        def recorded(response: BaseResponse) -> Any:
            caller = CALLER.search(response.headers.get("Authorization", ""))
            action = (response.service_name, response._get_action())
            self.calls.add((caller[1] if caller else "", *action))
            return answer(response)

        BaseResponse.call_action = recorded

    def _answering(self, call: str) -> Any:
        def answer(response: BaseResponse) -> ActionResult:
            found = getattr(self, call)(json.loads(response.body))
            model = get_service_model(response.boto3_service_name).operation_model(call)
            report = ParamValidator().validate(found, model.output_shape)
            if report.has_errors():
                self.trouble.append(f"{call}: {report.generate_report()}")
            return ActionResult(found)

        return answer

    def log(self, group: str, stream: str, lines: Iterable[bytes]) -> None:
        """Pass the output of a task on to CloudWatch Logs until it ends, as the driver awslogs does."""
        self.log_group(group)
        self.logs.ensure_log_stream(group, stream)
        for line in lines:
            event = {"timestamp": int(time.time() * 1000), "message": line.decode(errors="replace").rstrip("\n")}
            self.logs.put_log_events(group, stream, [event])

    def log_group(self, name: str) -> None:
        if name not in self.logs.groups:
            self.logs.create_log_group(name, {})

    def owner(self, service: str) -> Environment:
        """The environment of a service, by the service's name."""
        for environment in self.environments:
            if service.startswith(f"system-stats-{environment.name}-"):
                return environment
        raise ServiceNotFoundException

    def end(self) -> None:
        for environment in self.environments:
            environment.end()
        self.server.stop()

    # Answers to calls of the make targets.

    def DescribeServices(self, request: dict) -> dict:
        # Applied changes are visible at once, as in ECS.
        for environment in {self.owner(name) for name in request["services"]}:
            environment.reconcile()
        found = [self.owner(name).described(name) for name in request["services"]]
        return {"services": [description for description in found if description], "failures": []}

    def ListServiceDeployments(self, request: dict) -> dict:
        name = request["service"]
        service = self.owner(name).services[name]
        status = "IN_PROGRESS" if service.coming else "ROLLBACK_SUCCESSFUL" if service.given_up else "SUCCESSFUL"
        return {
            "serviceDeployments": [{"serviceDeploymentArn": f"arn/{name}/{service.expected_arn}", "status": status}]
        }

    def DescribeServiceDeployments(self, request: dict) -> dict:
        name = request["serviceDeploymentArns"][0].split("/")[1]
        fired = self.owner(name).services[name].fired
        one = {"status": "ROLLBACK_SUCCESSFUL", "alarms": {"triggeredAlarmNames": fired}}
        return {"serviceDeployments": [one], "failures": []}

    def ListTasks(self, request: dict) -> dict:
        name = request["serviceName"]
        return {"taskArns": [task.arn for task in self.owner(name).services[name].stopped]}

    def DescribeTasks(self, request: dict) -> dict:
        every = [task for environment in self.environments for task in environment.described_tasks()]
        return {"tasks": [task.described() for task in every if task.arn in request["tasks"]]}

    def RunTask(self, request: dict) -> dict:
        (override,) = request["overrides"]["containerOverrides"]
        environment = self.owner(request["taskDefinition"].rpartition("/")[2])
        task = environment.run(request["taskDefinition"], override["command"])
        return {"tasks": [{"taskArn": task.arn}], "failures": []}

    def DescribeScalableTargets(self, request: dict) -> dict:
        about = {
            "ServiceNamespace": "ecs",
            "ScalableDimension": "ecs:service:DesiredCount",
            "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/scaling",
            "CreationTime": time.time(),
        }
        found = []
        for resource in request["ResourceIds"]:
            environment = self.owner(resource.rsplit("/", 1)[-1])
            most = 0 if environment.asleep else 1
            found.append({**about, "ResourceId": resource, "MinCapacity": most, "MaxCapacity": most})
        return {"ScalableTargets": found}

    def DescribeRepositories(self, request: dict) -> dict:
        return {
            "repositories": [
                {"repositoryName": name, "repositoryUri": f"{self.registry}/{name}"}
                for name in request["repositoryNames"]
            ]
        }


class Environment:
    """The services, load balancer, names and alarms that the state of one environment describes."""

    def __init__(self, account: Account, name: str, folder: Path, bucket: str, local_state: Path, network: str) -> None:
        self.account, self.name, self.folder = account, name, folder
        self.bucket, self.key = bucket, f"environments/{name}/terraform.tfstate"
        self.local_state = local_state
        self.network = network
        self.s3 = account.client("s3")
        self.services: dict[str, Service] = {}
        self.balancer = Relay(("127.0.0.1", 0))
        self.names = {name: f"{network}.0.{number}" for number, name in enumerate(LISTEN, 1)}
        self.used = 0
        self.lock = threading.Lock()
        # A state that was read earlier must not be applied later.
        self.reconciling = threading.Lock()
        self.single: list[Task] = []
        # Of Terraform's state, by name.
        self.alarms: dict[str, dict] = {}
        # Whether its schedule has stopped the tasks.
        self.asleep = False
        self.ended = False
        account.environments.append(self)
        threading.Thread(target=self._live, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.balancer.address[1]}"

    def address(self) -> str:
        self.used += 1
        return f"{self.network}.{1 + self.used // 250}.{1 + self.used % 250}"

    def relay(self, task: Task) -> Relay:
        return self.balancer if task.name == "gateway" else Relay((self.names[task.name], task.address[1]))

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

    def run(self, definition: str, command: list[str]) -> Task:
        """One task beside those of the services."""
        with self.lock:
            found = [service.current for service in self.services.values() if service.current]
            current = next(current for current in found if current["arn"] == definition)
            task = Task(self, current, self.address(), command)
            self.single.append(task)
        return task

    def described(self, name: str) -> dict | None:
        with self.lock:
            return self.services[name].described() if name in self.services else None

    def described_tasks(self) -> list[Task]:
        with self.lock:
            return [*(task for service in self.services.values() for task in service.stopped), *self.single]

    def firing(self, names: list[str]) -> list[str]:
        """Those of the alarms that count the load balancer's 5xx and fire."""
        now = time.monotonic()
        return [
            name
            for name in names
            if self.alarms[name]["metric_name"] == "HTTPCode_Target_5XX_Count"
            and all(
                self.balancer.errors_between(now - (ago + 1) * MINUTE_SECONDS, now - ago * MINUTE_SECONDS)
                > self.alarms[name]["threshold"]
                for ago in range(int(self.alarms[name]["evaluation_periods"]))
            )
        ]

    def _live(self) -> None:
        while not self.ended:
            try:
                self._make_bucket()
                self.reconcile()
            except Exception as error:  # Reported by the rehearsal, which would wait without effect otherwise.
                self.account.trouble.append(f"{type(error).__name__}: {error}")
            time.sleep(TICK_SECONDS)

    def _make_bucket(self) -> None:
        """A bucket that Terraform believes to have made becomes a real one of moto."""
        if self.local_state.exists() and '"aws_s3_bucket"' in self.local_state.read_text(encoding="utf-8"):
            self.s3.create_bucket(Bucket=self.bucket)

    def reconcile(self) -> None:
        with self.reconciling:
            if not self.ended:
                self._follow_state()

    def _follow_state(self) -> None:
        text = self.state()
        state = json.loads(text) if text else {"resources": []}
        found = {}
        for resource in state["resources"]:
            for instance in resource["instances"]:
                found.setdefault(resource["type"], []).append(instance["attributes"])
        definitions = {definition["arn"]: definition for definition in found.get("aws_ecs_task_definition", [])}
        expected = {service["name"]: service for service in found.get("aws_ecs_service", [])}
        for group in found.get("aws_cloudwatch_log_group", []):
            self.account.log_group(group["name"])
        with self.lock:
            self.alarms = {alarm["alarm_name"]: alarm for alarm in found.get("aws_cloudwatch_metric_alarm", [])}
            for name, fields in expected.items():
                if definition := definitions.get(fields["task_definition"]):
                    self.services.setdefault(name, Service(self, name)).expect(definition, fields)
            for name in set(self.services) - set(expected):
                self.services.pop(name).end()
            for service in self.services.values():
                service.tick()

    def state(self) -> str:
        """Terraform's state of the environment; empty before the first apply."""
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=self.key)["Body"].read().decode()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchBucket", "NoSuchKey"):
                return ""
            raise

    def change_state(self, old: str, new: str) -> str:
        """Replace a part of the state, as if resources had changed outside of Terraform; returns the one before."""
        before = self.state()
        assert old in before, old
        self.write_state(before.replace(old, new))
        return before

    def write_state(self, text: str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=self.key, Body=text.encode(), ContentType="application/json")

    def end(self) -> None:
        # A state that is being followed would start its tasks again.
        with self.reconciling, self.lock:
            self.ended = True
            for service in self.services.values():
                service.end()
