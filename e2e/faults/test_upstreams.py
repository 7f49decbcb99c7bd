"""Faults of one upstream, one after the other; the other upstream must not be affected.

    pytest e2e/faults --binaries FOLDER

Each test states its bound. A machine that is busy with other things adds to some of them; what it
may add is in `SLACK_SECONDS`.
"""

import time

import pytest
from conftest import eventually
from load import Load, outcomes
from upstream import Upstream

import services

# How long the gateway waits for an upstream in these tests.
TIMEOUT_SECONDS = 2
SLACK_SECONDS = 2
# From the moment an upstream listens again to the last answer that is no 200.
BACK_SECONDS = 2
# A request for a response that is being fetched may wait for that first.
SHARED_WAIT_SECONDS = 5
# Long enough for breakers to open and health checks to fail.
BROKEN_SECONDS = 4


@pytest.fixture
def upstreams():
    with Upstream("stats") as stats, Upstream("frontend") as frontend:
        yield stats, frontend


@pytest.fixture
def gateway(pytestconfig, upstreams):
    stats, frontend = upstreams
    settings = {"GATEWAY_UPSTREAM_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS), "LOG_LEVEL": "error"}
    with services.gateway(pytestconfig, stats.address, frontend.address, **settings) as gateway:
        yield gateway


def loads(gateway):
    """A load on each route."""
    return (Load(gateway.host, gateway.port, "/stats", 100, 10), Load(gateway.host, gateway.port, "/", 100, 10))


def test_a_killed_upstream_is_502_or_503_and_is_back_within_two_seconds(gateway, upstreams):
    broken, healthy = loads(gateway)
    with broken, healthy:
        eventually(lambda: len(broken.requests) > 100)
        upstreams[0].kill()
        killed = time.monotonic()
        time.sleep(BROKEN_SECONDS)
        upstreams[0].start()
        back = time.monotonic()
        time.sleep(BACK_SECONDS + 1)
    between = outcomes([request for request in broken.since(killed) if request.begun < back])
    print(f"killed: {between}; then {outcomes(broken.since(back))}")
    assert set(between) <= {200, 502, 503}, between
    assert set(between) & {502, 503}, "it was not noticed"
    late = [request for request in broken.since(back + BACK_SECONDS) if request.outcome != 200]
    assert not late, outcomes(late)
    assert set(outcomes(broken.requests)) <= {200, 502, 503}
    assert set(outcomes(healthy.requests)) == {200}, "the other route noticed"


def test_an_upstream_that_restarts_at_once_costs_no_more_than_what_was_under_way(gateway, upstreams):
    broken, healthy = loads(gateway)
    with broken, healthy:
        eventually(lambda: len(broken.requests) > 100)
        upstreams[0].kill()
        upstreams[0].start()
        back = time.monotonic()
        time.sleep(BACK_SECONDS + 1)
    assert set(outcomes(broken.requests)) <= {200, 502, 503}
    late = [request for request in broken.since(back + BACK_SECONDS) if request.outcome != 200]
    assert not late, outcomes(late)
    assert set(outcomes(healthy.requests)) == {200}


def test_a_stopped_upstream_is_504_within_the_timeout_and_then_back(gateway, upstreams):
    assert gateway.fetch("/stats").status == 200
    with Load(gateway.host, gateway.port, "/", 100, 10) as healthy:
        upstreams[0].stop()
        try:
            begun = time.monotonic()
            first = gateway.fetch("/stats")
            seconds = time.monotonic() - begun
            assert first.status == 504
            assert seconds < TIMEOUT_SECONDS + SLACK_SECONDS, seconds
            # Later ones may fail at once without a healthy upstream.
            for _ in range(3):
                begun = time.monotonic()
                assert gateway.fetch("/stats").status in (503, 504)
                assert time.monotonic() - begun < TIMEOUT_SECONDS + SLACK_SECONDS
        finally:
            upstreams[0].go_on()
        back = time.monotonic()
        eventually(lambda: gateway.fetch("/stats").status == 200, BACK_SECONDS + SLACK_SECONDS)
        print(f"stopped: 504 after {seconds:.2f} s, back after {time.monotonic() - back:.2f} s")
    assert set(outcomes(healthy.requests)) == {200}, "the other route noticed"


def test_many_clients_of_a_stopped_upstream_do_not_take_the_others_place(gateway, upstreams):
    """A hundred requests wait for nothing; the other route goes on, and the hundred end in time."""
    upstreams[0].stop()
    try:
        with Load(gateway.host, gateway.port, "/stats", 200, 100) as waiting:
            with Load(gateway.host, gateway.port, "/", 100, 10) as healthy:
                eventually(lambda: len(waiting.requests) > 100, 2 * TIMEOUT_SECONDS + 10)
    finally:
        upstreams[0].go_on()
    assert set(outcomes(healthy.requests)) == {200}
    assert set(outcomes(waiting.requests)) <= {503, 504}, outcomes(waiting.requests)
    slowest = max(request.seconds for request in waiting.requests)
    assert slowest < SHARED_WAIT_SECONDS + TIMEOUT_SECONDS + SLACK_SECONDS, slowest


def test_a_slow_upstream_is_waited_for_up_to_the_timeout(gateway):
    begun = time.monotonic()
    assert gateway.fetch(f"/stats?seconds={TIMEOUT_SECONDS * 0.5}").status == 200
    assert gateway.fetch(f"/stats?seconds={TIMEOUT_SECONDS * 4}").status == 504
    assert time.monotonic() - begun < TIMEOUT_SECONDS * 1.5 + 2 * SLACK_SECONDS


def test_an_answer_that_comes_slowly_comes_whole(gateway):
    """Sixteen pauses, each shorter than the timeout, all together longer."""
    pause = TIMEOUT_SECONDS * 2 / 16
    answer = gateway.fetch(f"/stats?bytes=100000&pause={pause}")
    assert (answer.status, len(answer.body)) == (200, int(answer.headers["content-length"]))
    assert len(answer.body) > 100000
