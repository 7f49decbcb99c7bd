"""The name of an upstream moves, vanishes, and comes back.

The gateway is given a name server of the test's own through an `/etc/resolv.conf` that only it
sees, in a mount namespace.
"""

import contextlib
import os
import signal
import time

import pytest
from conftest import eventually, require_namespaces
from load import Load, outcomes
from name_server import NO_ERROR, NO_SUCH_NAME, SERVER_FAILURE, NameServer
from upstream import Upstream

import services

NAME_SERVER, ONE, TWO = "127.88.0.53", "127.88.0.1", "127.88.0.2"
NAME = "stats.gateway.test"
# From a new answer to its use.
NEW_ADDRESS_SECONDS = 10
# The first lookups take half a second of it.
START_SECONDS = 5
# Some lookups, each two seconds after the last, some of them into the void.
WHILE_SECONDS = 8


class Setup:
    def __init__(self, gateway, names, one, seconds):
        self.gateway, self.names, self.one, self.start_seconds = gateway, names, one, seconds

    def upstream_or_status(self):
        """Which upstream answers, or the status where none does."""
        answer = self.gateway.fetch("/stats")
        return answer.body.split()[0].decode() if answer.status == 200 else answer.status

    def wait_for_lookups(self):
        """Waits until the name was asked for twice more."""
        queries = self.names.queries
        eventually(lambda: self.names.queries > queries + 2, NEW_ADDRESS_SECONDS)


@contextlib.contextmanager
def started(config, folder, addresses, silent=False, options="timeout:1 attempts:1", before="", **settings):
    """A gateway with a name server; `before` are shell commands before its start."""
    require_namespaces("-m")
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {NAME_SERVER}\noptions {options}\n")
    mount = f'mount --bind {resolver} /etc/resolv.conf || exit; {before} exec "$@"'
    prefix = ("unshare", "-m", "sh", "-c", mount, "sh")
    with contextlib.ExitStack() as stack:
        try:
            names = stack.enter_context(NameServer(NAME_SERVER, NAME))
        except OSError as error:
            pytest.skip(f"needs UDP port 53 of {NAME_SERVER}: {error}")
        names.addresses, names.silent = addresses, silent
        one = stack.enter_context(Upstream("one", ONE))
        stack.enter_context(Upstream("two", TWO, one.port))
        frontend = stack.enter_context(Upstream("frontend"))
        begun = time.monotonic()
        gateway = stack.enter_context(
            services.gateway(
                config, f"{NAME}:{one.port}", frontend.address, prefix, PATH=os.defpath, LOG_LEVEL="error", **settings
            )
        )
        yield Setup(gateway, names, one, time.monotonic() - begun)


def test_a_new_address_is_used_within_ten_seconds(pytestconfig, tmp_path):
    with started(pytestconfig, tmp_path, [ONE]) as setup:
        eventually(lambda: setup.upstream_or_status() == "one")
        with Load(setup.gateway.host, setup.gateway.port, "/stats", 100, 10) as load:
            eventually(lambda: len(load.requests) > 50)
            setup.names.addresses = [TWO]
            moved = time.monotonic()
            eventually(lambda: setup.upstream_or_status() == "two", NEW_ADDRESS_SECONDS)
            print(f"moved: new address in use after {time.monotonic() - moved:.1f} s")
        assert set(outcomes(load.requests)) == {200}
        # An answer may list some of many addresses, so the old one stays as long as it works.
        setup.one.kill()
        eventually(lambda: {setup.upstream_or_status() for _ in range(50)} == {"two"}, NEW_ADDRESS_SECONDS)


def test_both_of_two_addresses_are_used_and_one_of_them_may_die(pytestconfig, tmp_path):
    with started(pytestconfig, tmp_path, [ONE, TWO]) as setup:
        eventually(lambda: {setup.upstream_or_status() for _ in range(20)} == {"one", "two"})
        with Load(setup.gateway.host, setup.gateway.port, "/stats", 100, 10) as load:
            eventually(lambda: len(load.requests) > 50)
            setup.one.kill()
            killed = time.monotonic()
            time.sleep(6)
        # A request that was under way is lost with who answered it, or tried again.
        assert set(outcomes(load.requests)) <= {200, 502}
        lost = [request for request in load.since(killed) if request.outcome != 200]
        late = [request for request in lost if request.begun > killed + 4]
        print(f"one of two killed: {len(lost)} of {len(load.since(killed))} lost")
        assert not late, "the dead address is still asked after 4 s"
        assert len(lost) <= 10, "more was lost than was under way"


@pytest.mark.parametrize("how", ["emptied", "unknown", "failing", "silent"])
def test_a_name_without_an_answer_keeps_its_last_good_one(pytestconfig, tmp_path, how):
    with started(pytestconfig, tmp_path, [ONE]) as setup:
        eventually(lambda: setup.upstream_or_status() == "one")
        setup.names.code = {"unknown": NO_SUCH_NAME, "failing": SERVER_FAILURE}.get(how, NO_ERROR)
        setup.names.silent = how == "silent"
        setup.names.addresses = []
        begun = time.monotonic()
        with Load(setup.gateway.host, setup.gateway.port, "/stats", 50, 5) as load:
            setup.wait_for_lookups()
            time.sleep(max(0, begun + WHILE_SECONDS - time.monotonic()))
        assert set(outcomes(load.requests)) == {200}, "the last good answer was not kept"
        setup.names.code, setup.names.silent, setup.names.addresses = NO_ERROR, False, [TWO]
        eventually(lambda: setup.upstream_or_status() == "two", NEW_ADDRESS_SECONDS)


def test_a_name_that_comes_late_is_503_until_then(pytestconfig, tmp_path):
    with started(pytestconfig, tmp_path, []) as setup:
        answer = setup.gateway.fetch("/stats")
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert setup.gateway.fetch("/").status == 200, "the other route noticed"
        setup.names.addresses = [ONE]
        eventually(lambda: setup.upstream_or_status() == "one", NEW_ADDRESS_SECONDS)


def test_a_silent_name_server_delays_the_start_once_for_all_routes(pytestconfig, tmp_path):
    routes = "; ".join(f"/{number} {number}.gateway.test:80" for number in range(20))
    with started(pytestconfig, tmp_path, [ONE], silent=True, options="timeout:20", GATEWAY_ROUTES=routes) as setup:
        assert setup.start_seconds < START_SECONDS


def test_sighup_during_the_first_lookups_does_not_end_the_gateway(pytestconfig, tmp_path):
    port = services.free_port()
    # The shell becomes the gateway, whose process number it has.
    is_listening = f"grep -q ':{port:04X} 00000000:0000 0A' /proc/net/tcp"
    before = f"for i in $(seq 1000); do sleep 0.01; {is_listening} && kill -HUP $$ && break; done &"
    with started(pytestconfig, tmp_path, [ONE], silent=True, before=before, port=port) as setup:
        assert setup.gateway.process.poll() is None
        setup.names.silent = False
        eventually(lambda: setup.upstream_or_status() == "one", NEW_ADDRESS_SECONDS)


def test_a_reload_keeps_the_old_routes_until_new_names_have_addresses(pytestconfig, tmp_path):
    table = tmp_path / "routes"
    table.write_text("")
    with started(
        pytestconfig, tmp_path, [ONE], options="timeout:4 attempts:8", GATEWAY_ROUTES_FILE=str(table)
    ) as setup:
        table.write_text(f"/stats {TWO}:{setup.one.port}\n")
        setup.gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: setup.upstream_or_status() == "two")
        setup.names.silent = True
        queries = setup.names.queries
        table.write_text(f"/stats {NAME}:{setup.one.port}\n")
        setup.gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: setup.names.queries > queries)
        assert setup.upstream_or_status() == "two"
        assert setup.gateway.fetch("/readyz").status == 200
        setup.names.silent = False
        eventually(lambda: setup.upstream_or_status() == "one", NEW_ADDRESS_SECONDS)


@pytest.mark.parametrize("how", ["failing", "silent"])
def test_a_reload_without_a_name_server_keeps_the_last_good_answer(pytestconfig, tmp_path, how):
    table = tmp_path / "routes"
    table.write_text("")
    with started(pytestconfig, tmp_path, [ONE], GATEWAY_ROUTES_FILE=str(table)) as setup:
        eventually(lambda: setup.upstream_or_status() == "one")
        setup.names.code = SERVER_FAILURE
        setup.names.silent = how == "silent"
        table.write_text(f"/stats {NAME}:{setup.one.port} response-header=X-Table:2 check=/other\n")
        setup.gateway.process.send_signal(signal.SIGHUP)
        with Load(setup.gateway.host, setup.gateway.port, "/stats", 50, 5) as load:
            eventually(lambda: setup.gateway.fetch("/stats").headers.get("x-table") == "2")
            setup.wait_for_lookups()
        assert set(outcomes(load.requests)) == {200}
