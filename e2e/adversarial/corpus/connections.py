"""Fields of one hop, expectations, several requests on a connection, and well-formed requests."""

from __future__ import annotations

from raw_http import CLOSED

from .case import (
    BAD,
    BEHIND,
    CHUNKED,
    CUT_SHORT,
    EITHER,
    EXPECT,
    GET,
    HELLO,
    HOST,
    METHOD,
    NOTHING,
    OK,
    POST,
    SMUGGLED,
    VERSION,
    Family,
    chunks,
    get,
    head,
    passes,
    post,
)
from .targets import long_target

# --- fields of one hop ----------------------------------------------------------------------------

HOP = Family("hop-by-hop and trust")
RFC_HOP = "RFC 9110, 7.6.1"


def hop(name, lines, status=OK, absent=(), present=(), body=b"", source=RFC_HOP, line=GET):
    HOP.tolerated(source, name, head(line, HOST, *lines) + body, status, absent=absent, present=present)


hop(
    "a field that Connection names goes no further",
    (b"Connection: X-Secret", b"X-Secret: hidden-value"),
    EITHER,
    (b"hidden-value",),
)
hop(
    "a field that Connection names in odd case goes no further",
    (b"Connection: close, x-SECRET", b"X-Secret: hidden-value"),
    EITHER,
    (b"hidden-value",),
)
hop(
    "two Connection fields count both",
    (b"Connection: X-One", b"Connection: X-Two", b"X-One: hidden-one", b"X-Two: hidden-two"),
    EITHER,
    (b"hidden-one", b"hidden-two"),
)
for name in (b"Host", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Request-ID"):
    hop(
        f"Connection cannot take {name.decode()} away",
        (b"Connection: close, " + name,),
        EITHER,
        present=(b"\r\n" + name + b":",),
        source="hop-by-hop abuse",
    )
hop(
    "Connection cannot take Content-Length away",
    (b"Connection: Content-Length", b"Content-Length: %d" % len(SMUGGLED)),
    EITHER,
    body=SMUGGLED,
    source="hop-by-hop abuse",
    line=POST,
)
hop(
    "Connection cannot take Transfer-Encoding away",
    (b"Connection: Transfer-Encoding", CHUNKED),
    EITHER,
    body=chunks(SMUGGLED),
    source="hop-by-hop abuse",
    line=POST,
)
hop("Connection names what is no name", (b"Connection: \x22, @, ;",), EITHER)
hop("Keep-Alive goes no further", (b"Keep-Alive: timeout=999",), OK, (b"timeout=999",))
hop("Proxy-Connection goes no further", (b"Proxy-Connection: hidden-value",), OK, (b"hidden-value",))
hop("TE goes no further", (b"TE: trailers, deflate;q=0.5", b"Connection: TE"), OK, (b"\r\nte:",))
hop("TE goes no further where Connection does not name it", (b"TE: gzip",), EITHER, (b"\r\nte:",))
hop(
    "the client's X-Forwarded-For is not believed",
    (b"X-Forwarded-For: 192.0.2.66",),
    OK,
    (b"192.0.2.66",),
    source="spoofing",
)
hop(
    "the client's X-Forwarded-Host is not believed",
    (b"X-Forwarded-Host: evil.test",),
    OK,
    (b"evil.test",),
    source="spoofing",
)
hop(
    "the client's X-Forwarded-Proto is not believed",
    (b"X-Forwarded-Proto: https-evil",),
    OK,
    (b"https-evil",),
    source="spoofing",
)
hop(
    "the client's Forwarded is not believed",
    (b"Forwarded: for=192.0.2.66;host=evil.test",),
    OK,
    (b"192.0.2.66", b"evil.test"),
    source="spoofing",
)
hop("the client's X-Real-IP is not believed", (b"X-Real-IP: 192.0.2.66",), OK, (b"192.0.2.66",), source="spoofing")
hop(
    "the client's X-Request-ID is not believed",
    (b"X-Request-ID: evil-identity",),
    OK,
    (b"evil-identity",),
    source="spoofing",
)
hop(
    "X_Forwarded_For is not believed, although some servers take it for the other name",
    (b"X_Forwarded_For: 192.0.2.66",),
    EITHER,
    (b"192.0.2.66",),
    source="spoofing, CGI",
)
hop(
    "X-Forwarded-For given twice is not believed either",
    (b"X-Forwarded-For: 192.0.2.66", b"x-forwarded-for: 192.0.2.67"),
    OK,
    (b"192.0.2.6",),
    source="spoofing",
)

# --- expectations ---------------------------------------------------------------------------------

EXPECTED = Family("Expect")
RFC_EXPECT = "RFC 9110, 10.1.1"
FIVE = b"Content-Length: 5"

for line, name in [
    (b"Expect: nonsense", "the client expects nonsense"),
    (b"Expect: 100-continue, nonsense", "the client expects nonsense besides"),
    (b"Expect: y 100-continue", "the expectation has a word before it"),
    (b"Expect: 100-continue\r\nExpect: 100-continue", "the expectation is given twice"),
    (b"Expect: 100-continue; a=b", "the expectation has a parameter"),
    (b"Expect: ", "the expectation is empty"),
]:
    EXPECTED.tolerated(RFC_EXPECT, name, post(line, FIVE) + b"hello", EXPECT)
EXPECTED.tolerated(
    "0.CL by Expect",
    "a GET expects to be let go on with a request for a body",
    get(b"Expect: 100-continue", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    EXPECT,
)
EXPECTED.tolerated(
    "0.CL by Expect", "a GET without a body expects to be let go on", get(b"Expect: 100-continue"), EXPECT
)
EXPECTED.refused(
    "0.CL by Expect", "the expectation stands on the next line", post(b"Expect:", b" 100-continue", FIVE) + b"hello"
)

# --- one behind the other -------------------------------------------------------------------------

PIPE = Family("pipelining")
RFC_PIPE = "RFC 9112, 9.3.2"
FINE = get()

PIPE.in_order(
    RFC_PIPE,
    "a good request is answered, and the bad one behind it refused",
    FINE + post(b"Content-Length: 4", CHUNKED) + chunks(SMUGGLED) + BEHIND,
    (OK, BAD),
    reaches=1,
)
PIPE.in_order(
    RFC_PIPE,
    "a good request is answered, and the nonsense behind it refused",
    FINE + b"nonsense\r\n\r\n" + BEHIND,
    (OK, BAD),
    reaches=1,
)
PIPE.in_order(
    RFC_PIPE,
    "two good requests are answered, and the bad third refused",
    FINE + FINE + get(HOST) + BEHIND,
    (OK, OK, BAD),
    reaches=2,
)
PIPE.in_order(
    RFC_PIPE,
    "a good body is answered, and a bare line feed behind it refused",
    post(FIVE) + b"hello" + GET + b"\n" + HOST + b"\n\n" + BEHIND,
    (OK, BAD),
    reaches=1,
)
PIPE.in_order(
    RFC_PIPE,
    "bytes behind a body are no part of it",
    post(FIVE) + b"hello world\r\n\r\n" + BEHIND,
    (OK, BAD),
    reaches=1,
)
PIPE.in_order(
    "CL.0",
    "a GET with bytes behind it and no length ends before them",
    FINE + b"hello" + BEHIND,
    (OK, METHOD),
    reaches=1,
)
PIPE.in_order(
    RFC_PIPE,
    "bytes behind the last chunk are no part of it",
    post(CHUNKED) + HELLO + b"0\r\n\r\n" + BEHIND,
    (OK, BAD),
    reaches=1,
)
PIPE.in_order(
    RFC_PIPE,
    "the second request's head does not end",
    FINE + GET + b"\r\n" + HOST + b"\r\n",
    (OK | {CLOSED}, CUT_SHORT),
    reaches=1,
    half_closes=True,
)
PIPE.in_order(
    RFC_PIPE,
    "the second request's body does not end",
    FINE + post(b"Content-Length: 100") + b"hello",
    (OK | {CLOSED}, CUT_SHORT),
    reaches=1,
    half_closes=True,
)
PIPE.in_order(
    "RFC 9112, 9.6", "nothing counts behind a request that closes", get(b"Connection: close") + BEHIND, (OK,), reaches=1
)
PIPE.in_order(
    "RFC 9112, 9.3",
    "nothing counts behind a request of HTTP/1.0",
    head(b"GET /case-000 HTTP/1.0", HOST) + BEHIND,
    (OK,),
    reaches=1,
)
PIPE.in_order(
    RFC_PIPE,
    "a good request is answered, and the large body behind it refused",
    FINE + post(b"Content-Length: 100000") + b"a" * 1000 + BEHIND,
    (OK, frozenset({413})),
    reaches=1,
)
PIPE.in_order(
    RFC_PIPE,
    "a good request is answered, and HTTP/2 behind it refused",
    FINE + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + BEHIND,
    (OK, VERSION | {405, CLOSED}),
    reaches=1,
)
PIPE.in_order(
    "RFC 9112, 2.2",
    "an empty line between two requests is nothing",
    post(FIVE) + b"hello\r\n" + FINE,
    (OK, EITHER),
    closes=None,
    reaches=2,
)

# --- nothing is wrong with these ------------------------------------------------------------------

passes("RFC 9112, 3", "the least that a request needs", FINE)
passes(
    "RFC 9112, 5",
    "a field may have no blank, much blank, and tabs",
    head(GET, b"Host:gateway.test", b"X:y", b"Y: \t z \t", b"Z:", b"Tab: a\tb"),
)
passes("RFC 9110, 5.6.2", "a name may have every character of a token", get(b"X!#$%&'*+-.^_`|~9: y"))
passes("RFC 9110, 8.6", "a body with its length", post(FIVE) + b"hello", present=(b"hello",))
passes("RFC 9110, 8.6", "an empty body with its length", post(b"Content-Length: 0"))
passes("RFC 9112, 6.3", "a POST without any length has no body", post())
passes("RFC 9112, 7.1", "a body in chunks", post(CHUNKED) + chunks(b"hello", b" world"), present=(b"hello",))
passes("RFC 9112, 7.1", "chunks with sizes in large letters", post(CHUNKED) + b"A\r\n0123456789\r\n" + NOTHING)
passes("RFC 9112, 7", "chunked in large letters is chunked", post(b"Transfer-Encoding: CHUNKED") + HELLO)
passes(
    "RFC 9112, 7.1.2",
    "trailers are read and go no further",
    post(CHUNKED, b"Trailer: X-Sum") + b"5\r\nhello\r\n0\r\nX-Sum: hidden-value\r\n\r\n",
    absent=(b"hidden-value",),
)
passes(
    "RFC 9112, 6.3",
    "a body that looks like a request is a body",
    post(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    present=(SMUGGLED[:12],),
)
passes(
    "RFC 9112, 7.1",
    "a chunk that looks like a request is a body",
    post(CHUNKED) + chunks(SMUGGLED),
    present=(SMUGGLED[:12],),
)
passes(
    "RFC 9110, 10.1.1",
    "a client that expects 100 and continues at once is answered",
    post(FIVE, b"Expect: 100-continue") + b"hello",
    present=(b"hello",),
)
passes("RFC 9112, 9.3.2", "two requests at once are answered in their order", FINE * 2, (OK, OK))
passes("RFC 9112, 9.3.2", "ten requests at once are answered in their order", FINE * 10, (OK,) * 10)
passes("RFC 9112, 9.3.2", "a body and a request at once", post(FIVE) + b"hello" + FINE, (OK, OK))
passes("RFC 9112, 9.3.2", "chunks and a request at once", post(CHUNKED) + HELLO + FINE, (OK, OK))
passes("RFC 9112, 9.3.2", "HEAD and GET at once", head(b"HEAD /case-000 HTTP/1.1", HOST) + FINE, (OK, OK), head=True)
passes("RFC 9110, 9.3.2", "HEAD has no body", head(b"HEAD /case-000 HTTP/1.1", HOST), head=True)
passes("RFC 9112, 9.6", "a request that closes is answered and closed", get(b"Connection: close"), closes=True)
passes("RFC 9112, 9.3", "HTTP/1.0 closes", head(b"GET /case-000 HTTP/1.0", HOST), closes=True)
passes(
    "RFC 9112, 9.3",
    "HTTP/1.0 can be asked to stay",
    head(b"GET /case-000 HTTP/1.0", HOST, b"Connection: keep-alive") * 2,
    (OK, OK),
    closes=None,
)
passes(
    "RFC 9112, 9.3",
    "HTTP/1.0 may have a body",
    head(b"POST /case-000 HTTP/1.0", HOST, FIVE) + b"hello",
    closes=True,
    present=(b"hello",),
)
passes(
    "RFC 9112, 3.2.2",
    "an absolute target that agrees with Host becomes a path",
    head(b"GET http://gateway.test/case-000?a=b HTTP/1.1", HOST),
    present=(b"GET /case-000?a=b HTTP/1.1\r\n", b"host: gateway.test\r\n"),
)
passes(
    "RFC 9110, 7.2",
    "Host may be a name with a port",
    head(GET, b"Host: gateway.test:3050"),
    present=(b"host: gateway.test:3050",),
)
passes("RFC 9110, 7.2", "Host may be an address", head(GET, b"Host: 127.0.0.1:3050"))
passes("RFC 9110, 7.2", "Host may be an IPv6 address", head(GET, b"Host: [::1]:3050"))
passes("RFC 9110, 7.2", "Host may be a name of Compose", head(GET, b"Host: my_app-1:80"))
passes(
    "RFC 3986",
    "a query may have nearly everything",
    head(b"GET /case-000?a=/../b&c=%00&d=//&e=;&f=?&g=%2f%5c HTTP/1.1", HOST),
    present=(b"/case-000?a=/../b&c=%00&d=//&e=;&f=?&g=%2f%5c ",),
)
passes("RFC 3986", "dots in names are only dots", head(b"GET /.well-known/..a/b../case-000 HTTP/1.1", HOST))
passes(
    "RFC 3986",
    "an escaped space and an escaped letter beyond ASCII stay escaped",
    head(b"GET /a%20b/%C3%A9/case-000 HTTP/1.1", HOST),
    present=(b"/a%20b/%C3%A9/case-000",),
)
passes("RFC 9110, 9.3", "PUT, with a body", head(b"PUT /case-000 HTTP/1.1", HOST, FIVE) + b"hello")
passes("RFC 9110, 9.3", "DELETE, without a body", head(b"DELETE /case-000 HTTP/1.1", HOST))
passes("RFC 5789", "PATCH, with a body", head(b"PATCH /case-000 HTTP/1.1", HOST, FIVE) + b"hello")
passes("RFC 9110, 9.3.7", "OPTIONS of one resource", head(b"OPTIONS /case-000 HTTP/1.1", HOST))
passes("RFC 9110, 15.5.15", "a target of 8,000 bytes", head(long_target(8000), HOST))
passes("RFC 6585, 5", "a hundred fields", get(*(b"X-%d: y" % n for n in range(99))))
passes("RFC 6585, 5", "a head of 15 KiB", get(b"X: " + b"y" * 15000))
passes("RFC 9110, 15.5.14", "a body of 64 KiB", post(b"Content-Length: 65536") + b"a" * 65536)
passes("RFC 9110, 15.5.14", "chunks of 64 KiB together", post(CHUNKED) + chunks(*[b"a" * 4096] * 16))
passes("RFC 9110, 14.2", "a range is asked for", get(b"Range: bytes=0-3"))
