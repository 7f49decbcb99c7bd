"""Hosts, targets and sizes."""

from __future__ import annotations

from .case import CHUNKED, GET, HOST, NOTHING, Family, chunks, get, head, post

# --- whose host -----------------------------------------------------------------------------------

AUTHORITY = Family("Host and authority")
RFC_HOST = "RFC 9112, 3.2"

AUTHORITY.refused(RFC_HOST, "there is no Host", head(GET, b"X: y"))
AUTHORITY.refused(RFC_HOST, "Host is given twice, the same", get(HOST))
AUTHORITY.refused(RFC_HOST, "Host is given twice", get(b"Host: evil.test"))
AUTHORITY.refused(RFC_HOST, "a space hides the second Host", get(b"Host : evil.test"))
AUTHORITY.refused(RFC_HOST, "a fold hides the second Host", head(GET, b"X: y", b" Host: evil.test", HOST))
for value, what in [
    (b"", "empty"),
    (b":80", "a port alone"),
    (b"gateway.test evil.test", "two names"),
    (b"gateway.test, evil.test", "a list"),
    (b"user@gateway.test", "a name with a user"),
    (b"gateway.test:80@evil.test", "a name behind a user and a password"),
    (b"gateway.test/path", "a name with a path"),
    (b"gateway.test?query", "a name with a query"),
    (b"gateway.test#fragment", "a name with a fragment"),
    (b"http://gateway.test", "an address with a scheme"),
    (b"gateway.test:http", "a name with a port that is no number"),
    (b"gateway.test:-1", "a name with a negative port"),
    (b"gateway.test:80:80", "a name with two ports"),
    (b"gateway.test\\evil.test", "a name with a backslash"),
    (b"gateway\0.test", "a name with a NUL"),
    (b"gateway.test\xff", "a name with a byte that is no character"),
    (b"gateway%00.test", "a name with an escaped NUL"),
    (b"gateway.test%zz", "a name with a wrong escape"),
    (b"[::1", "an IPv6 address that does not end"),
    (b"[zz]", "brackets around no address"),
    (b"::1", "an IPv6 address without brackets"),
    (b"<script>", "a tag"),
    (b'"gateway.test"', "in quotes"),
]:
    AUTHORITY.refused("RFC 9110, 7.2", f"Host is {what}", head(GET, b"Host: " + value))
AUTHORITY.refused(
    "RFC 9112, 3.2.2", "the target names another host than Host", head(b"GET http://evil.test/case-000 HTTP/1.1", HOST)
)
AUTHORITY.refused(
    "RFC 9112, 3.2.2",
    "the target names another port than Host",
    head(b"GET http://gateway.test:81/case-000 HTTP/1.1", HOST),
)
AUTHORITY.refused(
    "RFC 9112, 3.2.2",
    "the target names a host and there is no Host",
    head(b"GET http://gateway.test/case-000 HTTP/1.1", b"X: y"),
)
AUTHORITY.refused(
    "RFC 9110, 4.2.4",
    "the target's host has a user",
    head(b"GET http://user:password@gateway.test/case-000 HTTP/1.1", HOST),
)
AUTHORITY.refused(
    "RFC 9110, 4.2.4",
    "the target's user looks like its host",
    head(b"GET http://gateway.test@evil.test/case-000 HTTP/1.1", HOST),
)
AUTHORITY.refused("RFC 9110, 4.2.1", "the target's host is empty", head(b"GET http:///case-000 HTTP/1.1", HOST))
AUTHORITY.refused("RFC 9112, 3.2.2", "the target has a scheme and no host", head(b"GET http:/case-000 HTTP/1.1", HOST))
AUTHORITY.refused(
    "RFC 9112, 3.2.2", "the target is of another scheme", head(b"GET ftp://gateway.test/case-000 HTTP/1.1", HOST)
)
AUTHORITY.refused("RFC 9112, 3.2.2", "the target is a file", head(b"GET file:///etc/passwd?case-000 HTTP/1.1", HOST))
AUTHORITY.refused("RFC 9112, 3.2.2", "the target is a script", head(b"GET javascript:case-000 HTTP/1.1", HOST))
AUTHORITY.refused(
    "RFC 9112, 3.2.3",
    "the target of a GET is a host and a port",
    head(b"GET gateway.test:80 HTTP/1.1", HOST, b"X: case-000"),
)
AUTHORITY.refused(
    "RFC 9112, 3.2.4", "the target of a GET is an asterisk", head(b"GET * HTTP/1.1", HOST, b"X: case-000")
)
AUTHORITY.tolerated(
    "RFC 9112, 3.2.2",
    "the target is absolute and of https",
    head(b"GET https://gateway.test/case-000 HTTP/1.1", HOST),
    frozenset({200, 400, 421}),
    present=(b"GET /case-000 ", b"host: gateway.test\r"),
)
AUTHORITY.tolerated(
    "RFC 9110, 4.2.3",
    "the target names Host in large letters",
    head(b"GET HTTP://GATEWAY.TEST/case-000 HTTP/1.1", HOST),
    present=(b"GET /case-000 ",),
)
AUTHORITY.tolerated(
    "RFC 9110, 4.2.3",
    "the target names the port that Host leaves out",
    head(b"GET http://gateway.test:80/case-000 HTTP/1.1", HOST),
    present=(b"GET /case-000 ",),
)
AUTHORITY.tolerated("RFC 3986, 3.2.3", "Host ends with a colon and no port", head(GET, b"Host: gateway.test:"))
AUTHORITY.tolerated(
    "RFC 3986, 3.2.3", "Host is a name with a port that is too large", head(GET, b"Host: gateway.test:99999")
)

# --- targets --------------------------------------------------------------------------------------

TARGET = Family("ambiguous targets")
RFC_TARGET = "RFC 3986, 3.3 and 6.2; RFC 9110, 4.2"

for target, what in [
    (b"/a%2fcase-000", "has an escaped slash"),
    (b"/a%2Fcase-000", "has an escaped slash in large letters"),
    (b"/a%5ccase-000", "has an escaped backslash"),
    (b"/a\\case-000", "has a backslash"),
    (b"/\\evil.test/case-000", "begins with a slash and a backslash"),
    (b"\\case-000", "begins with a backslash"),
    (b"/stats/../case-000", "has two dots"),
    (b"/./case-000", "has a dot"),
    (b"/case-000/..", "ends with two dots"),
    (b"/case-000/.", "ends with a dot"),
    (b"/..", "is two dots"),
    (b"/../../../etc/passwd?case-000", "leads out of the root"),
    (b"/stats/%2e%2e/case-000", "has two escaped dots"),
    (b"/stats/.%2E/case-000", "has a dot and an escaped dot"),
    (b"/stats/%2e/case-000", "has an escaped dot"),
    (b"/stats%2f..%2fcase-000", "has escaped slashes around dots"),
    (b"/stats/..%2fcase-000", "has an escaped slash behind dots"),
    (b"/stats/..%5ccase-000", "has an escaped backslash behind dots"),
    (b"/stats/..\\case-000", "has a backslash behind dots"),
    (b"/stats/..;/case-000", "has dots with a parameter, which some servers take for dots"),
    (b"/stats/..;a=b/case-000", "has dots with a longer parameter"),
    (b"/stats/%2e%2e;/case-000", "has escaped dots with a parameter"),
    (b"/stats/.;/case-000", "has a dot with a parameter"),
    (b"//case-000", "begins with two slashes"),
    (b"//evil.test/case-000", "begins with what looks like a host"),
    (b"/a//case-000", "has an empty segment"),
    (b"/a/%00/case-000", "has an escaped NUL"),
    (b"/case-000%00.png", "ends with an escaped NUL and a harmless name"),
    (b"/case-000%0d%0aX:%20y", "has an escaped line end"),
    (b"/case-000%0a", "has an escaped line feed"),
    (b"/case-000%7f", "has an escaped delete character"),
    (b"/case-000%", "ends with a percent sign"),
    (b"/case-000%2", "ends with half an escape"),
    (b"/case-000%zz", "has an escape that is no number"),
    (b"/case-000%u002f", "has an escape of IIS"),
    (b"/case-000%+1", "has an escape with a sign"),
    (b"/stats/%c0%ae%c0%ae/case-000", "has dots that are escaped in too many bytes"),
    (b"/stats%c0%afcase-000", "has a slash that is escaped in too many bytes"),
    (b"/stats%e0%80%afcase-000", "has a slash that is escaped in three bytes"),
    (b"/stats%c1%9ccase-000", "has a backslash that is escaped in too many bytes"),
    (b"/case-000#fragment", "has a fragment"),
    (b"/case-000?a#fragment", "has a fragment behind a query"),
    (b"case-000", "does not begin with a slash"),
    (b"?case-000", "is a query alone"),
    (b"./case-000", "is relative"),
    (b"/\xff/case-000", "has a byte that is no character"),
    (b"/\xc3\xa9/case-000", "has a letter that is not escaped"),
    (b"/\xc0\xae\xc0\xae/case-000", "has dots in too many bytes"),
    (b"/\0/case-000", "has a NUL"),
    (b"/\x01/case-000", "has a control character"),
    (b"/\x7f/case-000", "has a delete character"),
    (b"/case-000?a=\0", "has a NUL in its query"),
    (b"/case-000?a=\xff", "has a byte in its query that is no character"),
    (b"http://gateway.test/stats/../case-000", "is absolute and has dots"),
    (b"http://gateway.test//case-000", "is absolute and has an empty segment"),
]:
    TARGET.turned_down(RFC_TARGET, f"the target {what}", head(b"GET " + target + b" HTTP/1.1", HOST))
TARGET.tolerated(
    RFC_TARGET,
    "the target is escaped twice, and is never unescaped",
    head(b"GET /stats/%252e%252e/case-000 HTTP/1.1", HOST),
    present=(b"/%252e%252e/",),
)
TARGET.tolerated(
    RFC_TARGET, "the target has an escaped byte that is no character", head(b"GET /%ff/case-000 HTTP/1.1", HOST)
)
TARGET.tolerated(RFC_TARGET, "the target has a parameter", head(b"GET /case-000;a=b HTTP/1.1", HOST))
TARGET.tolerated(
    RFC_TARGET, "the target has a question mark that is escaped", head(b"GET /case-000%3fa HTTP/1.1", HOST)
)

# --- sizes ----------------------------------------------------------------------------------------

SIZE = Family("sizes")
RFC_SIZE = "RFC 9110, 15.5; RFC 6585, 5"


def long_target(size):
    return b"GET /case-000?" + b"a" * (size - len(b"/case-000?")) + b" HTTP/1.1"


SIZE.refused(RFC_SIZE, "the target has a byte over 8 KiB", head(long_target(8193), HOST), frozenset({414}))
SIZE.refused(RFC_SIZE, "the target has 12 KiB", head(long_target(12288), HOST), frozenset({414}))
SIZE.refused(RFC_SIZE, "the target has 60 KiB", head(long_target(61440), HOST), frozenset({414, 431}))
SIZE.refused(RFC_SIZE, "the request line does not end", b"GET /case-000?" + b"a" * 60000, frozenset({400, 414, 431}))
SIZE.refused(RFC_SIZE, "the method does not end", b"G" * 60000, frozenset({400, 405, 414, 431, 501}))
SIZE.refused(RFC_SIZE, "one value has 17 KiB", get(b"X: " + b"y" * 17408), frozenset({431}))
SIZE.refused(RFC_SIZE, "one name has 17 KiB", get(b"X" * 17408 + b": y"), frozenset({431}))
SIZE.refused(
    RFC_SIZE,
    "fifty fields have 20 KiB together",
    get(*(b"X-%d: %s" % (n, b"y" * 400) for n in range(50))),
    frozenset({431}),
)
SIZE.refused(RFC_SIZE, "a value does not end", GET + b"\r\n" + HOST + b"\r\nX: " + b"y" * 60000, frozenset({431}))
SIZE.refused(RFC_SIZE, "there are 101 fields", get(*(b"X-%d: y" % n for n in range(100))), frozenset({431}))
SIZE.refused(RFC_SIZE, "there are a thousand empty fields", get(*(b"X:" for n in range(1000))), frozenset({431}))
SIZE.refused(
    RFC_SIZE,
    "the body is announced with a byte over 64 KiB",
    post(b"Content-Length: 65537") + b"a" * 65537,
    frozenset({413}),
)
SIZE.refused(
    RFC_SIZE,
    "the body is announced with ten gigabytes",
    post(b"Content-Length: 10000000000") + b"a" * 1000,
    frozenset({413}),
)
SIZE.refused(
    RFC_SIZE,
    "ten gigabytes wait for leave to be sent",
    post(b"Content-Length: 10000000000", b"Expect: 100-continue"),
    frozenset({413, 417}),
    stalls=True,
)
SIZE.refused(
    RFC_SIZE, "small chunks make a body of over 64 KiB", post(CHUNKED) + chunks(*[b"a" * 1000] * 70), frozenset({413})
)
SIZE.refused(RFC_SIZE, "one chunk has a byte over 64 KiB", post(CHUNKED) + chunks(b"a" * 65537), frozenset({413}))
SIZE.refused(
    RFC_SIZE,
    "seventy thousand chunks of a byte have long sizes",
    post(CHUNKED) + b"".join(b"000000001\r\na\r\n" for _ in range(70000)) + NOTHING,
    frozenset({400, 413}),
)
SIZE.tolerated(
    "CVE-2011-3192",
    "a thousand ranges overlap",
    get(b"Range: bytes=" + b",".join(b"5-%d" % n for n in range(1000))),
    frozenset({200, 400, 416}),
)
SIZE.tolerated(
    "RFC 9110, 14.2",
    "a range has a number without an end",
    get(b"Range: bytes=" + b"9" * 1000 + b"-"),
    frozenset({200, 400, 416}),
)
