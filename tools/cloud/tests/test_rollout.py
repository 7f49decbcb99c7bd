"""When a deployment is done, and when it never will be."""

from __future__ import annotations

import datetime
import unittest
from dataclasses import replace
from unittest import mock

from tools.cloud.aws import AwsError
from tools.cloud.rollout import Deployed, RolledBack, described, over, state, states, wait

OLD, NEW = ("arn:aws:ecs:eu-west-1:1:task-definition/shop:1", "arn:aws:ecs:eu-west-1:1:task-definition/shop:2")


def deployment(arn, rollout="COMPLETED", running=2, desired=2, status="PRIMARY", failed=0):
    return {
        "status": status,
        "taskDefinition": arn,
        "rolloutState": rollout,
        "rolloutStateReason": "because",
        "runningCount": running,
        "desiredCount": desired,
        "failedTasks": failed,
    }


def service(*deployments):
    return {"serviceName": "shop", "status": "ACTIVE", "deployments": list(deployments)}


class TheState(unittest.TestCase):
    def test_it_is_done_when_all_tasks_are_of_what_was_applied(self):
        self.assertEqual(state(service(deployment(NEW)), NEW, 2), ("shop:2: 2 of 2 tasks run", True))
        # More tasks than the least are fine.
        self.assertTrue(state(service(deployment(NEW, running=5, desired=5)), NEW, 2)[1])

    def test_it_is_not_done_while_anything_is_missing(self):
        for found, text in (
            (service(deployment(NEW), deployment(OLD, running=1, status="ACTIVE")), "1 of the version before"),
            (service(deployment(NEW, "IN_PROGRESS")), ""),
            (service(deployment(NEW, "IN_PROGRESS", 0, failed=1)), "1 failed"),
            (service(deployment(NEW, running=1)), ""),
            (service(deployment(NEW, running=1, desired=1)), ""),
            # A failed deployment of the same definition before this one does not count.
            (service(deployment(NEW, "FAILED", 0, 0, "ACTIVE"), deployment(NEW, "IN_PROGRESS", 1)), ""),
            (None, "not there"),
        ):
            told, done = state(found, NEW, 2)
            self.assertIsNone(done, told)
            self.assertIn(text, told)

    def test_a_rollback_is_seen_while_the_failed_deployment_is_listed_and_when_everything_runs_well(self):
        for found, text in (
            (service(deployment(OLD)), "ECS rolled back to shop:1: because"),
            (
                service(deployment(OLD, "IN_PROGRESS"), deployment(NEW, "FAILED", 0, 0, "ACTIVE")),
                "shop:2 failed: because",
            ),
            # A first deployment that fails is given up.
            (service(deployment(NEW, "FAILED", 0)), "shop:2 failed: because"),
        ):
            self.assertEqual(state(found, NEW, 2), (text, False))

    def test_a_service_without_a_deployment_for_three_months_is_no_failure(self):
        """Such as one whose image stays the same: ECS has no record of it, and fails if no time is given."""
        aws = FakeAws(service(deployment(NEW)))
        self.assertEqual(over(aws, {"cluster": "shop", "services": {"web": "shop"}}), set())
        self.assertEqual(states(aws, WANTED), {"web": ("shop:2: 2 of 2 tasks run", True)})


LONG_AGO = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)


class FakeAws:
    """Answers DescribeServices from a list of situations, the last one for ever."""

    def __init__(self, *situations, deployments=(), page=100):
        self.situations = list(situations)
        self.deployments = deployments
        self.page = page

    def call(self, service, operation, /, **parameters):
        if operation == "describe_services":
            now = self.situations.pop(0) if len(self.situations) > 1 else self.situations[0]
            return {"services": [now]}
        if operation == "list_service_deployments":
            first = int(parameters.pop("nextToken", 0))
            age = (
                datetime.datetime.now(datetime.timezone.utc) - parameters.pop("createdAt", {"after": LONG_AGO})["after"]
            )
            if age.days > 89:
                text = "Before and After time filter must be within the last 3 months."
                raise AwsError("ecs list_service_deployments", "InvalidParameterException", text)
            assert parameters == {"cluster": "shop", "service": "shop", "maxResults": 100}
            end = first + self.page
            more = {"nextToken": str(end)} if end < len(self.deployments) else {}
            return {"serviceDeployments": list(self.deployments)[first:end], **more}
        if operation == "describe_service_deployments":
            wanted = parameters["serviceDeploymentArns"]
            return {"serviceDeployments": [one for one in self.deployments if one["serviceDeploymentArn"] in wanted]}
        if operation == "list_tasks":
            return {"taskArns": ["arn:task/shop/1", "arn:task/shop/2"]}
        if operation == "describe_tasks":
            containers = [{"name": "web", "exitCode": 64}]
            reasons = {NEW: "Essential container in task exited", OLD: "of the old version"}
            tasks = [{"taskDefinitionArn": arn, "stoppedReason": reason} for arn, reason in reasons.items()]
            return {"tasks": [{**one, "taskArn": "arn:task/shop/1", "containers": containers} for one in tasks]}
        assert (service, operation, parameters["logStreamName"]) == ("logs", "get_log_events", "web/web/1")
        pages = {None: [], "1": [{"message": "LOG_LEVEL is wrong\n"}], "2": []}
        token = parameters.get("nextToken")
        return {"events": pages[token], "nextBackwardToken": {None: "1"}.get(token, "2")}


WANTED = Deployed("shop", {"web": "shop"}, {"web": NEW}, {"web": 2}, {"web": "/shop/web"})


class ManyServices(unittest.TestCase):
    def test_ecs_is_asked_for_ten_at_a_time(self):
        names = {f"s{number}": f"shop-s{number}" for number in range(23)}
        asked = []

        def call(_service, _operation, cluster, services):
            self.assertEqual(cluster, "shop")
            asked.append(len(services))
            return {"services": [{"serviceName": one, "status": "ACTIVE", "deployments": []} for one in services]}

        found = described(mock.Mock(call=call), replace(WANTED, services=names))
        self.assertEqual(asked, [10, 10, 3])
        self.assertEqual(found.keys(), names.keys())


def record(number, status, reason="tasks failed to start"):
    return {"serviceDeploymentArn": f"arn:{number}", "createdAt": number, "status": status, "statusReason": reason}


class TheSameDefinition(unittest.TestCase):
    """A change of the network or of the share of spot is a deployment without another task definition."""

    def waited(self, *deployments, before=(), **more):
        said = []
        wait(FakeAws(service(deployment(NEW)), deployments=deployments, **more), WANTED, said.append, 0, 0, before)
        return said

    def test_a_rollback_by_ecs_is_a_failure_with_its_reason(self):
        for status in ("ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED", "STOPPED"):
            with self.assertRaisesRegex(RolledBack, rf"took the newest deployment back \({status}\): tasks failed"):
                self.waited(record(1, "SUCCESSFUL"), record(2, status))

    def test_it_is_found_on_every_page(self):
        with self.assertRaises(RolledBack):
            self.waited(record(1, "SUCCESSFUL"), record(3, "ROLLBACK_SUCCESSFUL"), record(2, "SUCCESSFUL"), page=1)

    def test_it_is_not_done_while_ecs_restores_the_version_before_or_shifts_traffic(self):
        for status in ("PENDING", "IN_PROGRESS", "ROLLBACK_IN_PROGRESS"):
            with self.assertRaisesRegex(RolledBack, "not done .* ECS has not finished the deployment"):
                self.waited(record(1, status))

    def test_a_rollback_before_the_apply_says_nothing_about_it(self):
        gone = record(1, "ROLLBACK_SUCCESSFUL")
        self.assertEqual(self.waited(gone, before={"arn:1"}), ["web: shop:2: 2 of 2 tasks run"])
        self.assertEqual(self.waited(gone, record(2, "SUCCESSFUL")), ["web: shop:2: 2 of 2 tasks run"])

    def test_what_was_over_before_an_apply_is_known_before_it(self):
        outputs = {"cluster": "shop", "services": {"web": "shop"}}
        for status, found in (("ROLLBACK_SUCCESSFUL", {"arn:1"}), ("IN_PROGRESS", set())):
            aws = FakeAws(service(deployment(NEW)), deployments=[record(1, status)])
            self.assertEqual(over(aws, outputs), found)
        for missing in ({}, {"cluster": "shop"}):
            self.assertEqual(over(aws, missing), set())

    def test_it_is_reported_later_and_no_failure_then(self):
        aws = FakeAws(service(deployment(NEW)), deployments=[record(1, "ROLLBACK_SUCCESSFUL")])
        text, done = states(aws, WANTED)["web"]
        self.assertIn("2 of 2 tasks run; ECS took the newest deployment back", text)
        self.assertIs(done, True)


class Waiting(unittest.TestCase):
    def test_every_change_is_said_once(self):
        said = []
        wait(
            FakeAws(*[service(deployment(NEW, "IN_PROGRESS", 1))] * 3, service(deployment(NEW))),
            WANTED,
            said.append,
            every=0,
        )
        self.assertEqual(said, ["web: shop:2: 1 of 2 tasks run", "web: shop:2: 2 of 2 tasks run"])

    def test_a_rollback_is_reported_with_reason_exit_code_and_log_of_the_right_task(self):
        with self.assertRaises(RolledBack) as failed:
            wait(FakeAws(service(deployment(OLD))), WANTED, lambda _: None, every=0)
        text = str(failed.exception)
        for part in (
            "web: ECS rolled back to shop:1",
            "Essential container in task exited",
            "container web: exit code 64",
            "log: LOG_LEVEL is wrong",
        ):
            self.assertIn(part, text)
        self.assertNotIn("of the old version", text)

    def test_why_no_task_could_be_placed_is_reported(self):
        """Without Spot capacity or above a quota there is no task that stopped, and its service has the reason."""
        before, begun, now = (datetime.datetime(2026, 11, 1, 1, minute) for minute in (10, 20, 30))
        text = "(service shop) was unable to place a task. Reason: Capacity is unavailable at this time."
        events = [
            (now, text),
            (now, "(service shop) has started 1 tasks"),
            (now, text),
            (before, "unable: a reason of the deployment before"),
        ]
        stuck = service(deployment(NEW, "IN_PROGRESS", 0))
        stuck["events"] = [{"createdAt": at, "message": message} for at, message in events]
        with self.assertRaises(RolledBack) as failed:
            deployments = [{**record(2, "IN_PROGRESS"), "createdAt": begun}]
            wait(FakeAws(stuck, deployments=deployments), WANTED, lambda _: None, seconds=0, every=0)
        self.assertEqual([line for line in str(failed.exception).splitlines() if "ECS:" in line], [f"    ECS: {text}"])

    def test_the_alarm_that_ended_the_newest_deployment_is_named(self):
        older = {"serviceDeploymentArn": "arn:1", "createdAt": "2026-11-27", "statusReason": "of another deployment"}
        newest = {
            "serviceDeploymentArn": "arn:2",
            "createdAt": "2026-11-28",
            "status": "ROLLBACK_SUCCESSFUL",
            "statusReason": "Service deployment rolled back because of alarms.",
            "alarms": {"status": "TRIGGERED", "triggeredAlarmNames": ["shop-errors"]},
        }
        with self.assertRaises(RolledBack) as failed:
            wait(FakeAws(service(deployment(OLD)), deployments=(older, newest)), WANTED, lambda _: None, every=0)
        text = str(failed.exception)
        self.assertIn("    alarm shop-errors was triggered\n", text)
        self.assertIn("    ROLLBACK_SUCCESSFUL: Service deployment rolled back because of alarms.\n", text)
        self.assertNotIn("of another deployment", text)

    def test_it_ends_after_the_traffic_is_back_with_the_old_tasks(self):
        back = service(deployment(OLD))
        moving = service(deployment(OLD, "IN_PROGRESS"), deployment(NEW, "FAILED", status="ACTIVE"))
        shifted = replace(WANTED, shift_minutes={"web": 15})
        for wanted, left in ((shifted, 0), (WANTED, 2)):
            aws = FakeAws(moving, moving, moving, back, back)
            with self.assertRaises(RolledBack):
                wait(aws, wanted, lambda _: None, every=0)
            self.assertEqual(len(aws.situations) - 1, left)

    def test_it_does_not_wait_for_ever_for_the_traffic(self):
        said = []
        aws = FakeAws(service(deployment(OLD, "IN_PROGRESS")))
        with self.assertRaises(RolledBack), mock.patch("tools.cloud.rollout.RETURN_SECONDS", 0):
            wait(aws, replace(WANTED, shift_minutes={"web": 15}), said.append, every=0)
        self.assertIn("has not brought the traffic of web back", said[-1])

    def test_it_waits_longer_where_traffic_is_shifted(self):
        outputs = {"cluster": "shop", "services": {}, "task_definitions": {}, "replicas": {}, "log_groups": {}}
        self.assertEqual(Deployed.of(outputs).shift_seconds, 0)
        shifted = Deployed.of({**outputs, "shift_minutes": {"web": 15, "cart": 0}})
        self.assertEqual(shifted.shift_seconds, 900)

    def test_it_does_not_wait_for_ever(self):
        with self.assertRaisesRegex(RolledBack, "not done after 0 s"):
            wait(FakeAws(service(deployment(NEW, "IN_PROGRESS", 0))), WANTED, lambda _: None, seconds=0, every=0)
