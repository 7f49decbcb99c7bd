"""Requests that two parsers could interpret differently, and some that are invalid for all.

Each case has the bytes of one client on its own connection, and the expected result. `case-000`
in the bytes is replaced by the number of the case, so that every request at an origin belongs to a
case. A request for `/smuggled` must never be one, for it is hidden in a body or a field; one
for `/behind` must not be one either, for it comes after something that ends the connection.

What is expected follows RFC 9110 and 9112, in their strict reading, and the gateway's own limits.
Where the RFCs leave a choice, every safe choice is accepted.
"""

from __future__ import annotations

from typing import NamedTuple

from raw_http import CLOSED

OK = frozenset({200})
BAD = frozenset({400})
# Of what a server may refuse or understand; what reaches the origin must be plain in both cases.
EITHER = frozenset({200, 400})
CODING = frozenset({400, 501})
VERSION = frozenset({400, 505})
METHOD = frozenset({400, 405, 501})
NUMBER = frozenset({400, 413})
CUT_SHORT = frozenset({CLOSED, 400, 408})
UPGRADE = frozenset({200, 400, 403, 426, 501})
EXPECT = frozenset({200, 400, 417})


class Case(NamedTuple):
    """The bytes of a client and the expected result."""

    # A sentence.
    name: str
    # The family it belongs to, as in the table of docs/adversarial.md.
    attack: str
    # Where it is said, or the name under which it is known.
    source: str
    sent: bytes
    # One set of statuses for every answer, in their order.
    answers: tuple = (BAD,)
    # Whether the connection must end after the answers; None where both are right.
    closes: bool | None = True
    # How many requests may reach the origin.
    reaches: int = 0
    # Text that the origin must and must not see, in any case of letters.
    present: tuple = ()
    absent: tuple = ()
    # The first answer is to HEAD and has no body.
    head: bool = False
    # The client closes its sending side.
    half_closes: bool = False
    # The client stops sending without closing: the response follows the timeout.
    stalls: bool = False


HOST = b"Host: gateway.test"
GET = b"GET /case-000 HTTP/1.1"
POST = b"POST /case-000 HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
# Statuses for input that is no request.
SMUGGLED = b"GET /smuggled/case-000 HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
# Statuses for requests that arrive too late.
BEHIND = b"GET /behind/case-000 HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
NOTHING = b"0\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"

_cases: list[Case] = []


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + NOTHING


def refused(attack, source, name, sent, status=BAD, **more):
    """The answer is an error, the connection ends, and what comes behind it is never a request."""
    follow = b"" if more.get("half_closes") or more.get("stalls") else BEHIND
    _cases.append(Case(name, attack, source, sent + follow, (status,), **more))


def turned_down(attack, source, name, sent, status=BAD, **more):
    """The answer is an error. The end of the request is unambiguous, so the connection may go on."""
    _cases.append(Case(name, attack, source, sent, (status,), None, **more))


def tolerated(attack, source, name, sent, status=EITHER, **more):
    """It may be refused or understood, but nothing ambiguous reaches the origin."""
    more.setdefault("closes", None)
    _cases.append(Case(name, attack, source, sent, (status,), reaches=1, **more))


def passes(source, name, sent, answers=(OK,), **more):
    """Nothing is wrong with it, so a gateway that refuses everything fails."""
    more.setdefault("closes", False)
    more.setdefault("reaches", len(answers))
    _cases.append(Case(name, "well-formed", source, sent, answers, **more))


def in_order(attack, source, name, sent, answers, **more):
    """Several answers on one connection."""
    _cases.append(Case(name, attack, source, sent, answers, **more))


# --- both lengths ---------------------------------------------------------------------------------

BOTH = "Content-Length with Transfer-Encoding"
RFC_BOTH = "RFC 9112, 6.1"
HIDDEN = NOTHING + SMUGGLED

refused(
    BOTH,
    "CL.TE",
    "the length covers a second request that the chunks do not",
    head(POST, HOST, b"Content-Length: %d" % len(HIDDEN), CHUNKED) + HIDDEN,
)
refused(
    BOTH,
    "CL.TE",
    "Transfer-Encoding comes before Content-Length",
    head(POST, HOST, CHUNKED, b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
)
refused(
    BOTH,
    "TE.CL",
    "a chunk holds a second request that the length cuts off",
    head(POST, HOST, b"Content-Length: 4", CHUNKED) + chunks(SMUGGLED),
)
refused(
    BOTH,
    "TE.CL",
    "the length is zero and there are chunks",
    head(POST, HOST, b"Content-Length: 0", CHUNKED) + chunks(SMUGGLED),
)
refused(
    BOTH, RFC_BOTH, "both lengths say the same", head(POST, HOST, b"Content-Length: %d" % len(HELLO), CHUNKED) + HELLO
)
refused(
    BOTH, RFC_BOTH, "a GET has both lengths", head(GET, HOST, b"Content-Length: %d" % len(HIDDEN), CHUNKED) + HIDDEN
)
refused(
    BOTH,
    RFC_BOTH,
    "a length stands beside the coding identity",
    head(POST, HOST, b"Content-Length: 5", b"Transfer-Encoding: identity") + b"hello",
    CODING,
)
refused(
    BOTH,
    RFC_BOTH,
    "names in odd case are the same names",
    head(POST, HOST, b"cONTENT-lENGTH: 4", b"tRANSFER-eNCODING: cHUNKED") + chunks(SMUGGLED),
)
refused(
    BOTH,
    RFC_BOTH,
    "many other fields stand between the two lengths",
    head(POST, HOST, b"Content-Length: 4", *(b"X-%d: y" % n for n in range(60)), CHUNKED) + chunks(SMUGGLED),
)
refused(
    BOTH,
    RFC_BOTH,
    "both lengths stand in a request of HTTP/1.0",
    head(b"POST /case-000 HTTP/1.0", HOST, b"Content-Length: 4", CHUNKED) + chunks(SMUGGLED),
)
refused(
    BOTH,
    "TE.TE",
    "a space hides Transfer-Encoding from a reader who knows the length",
    head(POST, HOST, b"Content-Length: 4", b"Transfer-Encoding : chunked") + chunks(SMUGGLED),
)
refused(
    BOTH,
    "TE.TE",
    "a fold hides Transfer-Encoding from a reader who knows the length",
    head(POST, HOST, b"Content-Length: 4", b"Transfer-Encoding:", b" chunked") + chunks(SMUGGLED),
)
refused(
    BOTH,
    "TE.TE",
    "a bare line feed hides Transfer-Encoding in another field",
    head(POST, HOST, b"Content-Length: 4", b"X: y\nTransfer-Encoding: chunked") + chunks(SMUGGLED),
)
refused(
    BOTH,
    "TE.TE",
    "a bare carriage return hides Transfer-Encoding in another field",
    head(POST, HOST, b"Content-Length: 4", b"X: y\rTransfer-Encoding: chunked") + chunks(SMUGGLED),
)
refused(
    BOTH,
    "CL.TE",
    "a NUL hides Content-Length from a reader who knows chunks",
    head(POST, HOST, b"Content-Length\0: %d" % len(HIDDEN), CHUNKED) + HIDDEN,
)

# --- the coding's name ----------------------------------------------------------------------------

CODED = "Transfer-Encoding obfuscated"
RFC_CODING = "RFC 9112, 6.1 and 7"

for value, what in [
    (b"xchunked", "a name that only ends in chunked"),
    (b"chunkedx", "a name that only begins with chunked"),
    (b"cow", "an unknown name"),
    (b"identity", "identity"),
    (b"gzip", "gzip, so that the end of the body is unknown"),
    (b"gzip, chunked", "gzip before chunked"),
    (b"chunked, gzip", "gzip behind chunked"),
    (b"chunked, identity", "identity behind chunked"),
    (b"identity, chunked", "identity before chunked"),
    (b"chunked, chunked", "chunked twice"),
    (b'"chunked"', "chunked in quotes"),
    (b"chunked; a=b", "chunked with a parameter"),
    (b"chunked chunked", "two words without a comma"),
    (b"chu nked", "chunked with a space in it"),
    (b"\x0bchunked", "chunked behind a vertical tab"),
    (b"chunked\x0b", "chunked before a vertical tab"),
    (b"\x0cchunked", "chunked behind a form feed"),
    (b"chunked\0", "chunked before a NUL"),
    (b"\0chunked", "chunked behind a NUL"),
    (b"\xa0chunked", "chunked behind a space of Latin-1"),
    (b"chunked\xff", "chunked before a byte that is no character"),
    (b"\xef\xbb\xbfchunked", "chunked behind a byte order mark"),
    (b"", "nothing"),
    (b",", "a comma alone"),
    (b"deflate", "deflate"),
]:
    refused(
        CODED,
        "TE.TE" if b"chunked" in value else RFC_CODING,
        f"the coding is {what}",
        head(POST, HOST, b"Transfer-Encoding: " + value) + HIDDEN,
        CODING,
    )

refused(CODED, "TE.TE", "the coding is given twice", head(POST, HOST, CHUNKED, CHUNKED) + HIDDEN, CODING)
refused(
    CODED,
    "TE.TE",
    "the second of two codings is unknown",
    head(POST, HOST, CHUNKED, b"Transfer-Encoding: x") + HIDDEN,
    CODING,
)
refused(
    CODED,
    "TE.TE",
    "the first of two codings is unknown",
    head(POST, HOST, b"Transfer-Encoding: x", CHUNKED) + HIDDEN,
    CODING,
)
refused(
    CODED,
    "TE.TE",
    "the coding's field begins with a space",
    head(POST, HOST, b"X: y", b" Transfer-Encoding: chunked") + HIDDEN,
)
refused(CODED, "TE.TE", "the coding's field has no colon", head(POST, HOST, b"Transfer-Encoding chunked") + HIDDEN)
refused(
    CODED, "TE.TE", "a tab stands before the coding's colon", head(POST, HOST, b"Transfer-Encoding\t: chunked") + HIDDEN
)
refused(CODED, "TE.TE", "the coding's name has a NUL", head(POST, HOST, b"Transfer\0-Encoding: chunked") + HIDDEN)
refused(
    CODED,
    "TE.TE",
    "the coding's name ends in a byte of Latin-1",
    head(POST, HOST, b"Transfer-Encoding\xa0: chunked") + HIDDEN,
)
refused(
    CODED,
    RFC_BOTH,
    "HTTP/1.0 does not know Transfer-Encoding",
    head(b"POST /case-000 HTTP/1.0", HOST, CHUNKED) + HIDDEN,
)
refused(
    CODED,
    RFC_BOTH,
    "HTTP/1.0 with keep-alive does not know it either",
    head(b"POST /case-000 HTTP/1.0", HOST, b"Connection: keep-alive", CHUNKED) + HIDDEN,
)
tolerated(
    CODED, "RFC 9112, 5", "a tab before the coding is blank", head(POST, HOST, b"Transfer-Encoding:\tchunked") + HELLO
)
tolerated(
    CODED, "RFC 9112, 5", "a tab behind the coding is blank", head(POST, HOST, b"Transfer-Encoding: chunked \t") + HELLO
)
tolerated(
    CODED,
    "RFC 9110, 5.6.1",
    "the coding's list has empty elements",
    head(POST, HOST, b"Transfer-Encoding: ,chunked,") + HELLO,
    frozenset({200, 400, 501}),
)
tolerated(
    CODED,
    "TE.TE, CGI",
    "an underscore makes another field of it, but not for every server",
    head(POST, HOST, b"Content-Length: %d" % len(HIDDEN), b"Transfer_Encoding: chunked") + HIDDEN,
    absent=(b"transfer_encoding",),
)

# --- the length's number --------------------------------------------------------------------------

LENGTH = "Content-Length"
RFC_LENGTH = "RFC 9112, 6.3; RFC 9110, 8.6"

for value, what in [
    (b"5, 5", "a list of the same number"),
    (b"5, 0", "a list of two numbers"),
    (b"5,", "a number and a comma"),
    (b"+5", "a number with a plus"),
    (b"-5", "negative"),
    (b"-0", "minus zero"),
    (b"0x5", "hexadecimal"),
    (b"5h", "a number and a letter"),
    (b"5 5", "two numbers"),
    (b"5.0", "a fraction"),
    (b"5e0", "a number with an exponent"),
    (b"5;", "a number and a semicolon"),
    (b"1_0", "a number with an underscore"),
    (b'"5"', "in quotes"),
    (b"", "empty"),
    (b"\xef\xbc\x95", "a digit of another script"),
    (b"\x0b5", "a number behind a vertical tab"),
    (b"5\0", "a number before a NUL"),
    (b"five", "a word"),
]:
    refused(LENGTH, RFC_LENGTH, f"the length is {what}", head(POST, HOST, b"Content-Length: " + value) + b"hello")

refused(
    LENGTH,
    RFC_LENGTH,
    "the length is 2^64 and five",
    head(POST, HOST, b"Content-Length: 18446744073709551621") + b"hello",
    NUMBER,
)
refused(
    LENGTH,
    RFC_LENGTH,
    "the length is 2^32 and five",
    head(POST, HOST, b"Content-Length: 4294967301") + b"hello",
    NUMBER,
)
refused(
    LENGTH,
    RFC_LENGTH,
    "the length has a thousand digits",
    head(POST, HOST, b"Content-Length: " + b"9" * 1000) + b"hello",
    NUMBER,
)
refused(
    LENGTH,
    "CL.CL",
    "the length is given twice, the same",
    head(POST, HOST, b"Content-Length: 5", b"Content-Length: 5") + b"hello",
)
refused(
    LENGTH,
    "CL.CL",
    "the length is given twice, short and long",
    head(POST, HOST, b"Content-Length: 0", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
)
refused(
    LENGTH,
    "CL.CL",
    "the length is given twice, long and short",
    head(POST, HOST, b"Content-Length: %d" % len(SMUGGLED), b"Content-Length: 0") + SMUGGLED,
)
refused(
    LENGTH,
    "0.CL",
    "a space stands before the length's colon",
    head(POST, HOST, b"Content-Length : %d" % len(SMUGGLED)) + SMUGGLED,
)
refused(
    LENGTH,
    "0.CL",
    "a tab stands before the length's colon",
    head(GET, HOST, b"Content-Length\t: %d" % len(SMUGGLED)) + SMUGGLED,
)
refused(
    LENGTH,
    "0.CL",
    "the length's field begins with a space",
    head(GET, HOST, b"X: y", b" Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
)
refused(
    LENGTH,
    "0.CL",
    "the length's number stands on the next line",
    head(GET, HOST, b"Content-Length:", b" %d" % len(SMUGGLED)) + SMUGGLED,
)
refused(
    LENGTH, "0.CL", "the length goes on, on the next line", head(POST, HOST, b"Content-Length: 5", b"\t3") + b"hello"
)
refused(LENGTH, "0.CL", "the length's field has no colon", head(POST, HOST, b"Content-Length 5") + b"hello")
refused(
    LENGTH,
    RFC_LENGTH,
    "the client leaves before the end of its body",
    head(POST, HOST, b"Content-Length: 100") + b"hello",
    CUT_SHORT,
    half_closes=True,
)
refused(
    LENGTH,
    RFC_LENGTH,
    "the client never sends the end of its body",
    head(POST, HOST, b"Content-Length: 100") + b"hello",
    CUT_SHORT,
    stalls=True,
)
tolerated(LENGTH, RFC_LENGTH, "the length has zeros in front", head(POST, HOST, b"Content-Length: 00000005") + b"hello")
tolerated(
    LENGTH,
    "0.CL, CGI",
    "an underscore makes a second length, but not for every server",
    head(POST, HOST, b"Content_Length: 0", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    absent=(b"content_length",),
)
tolerated(
    LENGTH,
    "CL.0",
    "the body of a GET looks like a request",
    head(GET, HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
)
tolerated(
    LENGTH,
    "CL.0",
    "the body of a HEAD looks like a request",
    head(b"HEAD /case-000 HTTP/1.1", HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    head=True,
)
tolerated(
    LENGTH,
    "CL.0",
    "the body of an OPTIONS looks like a request",
    head(b"OPTIONS /case-000 HTTP/1.1", HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    frozenset({200, 204, 400, 405}),
)
tolerated(
    LENGTH,
    "CL.0",
    "the body of a DELETE looks like a request",
    head(b"DELETE /case-000 HTTP/1.1", HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    frozenset({200, 400, 405}),
)

# --- chunks ---------------------------------------------------------------------------------------

CHUNK = "chunks"
RFC_CHUNK = "RFC 9112, 7.1"


def chunked(name, body, status=BAD, source=RFC_CHUNK, add=refused, lines=(), **more):
    add(CHUNK, source, name, head(POST, HOST, CHUNKED, *lines) + body, status, **more)


for size, what in [
    (b"", "empty"),
    (b"g", "no hexadecimal number"),
    (b"-5", "negative"),
    (b"+5", "a number with a plus"),
    (b"0x5", "a number with a prefix"),
    (b" 5", "a number behind a space"),
    (b"\t5", "a number behind a tab"),
    (b"5 ", "a number before a space"),
    (b"5\t", "a number before a tab"),
    (b"5\x0b", "a number before a vertical tab"),
    (b"5\0", "a number before a NUL"),
    (b"5 5", "two numbers"),
    (b"5,5", "two numbers and a comma"),
    (b"5_", "a number with an underscore"),
    (b"5\r", "a number before a second carriage return"),
    (b"\xef\xbc\x95", "a digit of another script"),
]:
    chunked(f"the size of a chunk is {what}", size + b"\r\nhello\r\n" + NOTHING)

chunked("the size of a chunk is 2^64 and five", b"10000000000000005\r\nhello\r\n" + NOTHING, NUMBER)
chunked("the size of a chunk is 2^32 and five", b"100000005\r\nhello\r\n" + NOTHING, NUMBER)
chunked("the size of a chunk is 2^64 less one", b"ffffffffffffffff\r\nhello\r\n" + NOTHING, NUMBER)
chunked("the size of a chunk has a thousand digits", b"f" * 1000 + b"\r\nhello\r\n" + NOTHING, NUMBER)
chunked("a chunk is longer than its size", b"5\r\nhello world\r\n" + NOTHING)
chunked("a chunk is shorter than its size", b"6\r\nhello\r\n" + NOTHING)
chunked("there is nothing behind a chunk", b"5\r\nhello0\r\n\r\n")
chunked("a line feed alone ends the size", b"5\nhello\r\n" + NOTHING)
chunked("a carriage return alone ends the size", b"5\rhello\r\n" + NOTHING)
chunked("a line feed alone ends a chunk", b"5\r\nhello\n" + NOTHING)
chunked("line feeds alone end everything", b"5\nhello\n0\n\n")
chunked("a line feed alone ends the last chunk", b"0\n\r\n")
chunked("a line feed alone ends the body", b"0\r\n\n")
chunked("two other bytes stand where a chunk ends", b"5\r\nhelloXX0\r\n\r\n", source="TERM.SPILL")
chunked("an extension hides a line feed", b"5;a\nhello\r\n" + NOTHING, source="TERM.EXT")
chunked(
    "an extension hides a size behind a line feed",
    b"2;\nxx\r\n%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n" + NOTHING,
    source="EXT.TERM",
)
chunked("an extension hides a carriage return", b"5;a\rb\r\nhello\r\n" + NOTHING, source="EXT.TERM")
chunked("an extension has a NUL", b"5;a\0b\r\nhello\r\n" + NOTHING)
chunked("an extension's quotes go on, on the next line", b'5;a="\r\nhello"\r\n' + NOTHING)
chunked(
    "an extension has 20 KiB",
    b"5;" + b"a" * 20480 + b"\r\nhello\r\n" + NOTHING,
    frozenset({400, 413, 431}),
    source="chunk extension flood",
)
chunked(
    "every small chunk has a long extension",
    b"".join(b"1;" + b"a" * 200 + b"\r\nx\r\n" for _ in range(1000)) + NOTHING,
    frozenset({200, 400, 413, 431}),
    add=tolerated,
    absent=(b"a" * 200,),
    source="chunk extension flood, CVE-2023-39326",
)
chunked("the client leaves before the last chunk", b"5\r\nhello\r\n", CUT_SHORT, half_closes=True)
chunked("the client leaves within a chunk", b"f\r\nhello", CUT_SHORT, half_closes=True)
chunked("the last chunk never comes", b"5\r\nhello\r\n", CUT_SHORT, stalls=True)
chunked("the end of the trailers never comes", b"0\r\nX: y\r\n", CUT_SHORT, stalls=True)
chunked("the size is hexadecimal with zeros in front", b"0005\r\nhello\r\n000\r\n\r\n", EITHER, add=tolerated)
chunked("the size has a hundred zeros in front", b"0" * 100 + b"5\r\nhello\r\n" + NOTHING, EITHER, add=tolerated)
chunked(
    "an extension is ignored and goes no further",
    b"5;name=value\r\nhello\r\n" + NOTHING,
    EITHER,
    add=tolerated,
    absent=(b"name=value",),
)
chunked(
    "the last chunk's extension goes no further",
    b"5\r\nhello\r\n0;name=value\r\n\r\n",
    EITHER,
    add=tolerated,
    absent=(b"name=value",),
)

TRAILER = "trailers"
RFC_TRAILER = "RFC 9112, 7.1.2; RFC 9110, 6.5"


def trailed(name, lines, status=BAD, add=refused, **more):
    body = b"5\r\nhello\r\n0\r\n" + lines + b"\r\n"
    add(TRAILER, RFC_TRAILER, name, head(POST, HOST, CHUNKED) + body, status, **more)


trailed("a trailer has no colon", b"trailer\r\n")
trailed("a trailer is the line of a request", b"GET /smuggled/case-000 HTTP/1.1\r\nHost: gateway.test\r\n")
trailed("a trailer has a space before its colon", b"X : y\r\n")
trailed("a trailer has a space in its name", b"X Y: z\r\n")
trailed("a trailer ends with a line feed alone", b"X: y\n")
trailed("a trailer has a carriage return within", b"X: y\rZ: z\r\n")
trailed("a trailer has a NUL", b"X: \0\r\n")
trailed("a trailer goes on, on the next line", b"X: y\r\n z\r\n")
trailed("a trailer has 20 KiB", b"X: " + b"y" * 20480 + b"\r\n", frozenset({400, 413, 431}))
trailed("there are a thousand trailers", b"X: y\r\n" * 1000, frozenset({400, 413, 431}))
for field in (
    b"Content-Length: 100",
    b"Transfer-Encoding: chunked",
    b"Host: evil.test",
    b"X-Forwarded-For: 192.0.2.66",
    b"Connection: X-Request-ID",
):
    name = field.split(b":")[0].decode()
    trailed(
        f"{name} as a trailer changes nothing",
        field + b"\r\n",
        EITHER,
        tolerated,
        absent=(b"evil.test", b"192.0.2.66", b"length: 100"),
    )

# --- lines and fields -----------------------------------------------------------------------------

LINE = "line ends and blanks"
RFC_LINE = "RFC 9112, 2.2 and 5"

refused(LINE, RFC_LINE, "every line ends with a line feed alone", b"\n".join([GET, HOST, b"", b""]))
refused(LINE, RFC_LINE, "the request line ends with a line feed alone", GET + b"\n" + HOST + b"\r\n\r\n")
refused(LINE, RFC_LINE, "a field ends with a line feed alone", GET + b"\r\n" + HOST + b"\nX: y\r\n\r\n")
refused(LINE, RFC_LINE, "the last empty line is a line feed alone", GET + b"\r\n" + HOST + b"\r\n\n")
refused(LINE, RFC_LINE, "the empty line follows a line feed alone", GET + b"\r\n" + HOST + b"\n\r\n")
refused(LINE, RFC_LINE, "every line ends with a carriage return alone", b"\r".join([GET, HOST, b"", b""]) + b"\r\n\r\n")
refused(LINE, RFC_LINE, "a value has a carriage return within", head(GET, HOST, b"X: a\rb"))
refused(LINE, RFC_LINE, "a value ends with two carriage returns", head(GET, HOST, b"X: a\r"))
refused(LINE, RFC_LINE, "a carriage return begins a line", head(GET, HOST, b"\rX: a"))
refused(LINE, RFC_LINE, "the target has a carriage return within", head(b"GET /case-000\rX HTTP/1.1", HOST))
refused(LINE, "RFC 9112, 5.2", "a value goes on after a space", head(GET, HOST, b"X: a", b" b"))
refused(LINE, "RFC 9112, 5.2", "a value goes on after a tab", head(GET, HOST, b"X: a", b"\tb"))
refused(LINE, "RFC 9112, 5.2", "Host goes on, on the next line", head(GET, b"Host: gateway.test", b" .evil.test"))
refused(LINE, RFC_LINE, "the first field begins with a space", head(GET, b" X: y", HOST))
refused(LINE, RFC_LINE, "the first field begins with a tab", head(GET, b"\tX: y", HOST))
refused(LINE, RFC_LINE, "a line of spaces stands before the fields", head(GET, b"  ", HOST))
refused(LINE, RFC_LINE, "a line of spaces stands between fields", head(GET, HOST, b"  ", b"X: y"))
refused(LINE, "RFC 9112, 5.1", "a space stands before a colon", head(GET, HOST, b"X : y"))
refused(LINE, "RFC 9112, 5.1", "a tab stands before a colon", head(GET, HOST, b"X\t: y"))
tolerated(LINE, RFC_LINE, "an empty line comes before the request", b"\r\n" + head(GET, HOST))
refused(LINE, RFC_LINE, "a bare line feed comes before the request", b"\n" + head(GET, HOST))

FIELD = "names and values of fields"
RFC_FIELD = "RFC 9110, 5.1 and 5.5"

for name, what in [
    (b"", "empty"),
    (b"X Y", "two words"),
    (b"X\0Y", "a word with a NUL"),
    (b"X\x01Y", "a word with a control character"),
    (b"X\x7fY", "a word with a delete character"),
    (b"X\xe9Y", "a word with a letter of Latin-1"),
    (b"X(Y)", "a word with parentheses"),
    (b"X/Y", "a word with a slash"),
    (b"X@Y", "a word with an at sign"),
    (b"X[0]", "a word with brackets"),
    (b'"X"', "in quotes"),
    (b"X;Y", "a word with a semicolon"),
    (b"X\\Y", "a word with a backslash"),
]:
    refused(FIELD, RFC_FIELD, f"a field's name is {what}", head(GET, HOST, name + b": y"))
refused(FIELD, RFC_FIELD, "a field has no colon", head(GET, HOST, b"X"))
for value, what in [
    (b"\0", "a NUL"),
    (b"a\x01b", "a control character"),
    (b"a\x08b", "a backspace"),
    (b"a\x0bb", "a vertical tab"),
    (b"a\x1bb", "an escape character"),
    (b"a\x7fb", "a delete character"),
]:
    refused(FIELD, RFC_FIELD, f"a value has {what}", head(GET, HOST, b"X: " + value))
tolerated(FIELD, RFC_FIELD, "a value has a letter of Latin-1", head(GET, HOST, b"X: caf\xe9"))

# --- the request line -----------------------------------------------------------------------------

FIRST = "request line and version"
RFC_FIRST = "RFC 9112, 3"

for line, what in [
    (b"GET  /case-000 HTTP/1.1", "two spaces stand before the target"),
    (b"GET /case-000  HTTP/1.1", "two spaces stand behind the target"),
    (b"GET\t/case-000\tHTTP/1.1", "tabs stand for spaces"),
    (b"GET\x0b/case-000 HTTP/1.1", "a vertical tab stands for a space"),
    (b" GET /case-000 HTTP/1.1", "a space stands before the method"),
    (b"GET /case-000 HTTP/1.1 ", "a space stands behind the version"),
    (b"GET /case-000 HTTP/1.1\t", "a tab stands behind the version"),
    (b"GET /case-000 x HTTP/1.1", "the target has a space within"),
    (b"GET /case-000\tx HTTP/1.1", "the target has a tab within"),
    (b"GET /case-000 HTTP/1.1 HTTP/1.1", "there are two versions"),
    (b"GET  HTTP/1.1", "the target is empty"),
    (b"GET HTTP/1.1", "there is no target"),
    (b" /case-000 HTTP/1.1", "there is no method"),
    (b"/case-000", "there is a target alone"),
    (b"G\0T /case-000 HTTP/1.1", "the method has a NUL"),
    (b"G\x7fT /case-000 HTTP/1.1", "the method has a delete character"),
    (b"G@T /case-000 HTTP/1.1", "the method has an at sign"),
    (b"GET: /case-000 HTTP/1.1", "the method ends in a colon"),
    (b"G\xc9T /case-000 HTTP/1.1", "the method has a letter of Latin-1"),
    (b'"GET" /case-000 HTTP/1.1', "the method is in quotes"),
]:
    refused(FIRST, RFC_FIRST, what, head(line, HOST))
refused(FIRST, "HTTP/0.9", "the request is of HTTP/0.9", b"GET /case-000\r\n", VERSION | {CLOSED})
refused(FIRST, "HTTP/0.9", "a request without a version has fields", head(b"GET /case-000", HOST), VERSION)
for version, what in [
    (b"http/1.1", "in small letters"),
    (b"Http/1.1", "in large and small letters"),
    (b"HTTP/0.9", "0.9"),
    (b"HTTP/2.0", "2.0"),
    (b"HTTP/3.0", "3.0"),
    (b"HTTP/2", "2"),
    (b"HTTP/1", "a number without a point"),
    (b"HTTP/1.", "a number that ends in a point"),
    (b"HTTP/1.10", "1.10"),
    (b"HTTP/01.1", "1.1 with a zero in front"),
    (b"HTTP/1.1.1", "of three numbers"),
    (b"HTTP/1,1", "with a comma"),
    (b"HTTP/+1.1", "with a plus"),
    (b"HTTP/-1.1", "negative"),
    (b"HTTP/ 1.1", "with a space"),
    (b"HTTP /1.1", "with a space before the slash"),
    (b"HTTP/1.1\0", "1.1 before a NUL"),
    (b"HTTP/\xef\xbc\x91.1", "with a digit of another script"),
    (b"HTTPS/1.1", "of HTTPS"),
    (b"HTP/1.1", "misspelt"),
    (b"ICAP/1.0", "of another protocol"),
    (b"RTSP/1.0", "of RTSP"),
]:
    refused(FIRST, "RFC 9112, 2.3", f"the version is {what}", head(b"GET /case-000 " + version, HOST), VERSION)
tolerated(
    FIRST,
    "RFC 9110, 2.5",
    "a later minor version is read as the latest known",
    head(b"GET /case-000 HTTP/1.2", HOST),
    frozenset({200, 400, 505}),
)
refused(
    FIRST,
    "RFC 9113, 3.4",
    "the client begins with HTTP/2, which is off",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    VERSION | {405, CLOSED},
)
refused(
    FIRST,
    "RFC 8446",
    "the client begins with TLS",
    b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + b"\x5a" * 32 + b"\0\0\2\x13\1\1\0\r\n\r\n",
    frozenset({CLOSED, 400}),
)
refused(FIRST, RFC_FIRST, "the request is nonsense", b"nonsense\r\n\r\n")
refused(FIRST, RFC_FIRST, "the request is of zeros", b"\0" * 64 + b"\r\n\r\n")
refused(
    FIRST, "RFC 9112, 9.2", "an answer comes where a request should", head(b"HTTP/1.1 200 OK", b"Content-Length: 0")
)

# --- methods --------------------------------------------------------------------------------------

METHODS = "methods and upgrades"

turned_down(
    METHODS,
    "RFC 9110, 9.3.6",
    "CONNECT would make a tunnel",
    head(b"CONNECT gateway.test:443 HTTP/1.1", b"Host: gateway.test:443"),
    METHOD,
)
turned_down(
    METHODS,
    "RFC 9110, 9.3.6",
    "CONNECT with a path would make a tunnel, too",
    head(b"CONNECT /case-000 HTTP/1.1", HOST),
    METHOD,
)
turned_down(
    METHODS,
    "RFC 9110, 9.3.8; cross-site tracing",
    "TRACE would show what the gateway adds",
    head(b"TRACE /case-000 HTTP/1.1", HOST),
    METHOD,
)
turned_down(
    METHODS,
    "RFC 9110, 9.1",
    "a method in small letters is another method",
    head(b"get /case-000 HTTP/1.1", HOST),
    METHOD,
)
turned_down(METHODS, "RFC 9110, 9.1", "the method is unknown", head(b"BREW /case-000 HTTP/1.1", HOST), METHOD)
turned_down(
    METHODS,
    "RFC 9110, 9.1",
    "the method has a thousand letters",
    head(b"G" * 1000 + b" /case-000 HTTP/1.1", HOST),
    METHOD | {414, 431},
)
turned_down(
    METHODS, "request for a cache", "PURGE must not empty a cache", head(b"PURGE /case-000 HTTP/1.1", HOST), METHOD
)
turned_down(
    METHODS,
    "RFC 9110, 9.3.7",
    "OPTIONS of the whole server is not passed on",
    head(b"OPTIONS * HTTP/1.1", HOST, b"X: case-000"),
    frozenset({200, 204, 400, 405}),
)

UPGRADED = (b"\r\nupgrade:", b"http2-settings", b"connection: upgrade")
for name, lines in [
    (
        "HTTP/2 in clear text",
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    ),
    ("HTTP/2 without saying so in Connection", (b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")),
    (
        "WebSocket",
        (
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
    ),
    (
        "WebSocket of a version that is not there",
        (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 1337"),
    ),
    ("TLS", (b"Connection: Upgrade", b"Upgrade: TLS/1.0")),
]:
    tolerated(
        METHODS,
        "RFC 9110, 7.8; h2c and WebSocket smuggling",
        f"an upgrade to {name} is not passed on",
        head(GET, HOST, *lines),
        UPGRADE,
        absent=UPGRADED,
    )

# --- whose host -----------------------------------------------------------------------------------

AUTHORITY = "Host and authority"
RFC_HOST = "RFC 9112, 3.2"

refused(AUTHORITY, RFC_HOST, "there is no Host", head(GET, b"X: y"))
refused(AUTHORITY, RFC_HOST, "Host is given twice, the same", head(GET, HOST, HOST))
refused(AUTHORITY, RFC_HOST, "Host is given twice", head(GET, HOST, b"Host: evil.test"))
refused(AUTHORITY, RFC_HOST, "a space hides the second Host", head(GET, HOST, b"Host : evil.test"))
refused(AUTHORITY, RFC_HOST, "a fold hides the second Host", head(GET, b"X: y", b" Host: evil.test", HOST))
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
    refused(AUTHORITY, "RFC 9110, 7.2", f"Host is {what}", head(GET, b"Host: " + value))
refused(
    AUTHORITY,
    "RFC 9112, 3.2.2",
    "the target names another host than Host",
    head(b"GET http://evil.test/case-000 HTTP/1.1", HOST),
)
refused(
    AUTHORITY,
    "RFC 9112, 3.2.2",
    "the target names another port than Host",
    head(b"GET http://gateway.test:81/case-000 HTTP/1.1", HOST),
)
refused(
    AUTHORITY,
    "RFC 9112, 3.2.2",
    "the target names a host and there is no Host",
    head(b"GET http://gateway.test/case-000 HTTP/1.1", b"X: y"),
)
refused(
    AUTHORITY,
    "RFC 9110, 4.2.4",
    "the target's host has a user",
    head(b"GET http://user:password@gateway.test/case-000 HTTP/1.1", HOST),
)
refused(
    AUTHORITY,
    "RFC 9110, 4.2.4",
    "the target's user looks like its host",
    head(b"GET http://gateway.test@evil.test/case-000 HTTP/1.1", HOST),
)
refused(AUTHORITY, "RFC 9110, 4.2.1", "the target's host is empty", head(b"GET http:///case-000 HTTP/1.1", HOST))
refused(AUTHORITY, "RFC 9112, 3.2.2", "the target has a scheme and no host", head(b"GET http:/case-000 HTTP/1.1", HOST))
refused(
    AUTHORITY,
    "RFC 9112, 3.2.2",
    "the target is of another scheme",
    head(b"GET ftp://gateway.test/case-000 HTTP/1.1", HOST),
)
refused(AUTHORITY, "RFC 9112, 3.2.2", "the target is a file", head(b"GET file:///etc/passwd?case-000 HTTP/1.1", HOST))
refused(AUTHORITY, "RFC 9112, 3.2.2", "the target is a script", head(b"GET javascript:case-000 HTTP/1.1", HOST))
refused(
    AUTHORITY,
    "RFC 9112, 3.2.3",
    "the target of a GET is a host and a port",
    head(b"GET gateway.test:80 HTTP/1.1", HOST, b"X: case-000"),
)
refused(
    AUTHORITY, "RFC 9112, 3.2.4", "the target of a GET is an asterisk", head(b"GET * HTTP/1.1", HOST, b"X: case-000")
)
tolerated(
    AUTHORITY,
    "RFC 9112, 3.2.2",
    "the target is absolute and of https",
    head(b"GET https://gateway.test/case-000 HTTP/1.1", HOST),
    frozenset({200, 400, 421}),
    present=(b"GET /case-000 ", b"host: gateway.test\r"),
)
tolerated(
    AUTHORITY,
    "RFC 9110, 4.2.3",
    "the target names Host in large letters",
    head(b"GET HTTP://GATEWAY.TEST/case-000 HTTP/1.1", HOST),
    present=(b"GET /case-000 ",),
)
tolerated(
    AUTHORITY,
    "RFC 9110, 4.2.3",
    "the target names the port that Host leaves out",
    head(b"GET http://gateway.test:80/case-000 HTTP/1.1", HOST),
    present=(b"GET /case-000 ",),
)
tolerated(AUTHORITY, "RFC 3986, 3.2.3", "Host ends with a colon and no port", head(GET, b"Host: gateway.test:"))
tolerated(
    AUTHORITY, "RFC 3986, 3.2.3", "Host is a name with a port that is too large", head(GET, b"Host: gateway.test:99999")
)

# --- targets --------------------------------------------------------------------------------------

TARGET = "ambiguous targets"
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
    turned_down(TARGET, RFC_TARGET, f"the target {what}", head(b"GET " + target + b" HTTP/1.1", HOST))
tolerated(
    TARGET,
    RFC_TARGET,
    "the target is escaped twice, and is never unescaped",
    head(b"GET /stats/%252e%252e/case-000 HTTP/1.1", HOST),
    present=(b"/%252e%252e/",),
)
tolerated(
    TARGET, RFC_TARGET, "the target has an escaped byte that is no character", head(b"GET /%ff/case-000 HTTP/1.1", HOST)
)
tolerated(TARGET, RFC_TARGET, "the target has a parameter", head(b"GET /case-000;a=b HTTP/1.1", HOST))
tolerated(
    TARGET, RFC_TARGET, "the target has a question mark that is escaped", head(b"GET /case-000%3fa HTTP/1.1", HOST)
)

# --- sizes ----------------------------------------------------------------------------------------

SIZE = "sizes"
RFC_SIZE = "RFC 9110, 15.5; RFC 6585, 5"


def long_target(size):
    return b"GET /case-000?" + b"a" * (size - len(b"/case-000?")) + b" HTTP/1.1"


refused(SIZE, RFC_SIZE, "the target has a byte over 8 KiB", head(long_target(8193), HOST), frozenset({414}))
refused(SIZE, RFC_SIZE, "the target has 12 KiB", head(long_target(12288), HOST), frozenset({414}))
refused(SIZE, RFC_SIZE, "the target has 60 KiB", head(long_target(61440), HOST), frozenset({414, 431}))
refused(SIZE, RFC_SIZE, "the request line does not end", b"GET /case-000?" + b"a" * 60000, frozenset({400, 414, 431}))
refused(SIZE, RFC_SIZE, "the method does not end", b"G" * 60000, frozenset({400, 405, 414, 431, 501}))
refused(SIZE, RFC_SIZE, "one value has 17 KiB", head(GET, HOST, b"X: " + b"y" * 17408), frozenset({431}))
refused(SIZE, RFC_SIZE, "one name has 17 KiB", head(GET, HOST, b"X" * 17408 + b": y"), frozenset({431}))
refused(
    SIZE,
    RFC_SIZE,
    "fifty fields have 20 KiB together",
    head(GET, HOST, *(b"X-%d: %s" % (n, b"y" * 400) for n in range(50))),
    frozenset({431}),
)
refused(SIZE, RFC_SIZE, "a value does not end", GET + b"\r\n" + HOST + b"\r\nX: " + b"y" * 60000, frozenset({431}))
refused(
    SIZE, RFC_SIZE, "there are 101 fields", head(GET, HOST, *(b"X-%d: y" % n for n in range(100))), frozenset({431})
)
refused(
    SIZE,
    RFC_SIZE,
    "there are a thousand empty fields",
    head(GET, HOST, *(b"X:" for n in range(1000))),
    frozenset({431}),
)
refused(
    SIZE,
    RFC_SIZE,
    "the body is announced with a byte over 64 KiB",
    head(POST, HOST, b"Content-Length: 65537") + b"a" * 65537,
    frozenset({413}),
)
refused(
    SIZE,
    RFC_SIZE,
    "the body is announced with ten gigabytes",
    head(POST, HOST, b"Content-Length: 10000000000") + b"a" * 1000,
    frozenset({413}),
)
refused(
    SIZE,
    RFC_SIZE,
    "ten gigabytes wait for leave to be sent",
    head(POST, HOST, b"Content-Length: 10000000000", b"Expect: 100-continue"),
    frozenset({413, 417}),
    stalls=True,
)
refused(
    SIZE,
    RFC_SIZE,
    "small chunks make a body of over 64 KiB",
    head(POST, HOST, CHUNKED) + chunks(*[b"a" * 1000] * 70),
    frozenset({413}),
)
refused(
    SIZE,
    RFC_SIZE,
    "one chunk has a byte over 64 KiB",
    head(POST, HOST, CHUNKED) + chunks(b"a" * 65537),
    frozenset({413}),
)
refused(
    SIZE,
    RFC_SIZE,
    "seventy thousand chunks of a byte have long sizes",
    head(POST, HOST, CHUNKED) + b"".join(b"000000001\r\na\r\n" for _ in range(70000)) + NOTHING,
    frozenset({400, 413}),
)
tolerated(
    SIZE,
    "CVE-2011-3192",
    "a thousand ranges overlap",
    head(GET, HOST, b"Range: bytes=" + b",".join(b"5-%d" % n for n in range(1000))),
    frozenset({200, 400, 416}),
)
tolerated(
    SIZE,
    "RFC 9110, 14.2",
    "a range has a number without an end",
    head(GET, HOST, b"Range: bytes=" + b"9" * 1000 + b"-"),
    frozenset({200, 400, 416}),
)

# --- fields of one hop ----------------------------------------------------------------------------

HOP = "hop-by-hop and trust"
RFC_HOP = "RFC 9110, 7.6.1"


def hop(name, lines, status=OK, absent=(), present=(), body=b"", source=RFC_HOP, line=GET):
    tolerated(HOP, source, name, head(line, HOST, *lines) + body, status, absent=absent, present=present)


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

EXPECTED = "Expect"
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
    tolerated(EXPECTED, RFC_EXPECT, name, head(POST, HOST, line, FIVE) + b"hello", EXPECT)
tolerated(
    EXPECTED,
    "0.CL by Expect",
    "a GET expects to be let go on with a request for a body",
    head(GET, HOST, b"Expect: 100-continue", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    EXPECT,
)
tolerated(
    EXPECTED,
    "0.CL by Expect",
    "a GET without a body expects to be let go on",
    head(GET, HOST, b"Expect: 100-continue"),
    EXPECT,
)
refused(
    EXPECTED,
    "0.CL by Expect",
    "the expectation stands on the next line",
    head(POST, HOST, b"Expect:", b" 100-continue", FIVE) + b"hello",
)

# --- one behind the other -------------------------------------------------------------------------

PIPE = "pipelining"
RFC_PIPE = "RFC 9112, 9.3.2"
FINE = head(GET, HOST)

in_order(
    PIPE,
    RFC_PIPE,
    "a good request is answered, and the bad one behind it refused",
    FINE + head(POST, HOST, b"Content-Length: 4", CHUNKED) + chunks(SMUGGLED) + BEHIND,
    (OK, BAD),
    reaches=1,
)
in_order(
    PIPE,
    RFC_PIPE,
    "a good request is answered, and the nonsense behind it refused",
    FINE + b"nonsense\r\n\r\n" + BEHIND,
    (OK, BAD),
    reaches=1,
)
in_order(
    PIPE,
    RFC_PIPE,
    "two good requests are answered, and the bad third refused",
    FINE + FINE + head(GET, HOST, HOST) + BEHIND,
    (OK, OK, BAD),
    reaches=2,
)
in_order(
    PIPE,
    RFC_PIPE,
    "a good body is answered, and a bare line feed behind it refused",
    head(POST, HOST, FIVE) + b"hello" + GET + b"\n" + HOST + b"\n\n" + BEHIND,
    (OK, BAD),
    reaches=1,
)
in_order(
    PIPE,
    RFC_PIPE,
    "bytes behind a body are no part of it",
    head(POST, HOST, FIVE) + b"hello world\r\n\r\n" + BEHIND,
    (OK, BAD),
    reaches=1,
)
in_order(
    PIPE,
    "CL.0",
    "a GET with bytes behind it and no length ends before them",
    FINE + b"hello" + BEHIND,
    (OK, METHOD),
    reaches=1,
)
in_order(
    PIPE,
    RFC_PIPE,
    "bytes behind the last chunk are no part of it",
    head(POST, HOST, CHUNKED) + HELLO + b"0\r\n\r\n" + BEHIND,
    (OK, BAD),
    reaches=1,
)
in_order(
    PIPE,
    RFC_PIPE,
    "the second request's head does not end",
    FINE + GET + b"\r\n" + HOST + b"\r\n",
    (OK | {CLOSED}, CUT_SHORT),
    reaches=1,
    half_closes=True,
)
in_order(
    PIPE,
    RFC_PIPE,
    "the second request's body does not end",
    FINE + head(POST, HOST, b"Content-Length: 100") + b"hello",
    (OK | {CLOSED}, CUT_SHORT),
    reaches=1,
    half_closes=True,
)
in_order(
    PIPE,
    "RFC 9112, 9.6",
    "nothing counts behind a request that closes",
    head(GET, HOST, b"Connection: close") + BEHIND,
    (OK,),
    reaches=1,
)
in_order(
    PIPE,
    "RFC 9112, 9.3",
    "nothing counts behind a request of HTTP/1.0",
    head(b"GET /case-000 HTTP/1.0", HOST) + BEHIND,
    (OK,),
    reaches=1,
)
in_order(
    PIPE,
    RFC_PIPE,
    "a good request is answered, and the large body behind it refused",
    FINE + head(POST, HOST, b"Content-Length: 100000") + b"a" * 1000 + BEHIND,
    (OK, frozenset({413})),
    reaches=1,
)
in_order(
    PIPE,
    RFC_PIPE,
    "a good request is answered, and HTTP/2 behind it refused",
    FINE + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + BEHIND,
    (OK, VERSION | {405, CLOSED}),
    reaches=1,
)
in_order(
    PIPE,
    "RFC 9112, 2.2",
    "an empty line between two requests is nothing",
    head(POST, HOST, FIVE) + b"hello\r\n" + FINE,
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
passes("RFC 9110, 5.6.2", "a name may have every character of a token", head(GET, HOST, b"X!#$%&'*+-.^_`|~9: y"))
passes("RFC 9110, 8.6", "a body with its length", head(POST, HOST, FIVE) + b"hello", present=(b"hello",))
passes("RFC 9110, 8.6", "an empty body with its length", head(POST, HOST, b"Content-Length: 0"))
passes("RFC 9112, 6.3", "a POST without any length has no body", head(POST, HOST))
passes(
    "RFC 9112, 7.1", "a body in chunks", head(POST, HOST, CHUNKED) + chunks(b"hello", b" world"), present=(b"hello",)
)
passes(
    "RFC 9112, 7.1", "chunks with sizes in large letters", head(POST, HOST, CHUNKED) + b"A\r\n0123456789\r\n" + NOTHING
)
passes("RFC 9112, 7", "chunked in large letters is chunked", head(POST, HOST, b"Transfer-Encoding: CHUNKED") + HELLO)
passes(
    "RFC 9112, 7.1.2",
    "trailers are read and go no further",
    head(POST, HOST, CHUNKED, b"Trailer: X-Sum") + b"5\r\nhello\r\n0\r\nX-Sum: hidden-value\r\n\r\n",
    absent=(b"hidden-value",),
)
passes(
    "RFC 9112, 6.3",
    "a body that looks like a request is a body",
    head(POST, HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    present=(SMUGGLED[:12],),
)
passes(
    "RFC 9112, 7.1",
    "a chunk that looks like a request is a body",
    head(POST, HOST, CHUNKED) + chunks(SMUGGLED),
    present=(SMUGGLED[:12],),
)
passes(
    "RFC 9110, 10.1.1",
    "a client that expects 100 and continues at once is answered",
    head(POST, HOST, FIVE, b"Expect: 100-continue") + b"hello",
    present=(b"hello",),
)
passes("RFC 9112, 9.3.2", "two requests at once are answered in their order", FINE * 2, (OK, OK))
passes("RFC 9112, 9.3.2", "ten requests at once are answered in their order", FINE * 10, (OK,) * 10)
passes("RFC 9112, 9.3.2", "a body and a request at once", head(POST, HOST, FIVE) + b"hello" + FINE, (OK, OK))
passes("RFC 9112, 9.3.2", "chunks and a request at once", head(POST, HOST, CHUNKED) + HELLO + FINE, (OK, OK))
passes("RFC 9112, 9.3.2", "HEAD and GET at once", head(b"HEAD /case-000 HTTP/1.1", HOST) + FINE, (OK, OK), head=True)
passes("RFC 9110, 9.3.2", "HEAD has no body", head(b"HEAD /case-000 HTTP/1.1", HOST), head=True)
passes(
    "RFC 9112, 9.6", "a request that closes is answered and closed", head(GET, HOST, b"Connection: close"), closes=True
)
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
passes("RFC 6585, 5", "a hundred fields", head(GET, HOST, *(b"X-%d: y" % n for n in range(99))))
passes("RFC 6585, 5", "a head of 15 KiB", head(GET, HOST, b"X: " + b"y" * 15000))
passes("RFC 9110, 15.5.14", "a body of 64 KiB", head(POST, HOST, b"Content-Length: 65536") + b"a" * 65536)
passes("RFC 9110, 15.5.14", "chunks of 64 KiB together", head(POST, HOST, CHUNKED) + chunks(*[b"a" * 4096] * 16))
passes("RFC 9110, 14.2", "a range is asked for", head(GET, HOST, b"Range: bytes=0-3"))

CASES: tuple[Case, ...] = tuple(_cases)


def numbered(case: Case, number: int) -> bytes:
    """The bytes of a case, with its own number."""
    return case.sent.replace(b"case-000", tag(number))


def tag(number: int) -> bytes:
    """The mark of a case in everything that it sends."""
    return b"case-%03d" % number
