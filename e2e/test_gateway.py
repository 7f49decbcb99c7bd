"""One door: what goes where, and what is refused."""

import socket
from urllib.parse import urlsplit

import pytest

from tools.common import catalog

ROUTED = [service for service in catalog.ALL.values() if service.route]


@pytest.mark.parametrize("service", ROUTED, ids=lambda service: service.name)
def test_each_service_answers_at_its_route(fetch, service):
    assert fetch(service.route).status == 200


def test_the_root_is_the_page(fetch):
    answer = fetch("/", headers={"accept": "text/html"})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<html" in answer.body


def test_the_page_is_compressed_for_who_can_read_it(fetch):
    assert fetch("/", headers={"accept-encoding": "br"}).headers["content-encoding"] == "br"
    assert "content-encoding" not in fetch("/", headers={"accept-encoding": "identity"}).headers


def test_an_unchanged_page_is_not_sent_again(fetch):
    etag = fetch("/").headers["etag"]
    again = fetch("/", headers={"if-none-match": etag})
    assert (again.status, again.body) == (304, b"")


def test_the_page_may_run_only_what_it_brings(fetch):
    headers = fetch("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_gateway_is_healthy_by_itself(fetch):
    assert fetch("/healthz").status == 200


@pytest.mark.parametrize("path", ["/no-such-page", "/statsx", "/stats/no-such"])
def test_unknown_paths_are_not_found(fetch, path):
    assert fetch(path).status == 404


def test_only_reading_is_allowed(fetch):
    answer = fetch("/stats", method="DELETE")
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_head_has_the_headers_and_no_body(fetch):
    answer = fetch("/stats", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


def test_every_answer_can_be_found_in_the_log(fetch):
    first, second = (fetch("/stats").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_no_answer_names_the_software(fetch):
    for path in ("/", "/stats", "/healthz", "/no-such-page"):
        assert "server" not in fetch(path).headers


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /stats HTTP/1.1\r\n\r\n",
        b"GET /%2e%2e/stats HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /stats HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["no request", "no host", "dot segments", "two lengths"],
)
def test_malformed_requests_are_the_clients_fault(base_url, local, request_bytes):
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as stream:
        stream.sendall(request_bytes)
        head = stream.recv(4096)
    assert head.startswith(b"HTTP/1.1 400"), head
    assert b"\nserver:" not in head.lower()


def test_a_head_without_an_end_is_cut_off_before_it_costs_memory(base_url, local):
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000)
        assert stream.recv(64).startswith(b"HTTP/1.1 431")
