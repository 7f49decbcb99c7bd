"""Upstreams with invalid responses: the client gets an error and never a truncated response as complete."""

import contextlib
import socket
import struct
import threading
import time

import pytest
from raw_http import CLOSED, Reader, Unreadable
from upstream import Upstream

import services

TIMEOUT_SECONDS = 2
# The timeout, and what a busy machine adds.
BOUND_SECONDS = 6

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
# Behavior of an upstream after its bytes.
CLOSE, RESET, WAIT, HALF_CLOSE = "closes", "resets", "waits", "closes one half"
REFUSED = {502}

# name: the bytes, what follows, and the statuses for the client; none of these may appear complete.
BROKEN = {
    "sends nothing and closes": (b"", CLOSE, REFUSED),
    "sends nothing and resets": (b"", RESET, REFUSED),
    "sends nothing and closes one half": (b"", HALF_CLOSE, REFUSED),
    "sends nothing and waits": (b"", WAIT, {504}),
    "speaks no HTTP": (b"220 mail.test ESMTP\r\n", CLOSE, REFUSED),
    "speaks no HTTP and waits": (b"220 mail.test ESMTP\r\n\r\n", WAIT, {502, 504}),
    "speaks TLS": (b"\x15\x03\x01\x00\x02\x02\x46", CLOSE, REFUSED),
    "speaks HTTP/0.9": (b"<html>hello</html>", CLOSE, REFUSED),
    "speaks HTTP/2": (b"\0\0\x12\4\0\0\0\0\0" + b"\0" * 18, CLOSE, REFUSED),
    "sends random bytes": (bytes(range(256)) * 16, CLOSE, REFUSED),
    "gives half a head": (HEAD + b"Content-Le", CLOSE, REFUSED),
    "gives half a head and waits": (HEAD + b"X: y\r\n", WAIT, {502, 504}),
    "gives a head without an end": (HEAD + b"X: " + b"y" * 2_000_000, CLOSE, REFUSED),
    "gives ten thousand fields": (HEAD + b"X: y\r\n" * 10_000 + b"Content-Length: 0\r\n\r\n", WAIT, REFUSED),
    "gives no status": (b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", CLOSE, REFUSED),
    "gives a status of four digits": (b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", CLOSE, REFUSED),
    "gives the status 99": (b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", CLOSE, REFUSED),
    "gives a field with a NUL": (HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n", WAIT, REFUSED),
    "gives a field without a colon": (HEAD + b"X\r\nContent-Length: 0\r\n\r\n", WAIT, REFUSED),
    "gives a name with a space": (HEAD + b"X Y: z\r\nContent-Length: 0\r\n\r\n", WAIT, REFUSED),
    "gives two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", WAIT, REFUSED),
    "gives a negative length": (HEAD + b"Content-Length: -5\r\n\r\nhello", CLOSE, REFUSED),
    "gives a length that is no number": (HEAD + b"Content-Length: five\r\n\r\nhello", CLOSE, REFUSED),
    "gives an unknown coding": (HEAD + b"Transfer-Encoding: cow\r\n\r\nhello", CLOSE, REFUSED),
    "gives less than its length": (HEAD + b"Content-Length: 100\r\n\r\nhello", CLOSE, REFUSED),
    "gives less than its length and resets": (HEAD + b"Content-Length: 100\r\n\r\nhello", RESET, REFUSED),
    "gives less than its length and waits": (HEAD + b"Content-Length: 100\r\n\r\nhello", WAIT, {502, 504}),
    "ends within the chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", CLOSE, REFUSED),
    "ends within a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhello", CLOSE, REFUSED),
    "ends within the chunks and waits": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", WAIT, {502, 504}),
    "gives a chunk without a size": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n0\r\n\r\n", CLOSE, REFUSED),
    "gives a chunk longer than its size": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        CLOSE,
        REFUSED,
    ),
    "gives a chunk size of 2^64": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        CLOSE,
        REFUSED,
    ),
    "switches protocols unasked": (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello",
        CLOSE,
        REFUSED,
    ),
    "sends 100 Continue, for ever": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, WAIT, {502, 504}),
}

# Unusual, but unambiguous: bytes, what follows, the body.
ODD = {
    "ends its body by closing": (HEAD + b"\r\nhello", CLOSE, b"hello"),
    "ends its body by closing one half": (HEAD + b"\r\nhello", HALF_CLOSE, b"hello"),
    "closes one half after a whole answer": (HEAD + b"Content-Length: 5\r\n\r\nhello", HALF_CLOSE, b"hello"),
    "closes after a whole answer": (HEAD + b"Content-Length: 5\r\n\r\nhello", CLOSE, b"hello"),
    "speaks HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", CLOSE, b"hello"),
    "sends 100 Continue, once": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello",
        WAIT,
        b"hello",
    ),
    "gives more than its length": (
        HEAD + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        WAIT,
        b"hello",
    ),
    "gives more than its chunks": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        WAIT,
        b"hello",
    ),
    "sends chunks with extensions": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;c\r\n\r\n",
        WAIT,
        b"hello",
    ),
}


@contextlib.contextmanager
def answering(sent, then):
    """An upstream that answers every request with these bytes."""
    ended = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)

        def answer(stream):
            with contextlib.suppress(OSError), stream:
                while stream.recv(65536):
                    stream.sendall(sent)
                    if then == RESET:
                        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    if then in (CLOSE, RESET):
                        return
                    if then == HALF_CLOSE:
                        stream.shutdown(socket.SHUT_WR)

        def accept():
            with contextlib.suppress(OSError):
                while not ended.is_set():
                    stream, _ = listener.accept()
                    threading.Thread(target=answer, args=(stream,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield "{}:{}".format(*listener.getsockname())
        finally:
            ended.set()
            # Closing alone does not wake who accepts.
            listener.shutdown(socket.SHUT_RDWR)


def ask(gateway, path=b"/stats"):
    """The answer, or None where it was cut short for all to see; and how long it took."""
    begun = time.monotonic()
    with socket.create_connection((gateway.host, gateway.port), BOUND_SECONDS) as stream:
        stream.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
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


@pytest.mark.parametrize("name", BROKEN)
def test_an_upstream_that(pytestconfig, frontend, name):
    sent, then, told = BROKEN[name]
    with answering(sent, then) as address, in_front_of(pytestconfig, address, frontend) as gateway:
        answer, seconds = ask(gateway)
        assert seconds < BOUND_SECONDS
        if answer is None or answer.status == CLOSED:
            # The head had passed before the fault was there; the client sees that it is not whole.
            assert b"\r\n\r\nhello" in sent or b"chunked\r\n\r\n" in sent, answer
            return
        assert answer.status in told, answer
        assert b"hello" not in answer.body


@pytest.mark.parametrize("name", ODD)
def test_an_odd_upstream_that(pytestconfig, frontend, name):
    sent, then, body = ODD[name]
    with answering(sent, then) as address, in_front_of(pytestconfig, address, frontend) as gateway:
        # The second shows that nothing of the first was left for it.
        for _ in range(3):
            answer, seconds = ask(gateway)
            assert answer is not None
            assert (answer.status, answer.body) == (200, body)
            assert seconds < BOUND_SECONDS
