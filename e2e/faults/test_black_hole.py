"""An upstream that neither answers nor refuses: 504 in time, whatever became of its packets."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import require_namespaces
from load import Load, outcomes
from upstream import Upstream

import services

TIMEOUT_SECONDS = 2
# What a busy machine adds.
SLACK_SECONDS = 2


@contextlib.contextmanager
def black_hole():
    """An address that swallows connections: its backlog is full, and nothing accepts."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(listener.getsockname())
        time.sleep(0.1)
        with pytest.raises((TimeoutError, socket.timeout)):
            socket.create_connection(listener.getsockname(), 0.5)
        yield "{}:{}".format(*listener.getsockname())


def test_a_connection_that_is_never_accepted_is_504_in_time(pytestconfig):
    with black_hole() as hole, Upstream("frontend") as frontend:
        settings = {"GATEWAY_UPSTREAM_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS)}
        with services.gateway(pytestconfig, hole, frontend.address, **settings) as gateway:
            with Load(gateway.host, gateway.port, "/", 100, 10) as healthy:
                for attempt in range(3):
                    begun = time.monotonic()
                    answer = gateway.fetch("/stats")
                    seconds = time.monotonic() - begun
                    assert answer.status in ((504,) if attempt == 0 else (503, 504))
                    assert seconds < TIMEOUT_SECONDS + SLACK_SECONDS, seconds
            assert set(outcomes(healthy.requests)) == {200}


def test_a_network_partition_is_504_in_time_and_recovers(binaries):
    """Kept connections of a running system go dead without a word; in network namespaces."""
    require_namespaces("-n", programs=["ip", "nsenter"])
    scenario = Path(__file__).with_name("partition.py")
    done = subprocess.run(
        ["unshare", "-n", sys.executable, str(scenario), str(binaries / "gateway")], capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = json.loads(done.stdout)
    print(f"pulled cable: {found}")
    if "skipped" in found:
        pytest.skip(found["skipped"])
    assert found["before"] == 200
    first = found["pulled"][0]
    assert first["status"] == 504
    for response in found["pulled"]:
        assert response["status"] in (503, 504)
        assert response["seconds"] < TIMEOUT_SECONDS + SLACK_SECONDS, response
    assert set(found["other_route"]) == {200}
    assert found["back_seconds"] < 2 + SLACK_SECONDS
