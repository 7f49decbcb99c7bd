"""The interface against its own description, and what is refused."""

import copy
import gzip
import json
import subprocess
import sys
import time

import pytest
from conftest import ANSWER_SECONDS, Answer, eventually

import services

# Every path with a parameter has a handful; more examples find no more, they only take longer.
EXAMPLES = 60
# Measured: 10 to 20 s. The bound is for a machine that does something else beside it.
SCHEMATHESIS_SECONDS = 200
PATHS = ("/stats", "/stats/history", "/stats/events", "/stats/top", "/metrics", "/openapi.json", "/healthz", "/readyz")
ALL_PATHS = (*PATHS, "/stats/stream")


@pytest.fixture(scope="module")
def service(request):
    with services.stats(request.config, STATS_EXPOSE="hostname,mounts,processes") as service:
        yield service


def closed(document):
    """The description with schemas that allow nothing beside what they describe.

    The published one leaves them open, so that clients accept fields that are added later.
    """
    document = copy.deepcopy(document)
    schemas = document["components"]["schemas"]
    bases = {part["$ref"].rsplit("/", 1)[1] for schema in schemas.values() for part in schema.get("allOf", ())}
    for name, schema in schemas.items():
        # A base would refuse the fields of what is built on it.
        if name not in bases:
            schema["unevaluatedProperties"] = False
    schemas["Processors"]["properties"]["total"]["unevaluatedProperties"] = False
    return document


def test_the_service_matches_its_description(service, tmp_path):
    description = tmp_path / "openapi.json"
    description.write_text(json.dumps(closed(service.fetch("/openapi.json").json())))
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(description)]
    options = [
        *("--url", service.url),
        # It never ends; test_stream.py has it.
        *("--exclude-path", "/stats/stream"),
        *("--phases", "examples,coverage,fuzzing"),
        *("--max-examples", str(EXAMPLES)),
        *("--seed", "1"),
        "--no-color",
        "--continue-on-failure",
    ]
    begun = time.monotonic()
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=SCHEMATHESIS_SECONDS
    )
    print(f"{time.monotonic() - begun:.0f} s")
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]


def test_the_description_is_small_json_of_this_service(service):
    answer = service.fetch("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.1.")
    assert set(answer.json()["paths"]) == set(ALL_PATHS)
    assert len(answer.body) < 40_000


@pytest.mark.parametrize("path", ALL_PATHS)
def test_options_lists_the_methods_and_head_has_the_same_head(service, path):
    options = service.fetch(path, method="OPTIONS")
    assert (options.status, options.body) == (204, b"")
    assert {"GET", "HEAD", "OPTIONS"} == set(options.headers["allow"].split(", "))
    head = service.fetch(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    if path != "/stats/stream":
        got = service.fetch(path)
        for name in ("content-type", "cache-control", "vary"):
            assert head.headers.get(name) == got.headers.get(name), name


@pytest.mark.parametrize("path", ["/openapi.json", "/metrics", "/stats/history"])
def test_responses_are_compressed_on_request(service, path):
    # Small answers are sent as they are; the history grows with every second.
    eventually(lambda: len(service.fetch(path).body) > 1500)
    packed = service.fetch(path, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in packed.headers["vary"].lower()
    plain = service.fetch(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "accept-encoding" in plain.headers["vary"].lower()
    assert len(packed.body) < len(plain.body)
    assert gzip.decompress(packed.body)[:10] == plain.body[:10]
    refused = service.fetch(path, headers={"accept-encoding": "gzip;q=0"})
    assert refused.headers.get("content-encoding") != "gzip"


def test_the_history_is_as_long_and_as_fine_as_was_asked(service):
    for query, step in [
        ("", 1),
        ("?seconds=5", 1),
        ("?seconds=600&step=7", 7),
        ("?seconds=601", 60),
        ("?seconds=86400&step=61", 120),
        ("?step=3600&seconds=86400", 3600),
    ]:
        history = service.fetch(f"/stats/history{query}").json()
        assert history["step_seconds"] == step, query
        rows = len(history["time_unix_ms"])
        for name, series in history["series"].items():
            assert {len(column) for column in series.values()} == {rows}, (query, name)
    eventually(lambda: len(service.fetch("/stats/history").json()["time_unix_ms"]) >= 3)
    assert 1 <= len(service.fetch("/stats/history?seconds=2").json()["time_unix_ms"]) <= 3


# As they go over the wire, because a client library would refuse to send some of them.
WRONG = {
    "an unknown path": (404, b"GET /statsx HTTP/1.1\r\nhost: x\r\n"),
    "a path with something behind it": (404, b"GET /stats/ HTTP/1.1\r\nhost: x\r\n"),
    "a query that is wrong": (400, b"GET /stats/history?seconds=0 HTTP/1.1\r\nhost: x\r\n"),
    "a query of broken escapes": (400, b"GET /stats/history?%zz=%ff HTTP/1.1\r\nhost: x\r\n"),
    "a method that writes": (405, b"DELETE /stats HTTP/1.1\r\nhost: x\r\n"),
    "an unknown method": (405, b"BREW /stats HTTP/1.1\r\nhost: x\r\n"),
    "a type that is not there": (406, b"GET /stats HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n"),
    "a type that is refused": (406, b"GET /stats HTTP/1.1\r\nhost: x\r\naccept: application/json;q=0, text/html\r\n"),
    "a stream as an image": (406, b"GET /stats/stream HTTP/1.1\r\nhost: x\r\naccept: image/png\r\n"),
    "content of a length": (413, b"GET /stats HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"),
    "content in chunks": (413, b"GET /stats HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"),
    "a long target": (414, b"GET /stats?" + b"x" * 2048 + b" HTTP/1.1\r\nhost: x\r\n"),
    "many fields": (431, b"GET /stats HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 80),
    "a large field": (431, b"GET /stats HTTP/1.1\r\nhost: x\r\na: " + b"b" * 17_000 + b"\r\n"),
}
CONTENT = {"content of a length": b"12345", "content in chunks": b"5\r\n12345\r\n0\r\n\r\n"}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_request_gets_its_status_and_a_problem(service, mistake):
    status, head = WRONG[mistake]
    sent = head + b"connection: close\r\n\r\n" + CONTENT.get(mistake, b"")
    answer = parsed(service.exchange(sent, ANSWER_SECONDS))
    details = problem(answer, status)
    assert details["detail"], details
    if status == 405:
        assert {"GET", "HEAD", "OPTIONS"} == set(answer.headers["allow"].split(", "))
    assert service.fetch("/healthz").status == 200


@pytest.mark.parametrize(
    "text",
    [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /stats HTTP/9.9\r\n\r\n",
        b"GET /stats HTTP/1.1\r\nhost x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /stats HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET /stats HTTP/1.1\r\nhost: x\r\nlast-event-id: \xff\xfe\r\nconnection: close\r\n\r\n",
        bytes(range(256)) * 100,
    ],
)
def test_nonsense_is_no_fault_of_the_server(service, text):
    answer = service.exchange(text)
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert service.fetch("/healthz").status == 200


def test_named_origins_may_read_and_others_may_not(request):
    named, other = "https://page.example", "https://other.example"
    with services.stats(request.config, STATS_ALLOWED_ORIGINS=named) as service:
        for path in ("/stats", "/stats/history", "/openapi.json", "/no-such-path"):
            answer = service.fetch(path, headers={"origin": named})
            assert answer.headers["access-control-allow-origin"] == named, path
            answer = service.fetch(path, headers={"origin": other})
            assert "access-control-allow-origin" not in answer.headers, path
            # Also where there is no Origin: a cache must not hand the one out for the other.
            for headers in ({"origin": other}, {}):
                assert "origin" in service.fetch(path, headers=headers).headers["vary"].lower()


def test_fields_that_are_not_exposed_are_absent(request, service):
    with services.stats(request.config) as discreet:
        sample = discreet.fetch("/stats").json()
        assert not {"hostname", "top"} & set(sample)
        assert all("source" not in filesystem for filesystem in sample.get("filesystems", []))
        assert b'"hostname"' in service.fetch("/stats").body


def problem(answer, status):
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json", answer
    details = answer.json()
    assert set(details) >= {"type", "title", "status", "detail"}, details
    assert details["status"] == status
    return details


def parsed(text):
    """The answer in the bytes of a connection that was closed behind it."""
    head, _, body = text.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1."), text[:200]
    headers = dict(field.split(": ", 1) for field in fields)
    headers = {name.lower(): value for name, value in headers.items()}
    return Answer(int(first.split()[1]), headers, body)
