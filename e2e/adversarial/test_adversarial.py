"""The gateway between clients that mean harm and an origin that believes everything.

pytest e2e/adversarial --binaries FOLDER [-k "length"]
"""

import re
import socket

import pytest
from corpus import CASES, bytes_of
from exchange import run
from origin import Origin
from raw_http import Reader
from strict import faults
from verdict import complaints, unmeant

import services

# Two segments of a request line, of most field lines, and of every chunk.
PIECE_BYTES = 7


def slug(case):
    return re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")


@pytest.fixture(scope="module")
def origins():
    """Origins of both routes; each prefers another of two lengths."""
    with Origin("stats", "length") as stats, Origin("frontend", "chunks") as frontend:
        yield stats, frontend


@pytest.fixture(scope="module")
def gateway(pytestconfig, origins):
    stats, frontend = origins
    with services.gateway(pytestconfig, stats.address, frontend.address) as gateway:
        yield gateway


@pytest.fixture(scope="module", params=[None, PIECE_BYTES], ids=["at-once", "in-small-pieces"])
def corpus_run(request, gateway, origins):
    """The result of each case, and the requests at the origins that belong to none."""
    results = run(gateway.host, gateway.port, origins, request.param)
    return results, [stray for origin in origins for stray in unmeant(origin.seen)]


@pytest.mark.parametrize("number", range(len(CASES)), ids=map(slug, CASES))
def test_case(corpus_run, number):
    if found := complaints(corpus_run[0][number]):
        case = CASES[number]
        pytest.fail(f"{case.name} ({case.source}): " + "; ".join(found), pytrace=False)


def test_the_origins_saw_nothing_that_was_not_meant(corpus_run):
    assert corpus_run[1] == []


def test_a_final_rejection_closes_the_connection(corpus_run):
    """A pipelining client must detect that later requests were not processed (RFC 9112, 9.6)."""
    silent = [
        result.case.name
        for result in corpus_run[0]
        if result.outcome.closed and result.statuses[-1] >= 400
        if b"\r\nconnection: close\r\n" not in result.outcome.answers[-1].head.lower()
    ]
    assert silent == []


def test_no_refusal_names_the_software_or_repeats_what_was_sent(corpus_run):
    for result in corpus_run[0]:
        for answer in result.outcome.answers:
            assert b"\r\nserver:" not in answer.head.lower(), result.case.name
            if answer.status >= 400:
                assert b"case-" not in answer.body, result.case.name
                assert b"evil.test" not in answer.head + answer.body, result.case.name


def test_the_gateway_serves_after_all_of_it(corpus_run, gateway):
    assert gateway.process.poll() is None
    for path, upstream in (("/stats/after-000", "stats"), ("/after-000", "frontend")):
        answer = gateway.fetch(path)
        assert (answer.status, answer.body.split()[0].decode()) == (200, upstream)


def test_a_client_that_expects_100_continue_gets_it(gateway):
    """RFC 9110, 10.1.1: the gateway reads the body itself, so the leave is its own."""
    with socket.create_connection((gateway.host, gateway.port), timeout=5) as stream:
        stream.sendall(bytes_of("{POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"))
        assert stream.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stream.sendall(b"hello")
        assert Reader(stream, 5).answer().status == 200


def test_a_client_of_http_1_0_gets_no_100_continue(gateway):
    with socket.create_connection((gateway.host, gateway.port), timeout=5) as stream:
        request = bytes_of("{POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")
        stream.sendall(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        reader = Reader(stream, 5)
        assert (reader.answer().status, reader.interim) == (200, 0)


def test_the_corpus_is_one_of_sentences():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert len(set(map(slug, CASES))) == len(names)
    refused = [case for case in CASES if case.reaches == 0]
    assert len(refused) >= 120
    assert len(CASES) <= 1000, "a tag has three digits"


@pytest.mark.parametrize("prefers", ["chunks", "length"])
def test_the_origin_would_notice_a_hidden_request(prefers):
    """Proof that the test can fail: without a gateway, the origin accepts these."""
    hiding = [number for number, case in enumerate(CASES) if case.source in ("CL.TE", "TE.CL")]
    with Origin("bare", prefers) as origin:
        found = run("127.0.0.1", origin.port, [origin], numbers=hiding, seconds=1)
        assert len(unmeant(origin.seen)) >= 4
    assert all(map(complaints, found))


def test_the_strict_reader_has_no_doubts_about_what_is_well_formed():
    for case in CASES:
        exempt = len(case.answers) > 1 or b"http://" in case.sent or b"Trailer" in case.sent
        if case.attack == "well-formed" and not exempt:
            assert faults(case.sent) == [], case.name


def test_the_strict_reader_doubts_what_is_refused_for_its_form():
    """Other reasons for a refusal are sizes, methods, and clients that stop in the middle."""
    form = {
        "Content-Length with Transfer-Encoding",
        "Transfer-Encoding obfuscated",
        "Content-Length",
        "line ends and blanks",
        "names and values of fields",
        "ambiguous targets",
    }
    for case in CASES:
        if case.attack in form and case.reaches == 0:
            assert faults(case.sent.removesuffix(bytes_of("{BEHIND}"))), case.name
