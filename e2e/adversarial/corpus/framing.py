"""Lengths, codings and chunks."""

from __future__ import annotations

from .case import (
    BAD,
    CHUNKED,
    CODING,
    CUT_SHORT,
    EITHER,
    HELLO,
    HOST,
    NOTHING,
    NUMBER,
    SMUGGLED,
    Family,
    chunks,
    get,
    head,
    post,
)

# --- both lengths ---------------------------------------------------------------------------------

BOTH = Family("Content-Length with Transfer-Encoding")
RFC_BOTH = "RFC 9112, 6.1"
HIDDEN = NOTHING + SMUGGLED

BOTH.refused(
    "CL.TE",
    "the length covers a second request that the chunks do not",
    post(b"Content-Length: %d" % len(HIDDEN), CHUNKED) + HIDDEN,
)
BOTH.refused(
    "CL.TE",
    "Transfer-Encoding comes before Content-Length",
    post(CHUNKED, b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
)
BOTH.refused(
    "TE.CL",
    "a chunk holds a second request that the length cuts off",
    post(b"Content-Length: 4", CHUNKED) + chunks(SMUGGLED),
)
BOTH.refused("TE.CL", "the length is zero and there are chunks", post(b"Content-Length: 0", CHUNKED) + chunks(SMUGGLED))
BOTH.refused(RFC_BOTH, "both lengths say the same", post(b"Content-Length: %d" % len(HELLO), CHUNKED) + HELLO)
BOTH.refused(RFC_BOTH, "a GET has both lengths", get(b"Content-Length: %d" % len(HIDDEN), CHUNKED) + HIDDEN)
BOTH.refused(
    RFC_BOTH,
    "a length stands beside the coding identity",
    post(b"Content-Length: 5", b"Transfer-Encoding: identity") + b"hello",
    CODING,
)
BOTH.refused(
    RFC_BOTH,
    "names in odd case are the same names",
    post(b"cONTENT-lENGTH: 4", b"tRANSFER-eNCODING: cHUNKED") + chunks(SMUGGLED),
)
BOTH.refused(
    RFC_BOTH,
    "many other fields stand between the two lengths",
    post(b"Content-Length: 4", *(b"X-%d: y" % n for n in range(60)), CHUNKED) + chunks(SMUGGLED),
)
BOTH.refused(
    RFC_BOTH,
    "both lengths stand in a request of HTTP/1.0",
    head(b"POST /case-000 HTTP/1.0", HOST, b"Content-Length: 4", CHUNKED) + chunks(SMUGGLED),
)
BOTH.refused(
    "TE.TE",
    "a space hides Transfer-Encoding from a reader who knows the length",
    post(b"Content-Length: 4", b"Transfer-Encoding : chunked") + chunks(SMUGGLED),
)
BOTH.refused(
    "TE.TE",
    "a fold hides Transfer-Encoding from a reader who knows the length",
    post(b"Content-Length: 4", b"Transfer-Encoding:", b" chunked") + chunks(SMUGGLED),
)
BOTH.refused(
    "TE.TE",
    "a bare line feed hides Transfer-Encoding in another field",
    post(b"Content-Length: 4", b"X: y\nTransfer-Encoding: chunked") + chunks(SMUGGLED),
)
BOTH.refused(
    "TE.TE",
    "a bare carriage return hides Transfer-Encoding in another field",
    post(b"Content-Length: 4", b"X: y\rTransfer-Encoding: chunked") + chunks(SMUGGLED),
)
BOTH.refused(
    "CL.TE",
    "a NUL hides Content-Length from a reader who knows chunks",
    post(b"Content-Length\0: %d" % len(HIDDEN), CHUNKED) + HIDDEN,
)

# --- the coding's name ----------------------------------------------------------------------------

CODED = Family("Transfer-Encoding obfuscated")
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
    CODED.refused(
        "TE.TE" if b"chunked" in value else RFC_CODING,
        f"the coding is {what}",
        post(b"Transfer-Encoding: " + value) + HIDDEN,
        CODING,
    )

CODED.refused("TE.TE", "the coding is given twice", post(CHUNKED, CHUNKED) + HIDDEN, CODING)
CODED.refused("TE.TE", "the second of two codings is unknown", post(CHUNKED, b"Transfer-Encoding: x") + HIDDEN, CODING)
CODED.refused("TE.TE", "the first of two codings is unknown", post(b"Transfer-Encoding: x", CHUNKED) + HIDDEN, CODING)
CODED.refused("TE.TE", "the coding's field begins with a space", post(b"X: y", b" Transfer-Encoding: chunked") + HIDDEN)
CODED.refused("TE.TE", "the coding's field has no colon", post(b"Transfer-Encoding chunked") + HIDDEN)
CODED.refused("TE.TE", "a tab stands before the coding's colon", post(b"Transfer-Encoding\t: chunked") + HIDDEN)
CODED.refused("TE.TE", "the coding's name has a NUL", post(b"Transfer\0-Encoding: chunked") + HIDDEN)
CODED.refused("TE.TE", "the coding's name ends in a byte of Latin-1", post(b"Transfer-Encoding\xa0: chunked") + HIDDEN)
CODED.refused(
    RFC_BOTH, "HTTP/1.0 does not know Transfer-Encoding", head(b"POST /case-000 HTTP/1.0", HOST, CHUNKED) + HIDDEN
)
CODED.refused(
    RFC_BOTH,
    "HTTP/1.0 with keep-alive does not know it either",
    head(b"POST /case-000 HTTP/1.0", HOST, b"Connection: keep-alive", CHUNKED) + HIDDEN,
)
CODED.tolerated("RFC 9112, 5", "a tab before the coding is blank", post(b"Transfer-Encoding:\tchunked") + HELLO)
CODED.tolerated("RFC 9112, 5", "a tab behind the coding is blank", post(b"Transfer-Encoding: chunked \t") + HELLO)
CODED.tolerated(
    "RFC 9110, 5.6.1",
    "the coding's list has empty elements",
    post(b"Transfer-Encoding: ,chunked,") + HELLO,
    frozenset({200, 400, 501}),
)
CODED.tolerated(
    "TE.TE, CGI",
    "an underscore makes another field of it, but not for every server",
    post(b"Content-Length: %d" % len(HIDDEN), b"Transfer_Encoding: chunked") + HIDDEN,
    absent=(b"transfer_encoding",),
)

# --- the length's number --------------------------------------------------------------------------

LENGTH = Family("Content-Length")
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
    LENGTH.refused(RFC_LENGTH, f"the length is {what}", post(b"Content-Length: " + value) + b"hello")

LENGTH.refused(
    RFC_LENGTH, "the length is 2^64 and five", post(b"Content-Length: 18446744073709551621") + b"hello", NUMBER
)
LENGTH.refused(RFC_LENGTH, "the length is 2^32 and five", post(b"Content-Length: 4294967301") + b"hello", NUMBER)
LENGTH.refused(
    RFC_LENGTH, "the length has a thousand digits", post(b"Content-Length: " + b"9" * 1000) + b"hello", NUMBER
)
LENGTH.refused(
    "CL.CL", "the length is given twice, the same", post(b"Content-Length: 5", b"Content-Length: 5") + b"hello"
)
LENGTH.refused(
    "CL.CL",
    "the length is given twice, short and long",
    post(b"Content-Length: 0", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
)
LENGTH.refused(
    "CL.CL",
    "the length is given twice, long and short",
    post(b"Content-Length: %d" % len(SMUGGLED), b"Content-Length: 0") + SMUGGLED,
)
LENGTH.refused(
    "0.CL", "a space stands before the length's colon", post(b"Content-Length : %d" % len(SMUGGLED)) + SMUGGLED
)
LENGTH.refused(
    "0.CL", "a tab stands before the length's colon", get(b"Content-Length\t: %d" % len(SMUGGLED)) + SMUGGLED
)
LENGTH.refused(
    "0.CL", "the length's field begins with a space", get(b"X: y", b" Content-Length: %d" % len(SMUGGLED)) + SMUGGLED
)
LENGTH.refused(
    "0.CL", "the length's number stands on the next line", get(b"Content-Length:", b" %d" % len(SMUGGLED)) + SMUGGLED
)
LENGTH.refused("0.CL", "the length goes on, on the next line", post(b"Content-Length: 5", b"\t3") + b"hello")
LENGTH.refused("0.CL", "the length's field has no colon", post(b"Content-Length 5") + b"hello")
LENGTH.refused(
    RFC_LENGTH,
    "the client leaves before the end of its body",
    post(b"Content-Length: 100") + b"hello",
    CUT_SHORT,
    half_closes=True,
)
LENGTH.refused(
    RFC_LENGTH,
    "the client never sends the end of its body",
    post(b"Content-Length: 100") + b"hello",
    CUT_SHORT,
    stalls=True,
)
LENGTH.tolerated(RFC_LENGTH, "the length has zeros in front", post(b"Content-Length: 00000005") + b"hello")
LENGTH.tolerated(
    "0.CL, CGI",
    "an underscore makes a second length, but not for every server",
    post(b"Content_Length: 0", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    absent=(b"content_length",),
)
LENGTH.tolerated(
    "CL.0", "the body of a GET looks like a request", get(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED
)
LENGTH.tolerated(
    "CL.0",
    "the body of a HEAD looks like a request",
    head(b"HEAD /case-000 HTTP/1.1", HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    head=True,
)
LENGTH.tolerated(
    "CL.0",
    "the body of an OPTIONS looks like a request",
    head(b"OPTIONS /case-000 HTTP/1.1", HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    frozenset({200, 204, 400, 405}),
)
LENGTH.tolerated(
    "CL.0",
    "the body of a DELETE looks like a request",
    head(b"DELETE /case-000 HTTP/1.1", HOST, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    frozenset({200, 400, 405}),
)

# --- chunks ---------------------------------------------------------------------------------------

CHUNK = Family("chunks")
RFC_CHUNK = "RFC 9112, 7.1"


def chunked(name, body, status=BAD, source=RFC_CHUNK, add=Family.refused, lines=(), **more):
    add(CHUNK, source, name, post(CHUNKED, *lines) + body, status, **more)


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
    add=Family.tolerated,
    absent=(b"a" * 200,),
    source="chunk extension flood, CVE-2023-39326",
)
chunked("the client leaves before the last chunk", b"5\r\nhello\r\n", CUT_SHORT, half_closes=True)
chunked("the client leaves within a chunk", b"f\r\nhello", CUT_SHORT, half_closes=True)
chunked("the last chunk never comes", b"5\r\nhello\r\n", CUT_SHORT, stalls=True)
chunked("the end of the trailers never comes", b"0\r\nX: y\r\n", CUT_SHORT, stalls=True)
chunked("the size is hexadecimal with zeros in front", b"0005\r\nhello\r\n000\r\n\r\n", EITHER, add=Family.tolerated)
chunked("the size has a hundred zeros in front", b"0" * 100 + b"5\r\nhello\r\n" + NOTHING, EITHER, add=Family.tolerated)
chunked(
    "an extension is ignored and goes no further",
    b"5;name=value\r\nhello\r\n" + NOTHING,
    EITHER,
    add=Family.tolerated,
    absent=(b"name=value",),
)
chunked(
    "the last chunk's extension goes no further",
    b"5\r\nhello\r\n0;name=value\r\n\r\n",
    EITHER,
    add=Family.tolerated,
    absent=(b"name=value",),
)

TRAILER = Family("trailers")
RFC_TRAILER = "RFC 9112, 7.1.2; RFC 9110, 6.5"


def trailed(name, lines, status=BAD, add=Family.refused, **more):
    body = b"5\r\nhello\r\n0\r\n" + lines + b"\r\n"
    add(TRAILER, RFC_TRAILER, name, post(CHUNKED) + body, status, **more)


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
        Family.tolerated,
        absent=(b"evil.test", b"192.0.2.66", b"length: 100"),
    )
