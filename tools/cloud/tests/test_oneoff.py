"""One task with another command, to its end."""

import contextlib
import datetime
import io
import unittest

from tools.cloud import oneoff
from tools.cloud.rollout import LOG_LINES, Deployed
from tools.common.environments import Refused
from tools.common.progress import Failed

LAST_LINES = "".join(f"line {number}\n" for number in range(LOG_LINES))
ARN = "arn:aws:ecs:eu-west-1:1:task/shop/0123"
WANTED = Deployed(
    "shop",
    {"web": "shop-web"},
    {"web": "arn:aws:ecs:eu-west-1:1:task-definition/shop-web:7"},
    {"web": 2},
    {"web": "/shop/web"},
)


class FakeAws:
    """Answers describe_tasks from a list of situations, the last one for ever."""

    def __init__(self, *situations, failures=(), status="ACTIVE"):
        self.situations, self.failures, self.status = list(situations), list(failures), status
        self.asked = {}

    def call(self, _service, operation, **parameters):
        self.asked[operation] = parameters
        if operation == "describe_services":
            network = {"awsvpcConfiguration": {"subnets": ["a"]}}
            return {"services": [{"serviceName": "shop-web", "status": self.status, "networkConfiguration": network}]}
        if operation == "run_task":
            tasks = [] if self.failures else [{"taskArn": ARN}]
            return {"failures": self.failures, "tasks": tasks}
        if operation == "describe_tasks":
            now = self.situations.pop(0) if len(self.situations) > 1 else self.situations[0]
            if isinstance(now, BaseException):
                raise now
            return {"tasks": [now] if now else []}
        if operation == "get_log_events":
            # The newest page, an empty one, and one that is more than enough; an earlier one is never asked for.
            lines = {None: range(5, LOG_LINES), "1": (), "2": range(-9, 5)}[parameters.get("nextToken")]
            token = {None: "1", "1": "2", "2": "3"}[parameters.get("nextToken")]
            return {"events": [{"message": f"line {number}\n"} for number in lines], "nextBackwardToken": token}
        assert operation == "stop_task"
        return {}


def task(status, **container):
    ended = {"stoppedAt": datetime.datetime(1970, 1, 2, tzinfo=datetime.timezone.utc)} if status == "STOPPED" else {}
    containers = [{"name": "agent"}, {"name": "web", **container}]
    return {"taskArn": ARN, "lastStatus": status, "containers": containers, **ended}


class OneTask(unittest.TestCase):
    def run_task(self, aws, command="migrate --to 'version 2'", **options):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            oneoff.run(aws, WANTED, "web", command, lambda _: None, every=0, **options)
        return out.getvalue()

    def test_a_quote_without_its_end_and_a_service_that_was_removed_are_reported(self):
        with self.assertRaisesRegex(Refused, "CMD is .*No closing quotation"):
            self.run_task(FakeAws(), "say it's")
        with self.assertRaisesRegex(Failed, "no service shop-web"):
            self.run_task(FakeAws(status="INACTIVE"))

    def test_it_runs_with_the_service_s_own_network_and_ends_well(self):
        aws = FakeAws(task("RUNNING"), task("STOPPED", exitCode=0))
        self.assertEqual(self.run_task(aws), LAST_LINES)
        asked = aws.asked["run_task"]
        self.assertEqual(asked["taskDefinition"], WANTED.task_definitions["web"])
        self.assertEqual(asked["networkConfiguration"]["awsvpcConfiguration"]["subnets"], ["a"])
        (override,) = asked["overrides"]["containerOverrides"]
        self.assertEqual(override, {"name": "web", "command": ["migrate", "--to", "version 2"]})
        self.assertEqual(aws.asked["get_log_events"]["logStreamName"], "web/web/0123")
        self.assertEqual(aws.asked["get_log_events"]["limit"], LOG_LINES)
        self.assertNotIn("stop_task", aws.asked)

    def test_a_task_that_ecs_does_not_list_yet_is_waited_for(self):
        aws = FakeAws(None, task("STOPPED", exitCode=0))
        self.assertEqual(self.run_task(aws), LAST_LINES)
        self.assertNotIn("stop_task", aws.asked)

    def test_a_failed_task_is_reported_with_code_or_reason(self):
        for container, text in (({"exitCode": 64}, "exit code 64"), ({"reason": "no image"}, "no exit code .no image")):
            with self.assertRaisesRegex(Failed, text):
                self.run_task(FakeAws(task("STOPPED", **container)))

    def test_a_task_that_does_not_start_is_reported(self):
        with self.assertRaisesRegex(Failed, "no task was started: RESOURCE"):
            self.run_task(FakeAws(failures=[{"reason": "RESOURCE:MEMORY"}]))

    def test_it_is_stopped_when_nothing_waits_for_it_any_more(self):
        for aws, error, options in (
            (FakeAws(task("RUNNING")), Failed, {"seconds": 0}),
            (FakeAws(KeyboardInterrupt()), KeyboardInterrupt, {}),
        ):
            with self.assertRaises(error):
                self.run_task(aws, **options)
            self.assertEqual(aws.asked["stop_task"]["task"], ARN)
