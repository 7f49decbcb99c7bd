"""Members that announce themselves: real instances of stats at a real gateway."""

import contextlib

from conftest import eventually

import services

SECRET = "a-secret-of-the-fleet-0123"
# The longest time between two announcements, and some for a loaded machine.
INTERVAL_SECONDS = 10 + 5


@contextlib.contextmanager
def gateway_at(config, port=None):
    """A gateway whose only members are those that announce themselves, at this port if one is given."""
    nowhere = "127.0.0.1:1"
    with services.gateway(config, nowhere, nowhere, port=port, GATEWAY_ANNOUNCE_SECRET=SECRET) as gateway:
        yield gateway


def instance(config, *gateways, secret=SECRET, **settings):
    addresses = ",".join(it.url for it in gateways)
    return services.stats(config, STATS_ANNOUNCE=addresses, STATS_ANNOUNCE_SECRET=secret, **settings)


def members(gateway):
    listed = gateway.fetch("/fleet").json()["members"]
    return {member["member"]: member for member in listed if member["state"] == "up"}


def test_instances_are_members_of_every_gateway_and_leave_when_they_end(pytestconfig):
    with gateway_at(pytestconfig) as one, gateway_at(pytestconfig) as two:
        with instance(pytestconfig, one, two) as first, instance(pytestconfig, one, two) as second:
            for gateway in (one, two):
                eventually(lambda gateway=gateway: members(gateway).keys() == {first.address, second.address})
                through = gateway.fetch(f"/fleet/{second.address}/stats").json()
                assert through["instance"] == members(gateway)[second.address]["instance"]
            before = members(one)[first.address]["instance"]
        for gateway in (one, two):
            eventually(lambda gateway=gateway: not members(gateway))
        # A new identity at the same address.
        with instance(pytestconfig, one, port=first.port):
            eventually(lambda: first.address in members(one), INTERVAL_SECONDS)
            eventually(lambda: members(one)[first.address]["instance"] != before, INTERVAL_SECONDS)


def test_members_return_after_a_restart_of_the_gateway(pytestconfig):
    with contextlib.ExitStack() as stack:
        with gateway_at(pytestconfig) as gateway:
            own = stack.enter_context(instance(pytestconfig, gateway))
            eventually(lambda: own.address in members(gateway), INTERVAL_SECONDS)
        with gateway_at(pytestconfig, gateway.port) as again:
            eventually(lambda: own.address in members(again), INTERVAL_SECONDS)


def test_another_secret_makes_no_member(pytestconfig):
    with gateway_at(pytestconfig) as gateway:
        with instance(pytestconfig, gateway, secret="another-secret-0123") as own:
            failed = 'stats_announcements_total{result="failed"} 1'
            eventually(lambda: failed in own.fetch("/metrics").body.decode(), INTERVAL_SECONDS)
            assert members(gateway) == {}
