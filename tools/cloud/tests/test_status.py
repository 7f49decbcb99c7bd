"""The output of `make status` for services that run, that a schedule has stopped, and that failed."""

import contextlib
import io
import unittest
from unittest import mock

from tools.cloud import status
from tools.cloud.tests.test_rollout import deployment, service
from tools.common.progress import Failed

TASK = "arn:aws:ecs:us-east-1:123456789012:task-definition/system-stats-pr-7-{}:1"
NAMES = ("gateway", "stats")
OUTPUTS = {
    "cluster": "system-stats-preview",
    "release": "1" * 40,
    "url": "http://example.org",
    "services": {name: f"system-stats-pr-7-{name}" for name in NAMES},
    "task_definitions": {name: TASK.format(name) for name in NAMES},
    "replicas": dict.fromkeys(NAMES, 1),
    "log_groups": {},
}


class TheStatus(unittest.TestCase):
    def shown(self, running: dict, most: dict) -> str:
        """The output for that many running tasks and the largest number that the scaler of each service allows."""

        def call(_service, operation, /, services=(), **_more):
            if operation == "list_service_deployments":
                return {"serviceDeployments": []}
            counts = {full: (name, running[name]) for name, full in OUTPUTS["services"].items() if full in services}
            deployments = {
                full: deployment(TASK.format(name), running=count, desired=count)
                for full, (name, count) in counts.items()
            }
            return {"services": [{**service(one), "serviceName": full} for full, one in deployments.items()]}

        def pages(_service, _operation, /, ResourceIds, **_more):
            names = {f"service/{OUTPUTS['cluster']}/{OUTPUTS['services'][name]}": name for name in most}
            found = [{"ResourceId": one, "MaxCapacity": most[names[one]]} for one in ResourceIds if one in names]
            return [{"ScalableTargets": found}]

        here = mock.Mock(**{"environment.name": "pr-7", "environment.base": False, "releases.read.return_value": []})
        here.aws = mock.Mock(call=call, pages=pages)
        with contextlib.redirect_stdout(io.StringIO()) as text:
            status.show(here, OUTPUTS)
        return text.getvalue()

    def test_running_services_are_healthy(self):
        text = self.shown({"gateway": 1, "stats": 1}, {})
        self.assertNotIn("schedule", text)

    def test_services_that_their_schedule_has_stopped_sleep(self):
        text = self.shown({"gateway": 0, "stats": 0}, {"gateway": 0, "stats": 0})
        self.assertIn("  gateway    system-stats-pr-7-gateway:1: 0 of 0 tasks run, stopped by its schedule\n", text)
        self.assertIn("pr-7 sleeps: it starts again by its schedule", text)

    def test_no_task_without_a_schedule_is_a_failure(self):
        for most in ({}, {"gateway": 1, "stats": 1}):
            with self.assertRaisesRegex(Failed, "not everything runs"):
                self.shown({"gateway": 0, "stats": 1}, most)

    def test_tasks_that_the_schedule_has_not_stopped_yet_are_not_hidden(self):
        with self.assertRaisesRegex(Failed, "not everything runs"):
            self.shown({"gateway": 0, "stats": 0}, {"gateway": 0})
