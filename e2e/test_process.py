"""The release binaries as processes: how soon they answer and how they end."""

import contextlib
import os
import signal
import socket
import subprocess
import time

import psutil
import pytest
from conftest import eventually, require_namespaces

import services
from tools.common import catalog
from tools.common.ports import free_port

# From exec to the first 200, and from SIGTERM to the end, when the machine does nothing else.
START_SECONDS = 0.05
STOP_SECONDS = 2
# The fastest start or end of so many counts, because a machine with other work delays most of them.
TRIES = 20
# An end that something holds up takes the five seconds of a drain, or longer.
HELD_UP_SECONDS = 4
# Resident once it has answered.
RESIDENT_BYTES = {name: service.resident_mib << 20 for name, service in catalog.ALL.items()}
SERVICES = {name: service.listen_setting for name, service in catalog.ALL.items()}


@pytest.fixture(params=SERVICES)
def service(request, binaries):
    """The binary, the name of its listening setting, and a free port."""
    return binaries / request.param, SERVICES[request.param], free_port()


@contextlib.contextmanager
def started(service):
    program, listen, port = service
    environment = {listen: f"127.0.0.1:{port}", "LOG_LEVEL": "warn", **services.without_upstreams(program.name)}
    process = subprocess.Popen([program], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def seconds_until_first_200(port, begun):
    while time.monotonic() < begun + 30:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as stream:
                stream.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                if stream.recv(64).startswith(b"HTTP/1.1 200"):
                    return time.monotonic() - begun
        except ConnectionRefusedError:
            pass
    raise AssertionError("no answer within 30 s")


def test_the_first_answer_comes_at_once_and_the_end_is_clean(service):
    starts, ends = [], []
    while len(starts) < 5 or (len(starts) < TRIES and min(starts) >= START_SECONDS):
        begun = time.monotonic()
        with started(service) as process:
            starts.append(seconds_until_first_200(service[2], begun))
            begun = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(timeout=10) == 0
            ends.append(time.monotonic() - begun)
    print(f"{service[0].name}: exec to first 200 in {min(starts) * 1000:.1f} ms")
    assert min(starts) < START_SECONDS, starts
    assert min(ends) < STOP_SECONDS and max(ends) < HELD_UP_SECONDS, ends


def test_an_idle_service_takes_little_memory(service):
    with started(service) as process:
        seconds_until_first_200(service[2], time.monotonic())
        resident = psutil.Process(process.pid).memory_info().rss
    print(f"{service[0].name}: {resident / 1e6:.1f} MB resident")
    assert resident < RESIDENT_BYTES[service[0].name]


# As Docker sets up a container in a network without IPv6.
WITHOUT_IPV6 = """
ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 || exit 77
"$@" & trap "kill $!" EXIT
for _ in $(seq 200); do "$@" healthcheck && exit; sleep 0.1; done; exit 1
"""


def test_a_service_on_every_address_is_healthy_in_a_container_without_ipv6(service):
    require_namespaces("-n", programs=["ip"])
    program, listen, port = service
    command = ["unshare", "-n", "sh", "-c", WITHOUT_IPV6, "sh", program]
    environment = {"PATH": os.environ["PATH"], listen: f"[::]:{port}", "LOG_LEVEL": "error"}
    environment |= services.without_upstreams(program.name)
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    if checked.returncode == 77:
        pytest.skip("needs the permission to configure a network namespace")
    assert checked.returncode == 0, checked.stderr[-200:]


def test_metrics_in_a_pipe_that_is_not_read_delay_neither_requests_nor_the_end(pytestconfig):
    settings = {"STATS_EMF": "10", "LOG_LEVEL": "off"}
    with services.full_pipe() as streams, services.stats(pytestconfig, streams=streams, **settings) as own:
        # The first line is due with the tenth sample.
        eventually(lambda: own.fetch("/stats").json()["sequence"] > 12, seconds=30)
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(timeout=HELD_UP_SECONDS) == 0


@pytest.mark.parametrize("name", ["stats", "frontend"])
def test_a_log_reader_that_has_stopped_delays_neither_requests_nor_the_end(pytestconfig, name):
    settings = {"LOG_LEVEL": "info"}
    with services.full_pipe() as streams, getattr(services, name)(pytestconfig, streams=streams, **settings) as own:
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(timeout=HELD_UP_SECONDS) == 0
