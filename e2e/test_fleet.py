"""The fleet with real services: members that are killed, frozen and started again."""

import json
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from urllib.request import urlopen

import services
from conftest import eventually

MEMBERS = 3
# What the page promises; a loaded machine needs more.
SLACK_SECONDS = 3


class Viewer:
    """One viewer of the merged stream: every line with the time at which it came."""

    def __init__(self, gateway):
        self._response = urlopen(f"{gateway.url}/fleet/stream", timeout=30)
        self._ended = False
        self.lines = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with self._response:
            for line in self._response:
                if self._ended:
                    return
                text = line.decode().rstrip("\n")
                if text.startswith("data: "):
                    member, kind, data = text[len("data: ") :].split(" ", 2)
                    self.lines.append((time.monotonic(), member, kind, json.loads(data)))

    def state_after(self, begun, member, state, seconds):
        """How long after `begun` the member had this state."""

        def found():
            for came, name, kind, data in list(self.lines):
                if came >= begun and name == member and kind == "member" and data["state"] == state:
                    return came - begun
            return None

        eventually(lambda: found() is not None, seconds + SLACK_SECONDS)
        return found()

    def close(self):
        """Ends at the next line, which comes within a second."""
        self._ended = True
        self._thread.join(SLACK_SECONDS)


@contextmanager
def fleet(config, count=MEMBERS):
    """Some stats services behind one gateway."""
    with ExitStack() as stack:
        members = [stack.enter_context(services.stats(config, STATS_EXPOSE="hostname")) for _ in range(count)]
        addresses = [f"{member.host}:{member.port}" for member in members]
        gateway = stack.enter_context(
            services.gateway(config, addresses[0], addresses[0], GATEWAY_FLEET=",".join(addresses))
        )
        yield gateway, members, addresses


def names(gateway):
    return {member["member"]: member["state"] for member in json.loads(gateway.fetch("/fleet").body)["members"]}


def test_each_member_is_listed_and_answers_under_its_own_path(pytestconfig):
    with fleet(pytestconfig) as (gateway, members, addresses):
        viewer = Viewer(gateway)
        eventually(lambda: names(gateway) == dict.fromkeys(addresses, "up"))
        for member, address in zip(members, addresses):
            own_sample = json.loads(member.fetch("/stats").body)
            through = json.loads(gateway.fetch(f"/fleet/{address}/stats").body)
            assert through["instance"] == own_sample["instance"]
        assert gateway.fetch(f"/fleet/{addresses[0]}/metrics").status == 404
        assert gateway.fetch("/fleet/nothing/stats").status == 404
        viewer.close()


def test_figures_come_from_their_member_and_keep_its_time(pytestconfig):
    with fleet(pytestconfig) as (gateway, members, addresses):
        instances = {
            address: json.loads(member.fetch("/stats").body)["instance"]
            for member, address in zip(members, addresses)
        }
        viewer = Viewer(gateway)

        def summaries():
            return [line for line in list(viewer.lines) if line[2] == "summary"]

        eventually(lambda: len(summaries()) >= 4 * MEMBERS)
        viewer.close()
        newest = {}
        for _, member, _, data in summaries():
            assert data["instance"] == instances[member]
            assert data["sequence"] > newest.get(member, (0, 0))[0], "a value came twice"
            assert data["time_unix_ms"] > newest.get(member, (0, 0))[1]
            newest[member] = (data["sequence"], data["time_unix_ms"])
        assert set(newest) == set(addresses)


def test_a_killed_and_a_frozen_member_are_marked_and_come_back(pytestconfig):
    with fleet(pytestconfig) as (gateway, members, addresses):
        viewer = Viewer(gateway)
        eventually(lambda: names(gateway) == dict.fromkeys(addresses, "up"))
        begun = time.monotonic()
        members[1].process.kill()
        assert viewer.state_after(begun, addresses[1], "gone", 2) < 2 + SLACK_SECONDS
        begun = time.monotonic()
        os.kill(members[2].process.pid, signal.SIGSTOP)
        try:
            assert viewer.state_after(begun, addresses[2], "silent", 5) < 5 + SLACK_SECONDS
        finally:
            begun = time.monotonic()
            os.kill(members[2].process.pid, signal.SIGCONT)
        assert viewer.state_after(begun, addresses[2], "up", 2) < 2 + SLACK_SECONDS
        # The first member went on all the time.
        assert gateway.fetch(f"/fleet/{addresses[0]}/stats").status == 200
        assert gateway.fetch(f"/fleet/{addresses[1]}/stats").status == 503
        viewer.close()


def test_it_can_be_switched_off(pytestconfig):
    with services.stats(pytestconfig) as stats:
        address = f"{stats.host}:{stats.port}"
        with services.gateway(pytestconfig, address, address, GATEWAY_FLEET="off") as gateway:
            assert gateway.fetch("/fleet").status == 404
