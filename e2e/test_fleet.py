"""The fleet with real services: members, gateways above gateways, and members that announce themselves."""

import json
import os
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from urllib.request import urlopen

from conftest import eventually

import services

MEMBERS = 3
# What a loaded machine needs beyond the promises of the page. A lost member is asked again after 10 s.
SLACK_SECONDS = 5
SECRET = "a-secret-of-the-fleet-0123"
# The longest time between two announcements, and some for a loaded machine.
INTERVAL_SECONDS = 20


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
        addresses = [member.address for member in members]
        gateway = stack.enter_context(
            services.gateway(config, addresses[0], addresses[0], GATEWAY_FLEET=",".join(addresses))
        )
        yield gateway, members, addresses


def names(gateway):
    return {member["member"]: member["state"] for member in gateway.fetch("/fleet").json()["members"]}


def test_figures_come_from_their_member_and_keep_its_time(pytestconfig):
    with fleet(pytestconfig) as (gateway, members, addresses):
        instances = {address: member.fetch("/stats").json()["instance"] for member, address in zip(members, addresses)}
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


def by_gateway(gateway, addresses):
    """The names that a gateway above gives these members."""
    return [f"{gateway.address}_{address}" for address in addresses]


@contextmanager
def tree(config):
    """Two members behind each of two gateways, and one gateway above these."""
    with ExitStack() as stack:
        (one, _, below_one), (two, _, below_two) = (stack.enter_context(fleet(config, 2)) for _ in range(2))
        children = ",".join(f"{child.address}/fleet" for child in (one, two))
        top = stack.enter_context(services.gateway(config, below_one[0], below_one[0], GATEWAY_FLEET=children))
        yield top, (one, two), [by_gateway(one, below_one), by_gateway(two, below_two)]


def test_a_gateway_merges_gateways_and_knows_when_one_is_lost(pytestconfig):
    with tree(pytestconfig) as (top, (one, two), (below_one, below_two)):
        viewer = Viewer(top)
        eventually(lambda: names(top) == dict.fromkeys(below_one + below_two, "up"))
        eventually(lambda: len({line[1] for line in list(viewer.lines) if line[2] == "summary"}) == 4)
        # Each value is the member's own, and none came twice.
        newest = {}
        for _, name, kind, data in list(viewer.lines):
            if kind == "summary":
                instance, sequence = newest.setdefault(name, (data["instance"], 0))
                assert data["instance"] == instance and data["sequence"] > sequence
                newest[name] = (instance, data["sequence"])
        assert len({instance for instance, _ in newest.values()}) == 4
        begun = time.monotonic()
        os.kill(two.process.pid, signal.SIGSTOP)
        try:
            for name in below_two:
                assert viewer.state_after(begun, name, "silent", 5) < 5 + SLACK_SECONDS
        finally:
            begun = time.monotonic()
            os.kill(two.process.pid, signal.SIGCONT)
        for name in below_two:
            assert viewer.state_after(begun, name, "up", 3) < 3 + SLACK_SECONDS
        begun = time.monotonic()
        one.process.kill()
        for name in below_one:
            assert viewer.state_after(begun, name, "gone", 3) < 3 + SLACK_SECONDS
        eventually(lambda: {names(top)[name] for name in below_two} == {"up"})
        # It stands for itself while its members cannot.
        assert names(top)[one.address] == "gone"
        assert top.fetch(f"/fleet/{below_one[0]}/stats").status == 503
        assert top.fetch(f"/fleet/{below_two[0]}/stats").status == 200
        viewer.close()


def test_a_member_is_reached_through_two_gateways(pytestconfig):
    with tree(pytestconfig) as (middle, _, below):
        address = middle.address
        with services.gateway(pytestconfig, address, address, GATEWAY_FLEET=f"{address}/fleet") as top:
            # Without a viewer, each level asks the next one.
            all_names = by_gateway(middle, below[0] + below[1])
            eventually(lambda: names(top) == dict.fromkeys(all_names, "up"))
            listed = top.fetch("/fleet").json()["members"]
            for member in listed:
                for name in (member["member"], member["instance"]):
                    answer = top.fetch(f"/fleet/{name}/stats", headers={"Cookie": "viewer=1"})
                    assert answer.status == 200
                    assert answer.json()["instance"] == member["instance"]
            assert top.fetch(f"/fleet/{all_names[0]}/metrics").status == 404
            assert top.fetch(f"/fleet/{address}_127.0.0.1:1/stats").status == 404


def test_gateways_that_lead_to_each_other_are_refused(pytestconfig):
    with ExitStack() as stack:
        ports = [services.free_port() for _ in range(2)]
        members = [stack.enter_context(services.stats(pytestconfig)) for _ in ports]
        addresses = [member.address for member in members]
        for port, other, address in zip(ports, reversed(ports), addresses):
            fleet = f"{address},127.0.0.1:{other}/fleet"
            stack.enter_context(services.gateway(pytestconfig, address, address, port=port, GATEWAY_FLEET=fleet))
        own = services.Own(None, "127.0.0.1", ports[0])
        # The way back is a gateway that cannot be reached, in the eyes of the other one.
        back = f"127.0.0.1:{ports[1]}_127.0.0.1:{ports[0]}"
        expected = {addresses[0]: "up", f"127.0.0.1:{ports[1]}_{addresses[1]}": "up", back: "gone"}
        eventually(lambda: names(own) == expected)
        viewer = Viewer(own)
        eventually(lambda: {line[1] for line in list(viewer.lines)} == set(expected))
        time.sleep(3)
        # Nothing comes around.
        assert {line[1] for line in list(viewer.lines)} == set(expected)
        viewer.close()


def test_a_gateway_names_itself_to_gateways_and_refuses_what_leads_back(pytestconfig):
    heads = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def serve():
            try:
                while True:
                    connection, _ = server.accept()
                    heads.append(connection.recv(65536).decode())
                    connection.close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        with services.gateway(pytestconfig, address, address, GATEWAY_FLEET=f"{address}/fleet") as gateway:
            other = {"Via": "1.1 gateway-0123abcd", "Authorization": "Bearer viewer", "Cookie": "viewer=1"}
            gateway.exchange(
                b"GET /fleet/stream HTTP/1.1\r\nHost: a\r\n"
                + "".join(f"{name}: {value}\r\n" for name, value in other.items()).encode()
                + b"\r\n"
            )
            eventually(lambda: any(head.startswith("GET /fleet/stream ") for head in heads))
            head = next(head for head in heads if head.startswith("GET /fleet/stream "))
            assert "viewer" not in head
            via = re.search(r"(?im)^via: (.*)$", head)[1].strip()
            assert via.startswith("1.1 gateway-0123abcd, 1.1 gateway-")
            assert gateway.fetch("/fleet/stream", headers={"Via": via}).status == 508
            assert gateway.fetch("/fleet/10.0.0.1:1_10.0.0.2:1/stats", headers={"Via": via}).status == 508


def gateway_at(config, port=None):
    """A gateway whose only members are those that announce themselves, at this port if one is given."""
    nowhere = "127.0.0.1:1"
    return services.gateway(config, nowhere, nowhere, port=port, GATEWAY_ANNOUNCE_SECRET=SECRET)


def instance(config, *gateways, **settings):
    addresses = ",".join(it.url for it in gateways)
    return services.stats(config, STATS_ANNOUNCE=addresses, STATS_ANNOUNCE_SECRET=SECRET, **settings)


def announced(gateway):
    listed = gateway.fetch("/fleet").json()["members"]
    return {member["member"]: member for member in listed if member["state"] == "up"}


def test_instances_are_members_of_every_gateway_and_leave_when_they_end(pytestconfig):
    with gateway_at(pytestconfig) as one, gateway_at(pytestconfig) as two:
        with instance(pytestconfig, one, two) as first, instance(pytestconfig, one, two) as second:
            for gateway in (one, two):
                eventually(lambda gateway=gateway: announced(gateway).keys() == {first.address, second.address})
                through = gateway.fetch(f"/fleet/{second.address}/stats").json()
                assert through["instance"] == announced(gateway)[second.address]["instance"]
            before = announced(one)[first.address]["instance"]
        for gateway in (one, two):
            # An announcement expires after 30 s.
            eventually(lambda gateway=gateway: not announced(gateway), 15)
        # A new identity at the same address.
        with instance(pytestconfig, one, port=first.port):
            eventually(lambda: first.address in announced(one), INTERVAL_SECONDS)
            eventually(lambda: announced(one)[first.address]["instance"] != before, INTERVAL_SECONDS)


def test_members_return_after_a_restart_of_the_gateway(pytestconfig):
    with ExitStack() as stack:
        with gateway_at(pytestconfig) as gateway:
            own = stack.enter_context(instance(pytestconfig, gateway))
            eventually(lambda: own.address in announced(gateway), INTERVAL_SECONDS)
        with gateway_at(pytestconfig, gateway.port) as again:
            eventually(lambda: own.address in announced(again), INTERVAL_SECONDS)
