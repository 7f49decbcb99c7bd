"""Upstreams with invalid responses: the client gets an error and never a truncated response as complete."""

import contextlib
import json
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from raw_http import CLOSED, Reader, Unreadable, expanded
from upstream import Upstream

import services

TIMEOUT_SECONDS = 2
# The timeout, and what a busy machine adds.
BOUND_SECONDS = 6

# Each entry has the bytes of an upstream's response (see `raw_http.expanded`), what the upstream does after them, and
# the statuses for the client, 502 alone unless the entry has others. None of the broken ones may appear complete; the
# odd ones are unusual and unambiguous, with the body "hello".
RESPONSES = json.loads(Path(__file__).with_name("upstream_responses.json").read_text(encoding="utf-8"))
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
RANDOM = {"name": "sends random bytes", "sent": bytes(range(256)).decode("latin-1") * 16, "then": "closes"}


def responses(kind):
    return pytest.mark.parametrize("response", kind, ids=lambda response: response["name"])


@contextlib.contextmanager
def answering(sent, then):
    """An upstream that answers every request with these bytes."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def answer(stream):
            with contextlib.suppress(OSError), stream:
                while stream.recv(65536):
                    stream.sendall(sent)
                    if then == "resets":
                        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    if then in ("closes", "resets"):
                        return
                    if then == "closes one half":
                        stream.shutdown(socket.SHUT_WR)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    stream, _ = listener.accept()
                    threading.Thread(target=answer, args=(stream,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield "{}:{}".format(*listener.getsockname())
        finally:
            # Closing alone does not wake who accepts.
            listener.shutdown(socket.SHUT_RDWR)


def ask(gateway):
    """The answer, or None where it was cut short for all to see; and how long it took."""
    begun = time.monotonic()
    with socket.create_connection((gateway.host, gateway.port), BOUND_SECONDS) as stream:
        stream.sendall(b"GET /stats HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
        try:
            answer = Reader(stream, BOUND_SECONDS).answer()
        except Unreadable:
            answer = None
    return answer, time.monotonic() - begun


@pytest.fixture(scope="module")
def frontend():
    with Upstream("frontend") as frontend:
        yield frontend.address


@contextlib.contextmanager
def in_front_of(config, stats, frontend):
    settings = {"GATEWAY_UPSTREAM_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS), "LOG_LEVEL": "error"}
    with services.gateway(config, stats, frontend, **settings) as gateway:
        yield gateway
        assert gateway.process.poll() is None
        assert gateway.fetch("/").status == 200, "the other route noticed"


@responses([*RESPONSES["broken"], RANDOM])
def test_a_broken_upstream(pytestconfig, frontend, response):
    sent = expanded(response["sent"], HEAD=HEAD)
    with answering(sent, response["then"]) as address, in_front_of(pytestconfig, address, frontend) as gateway:
        answer, seconds = ask(gateway)
        assert seconds < BOUND_SECONDS
        if answer is None or answer.status == CLOSED:
            # The head had passed before the fault was there; the client sees that it is not whole.
            assert b"\r\n\r\nhello" in sent or b"chunked\r\n\r\n" in sent, answer
            return
        assert answer.status in response.get("statuses", [502]), answer
        assert b"hello" not in answer.body


@responses(RESPONSES["odd"])
def test_an_odd_upstream(pytestconfig, frontend, response):
    sent = expanded(response["sent"], HEAD=HEAD)
    with answering(sent, response["then"]) as address, in_front_of(pytestconfig, address, frontend) as gateway:
        # The second shows that nothing of the first was left for it.
        for _ in range(3):
            answer, seconds = ask(gateway)
            assert answer is not None
            assert (answer.status, answer.body) == (200, b"hello")
            assert seconds < BOUND_SECONDS
