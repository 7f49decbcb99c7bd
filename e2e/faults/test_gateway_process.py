"""Faults of the gateway process: signals under load, floods, full disks, and clock changes."""

import contextlib
import os
import signal
import socket
import struct
import time

import pytest
from conftest import eventually, raise_file_limit, require_namespaces
from load import TURNED_AWAY, Load, outcomes, p99_seconds
from raw_http import Reader
from upstream import Upstream

import services
from tools.common import debian_program

PER_SECOND = 500
DRAIN_SECONDS = 5
# Beyond the drain time: what a busy machine adds.
SLACK_SECONDS = 4
# Below Docker's 10 s.
END_SECONDS = 10
CONNECTIONS = 100


@pytest.fixture
def upstreams():
    with Upstream("stats") as stats, Upstream("frontend") as frontend:
        yield stats.address, frontend.address


def asking(gateway, path):
    """A client that has sent its request, and can be asked for the answer later."""
    stream = socket.create_connection((gateway.host, gateway.port), 20)
    stream.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
    return stream


def test_sigterm_under_load_fails_no_request_and_ends_with_exit_code_0(pytestconfig, upstreams):
    settings = {"DRAIN_SECONDS": str(DRAIN_SECONDS), "LOG_LEVEL": "error"}
    with services.gateway(pytestconfig, *upstreams, **settings) as gateway:
        load = Load(gateway.host, gateway.port, "/stats", PER_SECOND, 50)
        with contextlib.ExitStack() as stack:
            with load:
                eventually(lambda: len(load.requests) > PER_SECOND)
                # These are in flight when the signal comes.
                slow = [stack.enter_context(asking(gateway, b"/?seconds=1.5")) for _ in range(10)]
                time.sleep(0.5)
                begun = time.monotonic()
                gateway.process.send_signal(signal.SIGTERM)
                code = gateway.process.wait(timeout=DRAIN_SECONDS + 30)
                seconds = time.monotonic() - begun
                time.sleep(0.2)
            finished = [Reader(stream, 5).answer().status for stream in slow]
    came = outcomes(load.requests)
    raced = sum(request.raced for request in load.requests)
    print(f"SIGTERM: exit {code} after {seconds:.2f} s; {came}; {raced} met a closing connection")
    assert code == 0
    assert seconds < min(DRAIN_SECONDS + SLACK_SECONDS, END_SECONDS)
    assert finished == [200] * len(slow), "a request in flight was lost"
    assert set(came) <= {200, TURNED_AWAY}, came
    assert came[200] > PER_SECOND


def test_sigterm_ends_in_time_though_an_answer_does_not(pytestconfig, upstreams):
    settings = {"DRAIN_SECONDS": "1", "LOG_LEVEL": "error"}
    with services.gateway(pytestconfig, *upstreams, **settings) as gateway:
        with asking(gateway, b"/?seconds=20"):
            time.sleep(0.3)
            begun = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(timeout=30) == 0
            assert time.monotonic() - begun < 1 + SLACK_SECONDS


def test_sighup_under_load_fails_no_request_and_drops_no_connection(pytestconfig, upstreams):
    with services.gateway(pytestconfig, *upstreams, LOG_LEVEL="error") as gateway:
        with Load(gateway.host, gateway.port, "/stats", PER_SECOND, 50) as load:
            eventually(lambda: len(load.requests) > PER_SECOND)
            before = load.connected
            with asking(gateway, b"/?seconds=1.5") as slow:
                for _ in range(5):
                    gateway.process.send_signal(signal.SIGHUP)
                    time.sleep(0.2)
                assert Reader(slow, 20).answer().status == 200
            time.sleep(0.5)
            after = load.connected
        assert gateway.process.poll() is None
    assert set(outcomes(load.requests)) == {200}, outcomes(load.requests)
    assert not any(request.raced for request in load.requests)
    assert after == before, "a connection was dropped"


def test_a_flood_of_connections_does_not_affect_open_connections(pytestconfig, upstreams):
    """Five times as many connections as there are places."""
    raise_file_limit()
    settings = {"GATEWAY_MAX_CONNECTIONS": str(CONNECTIONS), "LOG_LEVEL": "error"}
    with services.gateway(pytestconfig, *upstreams, **settings) as gateway:
        with Load(gateway.host, gateway.port, "/stats", 100, 10) as load:
            eventually(lambda: len(load.requests) > 50)
            idle = descriptors(gateway)
            begun = time.monotonic()
            with contextlib.ExitStack() as stack:
                for number in range(5 * CONNECTIONS):
                    flooder = stack.enter_context(socket.socket())
                    flooder.setblocking(False)
                    # From many addresses, so that no bound for one client saves the day.
                    flooder.bind((f"127.99.{number // 250}.{number % 250 + 1}", 0))
                    with contextlib.suppress(BlockingIOError):
                        flooder.connect((gateway.host, gateway.port))
                time.sleep(3)
                most = descriptors(gateway)
            ended = time.monotonic()
            # A rejected client connects when the flood is over.
            eventually(lambda: gateway.fetch("/stats").status == 200, 2 + SLACK_SECONDS)
            back = time.monotonic() - ended
        during = [request for request in load.since(begun) if request.begun < ended]
        print(
            f"flood: p99 {p99_seconds(during) * 1000:.1f} ms of who was in; "
            f"{most - idle} more descriptors; a new client after {back:.2f} s"
        )
        assert gateway.process.poll() is None
        assert set(outcomes(load.requests)) == {200}, outcomes(load.requests)
        assert most - idle <= CONNECTIONS + 20, "more connections than there are places"


def test_silent_connections_that_use_all_file_descriptors_make_room(pytestconfig, upstreams):
    limited = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    with services.gateway(pytestconfig, *upstreams, prefix=limited, LOG_LEVEL="error") as gateway:
        with contextlib.ExitStack() as stack:
            begun = time.monotonic()
            # Most of them wait in the kernel's backlog, before the new client.
            for _ in range(128):
                stack.enter_context(socket.create_connection((gateway.host, gateway.port), 5))
            assert gateway.fetch("/healthz").status == 200
            # A silent connection is closed after 10 s.
            assert time.monotonic() - begun < 9


def test_a_lack_of_file_descriptors_is_no_fault_of_the_upstreams(pytestconfig, upstreams):
    limited = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    with services.gateway(pytestconfig, *upstreams, prefix=limited, LOG_LEVEL="error") as gateway:
        with contextlib.ExitStack() as stack:
            # Each needs a second descriptor for its upstream.
            slow = [stack.enter_context(asking(gateway, b"/?seconds=5")) for _ in range(60)]
            statuses = {Reader(client, 20).answer().status for client in slow}
        assert statuses == {200, 503}, statuses
        assert gateway.fetch("/readyz").status == 200


def test_connections_that_come_and_go_leave_nothing_behind(pytestconfig, upstreams):
    """Two thousand: closed at once, reset at once, or left in the middle of a request."""
    parts = [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello",
    ]
    with services.gateway(pytestconfig, *upstreams, LOG_LEVEL="error") as gateway:
        gateway.fetch("/stats")
        idle = descriptors(gateway)
        for number in range(2000):
            with socket.create_connection((gateway.host, gateway.port), 5) as stream:
                stream.sendall(parts[number % len(parts)])
                if number % 2:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Connections to the upstreams may be kept.
        eventually(lambda: descriptors(gateway) <= idle + 64, 20)
        assert gateway.fetch("/stats").status == 200


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_full_disk_costs_the_log_and_nothing_else(pytestconfig, upstreams, level):
    """Every write to /dev/full fails with ENOSPC (full(4))."""
    with open("/dev/full", "wb") as full:
        streams = {"stdout": full, "stderr": full}
        settings = {"LOG_LEVEL": level, "GATEWAY_UPSTREAM_TIMEOUT_SECONDS": "1"}
        with services.gateway(pytestconfig, *upstreams, streams=streams, **settings) as gateway:
            with Load(gateway.host, gateway.port, "/stats", 200, 10) as load:
                # These are logged at every level.
                assert gateway.fetch("/?seconds=3").status == 504
                assert gateway.fetch("/a/../b").status in (200, 400)
                eventually(lambda: len(load.requests) > 200)
            assert set(outcomes(load.requests)) == {200}, outcomes(load.requests)
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(timeout=END_SECONDS) == 0


@pytest.mark.parametrize("level", ["info", "warn"])
def test_a_log_reader_that_has_stopped_delays_neither_requests_nor_the_end(pytestconfig, level):
    with contextlib.ExitStack() as stack:
        stats = stack.enter_context(Upstream("stats"))
        frontend = stack.enter_context(Upstream("frontend"))
        settings = {"LOG_LEVEL": level, "streams": stack.enter_context(services.full_pipe())}
        gateway = stack.enter_context(services.gateway(pytestconfig, stats.address, frontend.address, **settings))
        stats.kill()
        # The address is ejected, which is an event of the log.
        assert {gateway.fetch("/stats").status for _ in range(30)} <= {502, 503}
        assert {gateway.fetch("/").status for _ in range(10)} == {200}
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(timeout=END_SECONDS) == 0


def test_a_process_that_was_suspended_goes_on(pytestconfig, upstreams):
    """As when a virtual machine is frozen and thawed: the clock jumps, and all timers are due."""
    with services.gateway(pytestconfig, *upstreams, LOG_LEVEL="error") as gateway:
        with Load(gateway.host, gateway.port, "/stats", 100, 10) as load:
            eventually(lambda: len(load.requests) > 50)
            with asking(gateway, b"/?seconds=1") as slow:
                time.sleep(0.2)
                gateway.process.send_signal(signal.SIGSTOP)
                time.sleep(5)
                gateway.process.send_signal(signal.SIGCONT)
                thawed = time.monotonic()
                assert Reader(slow, 20).answer().status == 200
            time.sleep(2)
        assert set(outcomes(load.requests)) == {200}, outcomes(load.requests)
        assert p99_seconds(load.since(thawed + 1)) < 1


@pytest.mark.parametrize("years", [0, 3, 100])
def test_a_machine_that_has_been_up_for_long_is_nothing_special(pytestconfig, upstreams, years):
    """In a time namespace (time_namespaces(7)) the monotonic clock begins elsewhere."""
    seconds = years * 365 * 86400
    offsets = ("unshare", "--time", f"--monotonic={seconds}", f"--boottime={seconds}")
    # Only children are in the new namespace; this parent forwards the signal.
    parent = ("sh", "-c", '"$@" & child=$!; trap "kill $child" TERM; wait $child; wait $child', "sh")
    require_namespaces(*offsets[1:])
    with services.gateway(
        pytestconfig,
        *upstreams,
        (*offsets, *parent),
        PATH=os.defpath,
        LOG_LEVEL="error",
        GATEWAY_UPSTREAM_TIMEOUT_SECONDS="1",
    ) as gateway:
        assert gateway.fetch("/stats").status == 200
        begun = time.monotonic()
        assert gateway.fetch("/stats?seconds=9").status == 504
        assert time.monotonic() - begun < 1 + SLACK_SECONDS


def test_a_jump_of_the_wall_clock_has_no_effect(pytestconfig, binaries, upstreams, tmp_path):
    """A day ahead, then ten years back, by libfaketime, which a static program cannot load."""
    if b"/ld-linux" not in (binaries / "gateway").read_bytes()[:8192]:
        pytest.skip(
            "needs a binary that is linked dynamically, such as a debug build: no library"
            " can give a static one another clock"
        )
    library = "usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    try:
        path = debian_program.find("libfaketime", library)[-1]
    except debian_program.NotToBeHad as error:
        pytest.skip(f"needs libfaketime: {error}")
    offset = tmp_path / "offset"
    offset.write_text("+0")
    clock = {
        "LD_PRELOAD": path,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with services.gateway(pytestconfig, *upstreams, LOG_LEVEL="error", **clock) as gateway:
        with Load(gateway.host, gateway.port, "/stats", 100, 10) as load:
            years = [gateway.fetch("/healthz").headers.get("date", "")]
            for jump in ("+1d", "-3650d", "+0"):
                offset.write_text(jump)
                time.sleep(1)
                years.append(gateway.fetch("/healthz").headers.get("date", ""))
        print(f"clock: {years}")
        assert gateway.process.poll() is None
        assert set(outcomes(load.requests)) == {200}, outcomes(load.requests)
        assert p99_seconds(load.requests) < 1


def descriptors(gateway):
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
