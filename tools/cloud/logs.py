"""`make logs ENV=NAME`: the log groups of an environment in the order of time, followed until Ctrl-C."""

import datetime
import time
from collections.abc import Iterator
from typing import Callable

from tools.cloud.aws import Aws

SINCE_SECONDS = 600
PAUSE_SECONDS = 2.0
# CloudWatch delivers an event some seconds after its own time, so each look covers this much of the past again.
OVERLAP_SECONDS = 60


def follow(
    aws: Aws,
    groups: dict[str, str],
    show: Callable[[str], None],
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Show every event once; AwsError ends it."""
    since = clock() - SINCE_SECONDS
    shown: dict[str, int] = {}
    while True:
        began = clock()
        found = [
            (event, name)
            for name, group in groups.items()
            for event in events(aws, group, since)
            if event["eventId"] not in shown
        ]
        for event, name in sorted(found, key=lambda one: one[0]["timestamp"]):
            show(line(event, name))
            shown[event["eventId"]] = event["timestamp"]
        since = began - OVERLAP_SECONDS
        shown = {one: at for one, at in shown.items() if at >= since * 1000}
        pause(PAUSE_SECONDS)


def events(aws: Aws, group: str, since: float) -> Iterator[dict]:
    start = int(since * 1000)
    for page in aws.pages("logs", "filter_log_events", logGroupName=group, startTime=start):
        yield from page["events"]


def line(event: dict, name: str) -> str:
    at = datetime.datetime.fromtimestamp(event["timestamp"] / 1000, datetime.timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%SZ} {name:<9} {event['message'].rstrip()}"
