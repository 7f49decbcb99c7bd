"""Lines, fields, request lines and methods."""

from __future__ import annotations

from raw_http import CLOSED

from .case import GET, HOST, METHOD, UPGRADE, VERSION, Family, get, head

# --- lines and fields -----------------------------------------------------------------------------

LINE = Family("line ends and blanks")
RFC_LINE = "RFC 9112, 2.2 and 5"

LINE.refused(RFC_LINE, "every line ends with a line feed alone", b"\n".join([GET, HOST, b"", b""]))
LINE.refused(RFC_LINE, "the request line ends with a line feed alone", GET + b"\n" + HOST + b"\r\n\r\n")
LINE.refused(RFC_LINE, "a field ends with a line feed alone", GET + b"\r\n" + HOST + b"\nX: y\r\n\r\n")
LINE.refused(RFC_LINE, "the last empty line is a line feed alone", GET + b"\r\n" + HOST + b"\r\n\n")
LINE.refused(RFC_LINE, "the empty line follows a line feed alone", GET + b"\r\n" + HOST + b"\n\r\n")
LINE.refused(RFC_LINE, "every line ends with a carriage return alone", b"\r".join([GET, HOST, b"", b""]) + b"\r\n\r\n")
LINE.refused(RFC_LINE, "a value has a carriage return within", get(b"X: a\rb"))
LINE.refused(RFC_LINE, "a value ends with two carriage returns", get(b"X: a\r"))
LINE.refused(RFC_LINE, "a carriage return begins a line", get(b"\rX: a"))
LINE.refused(RFC_LINE, "the target has a carriage return within", head(b"GET /case-000\rX HTTP/1.1", HOST))
LINE.refused("RFC 9112, 5.2", "a value goes on after a space", get(b"X: a", b" b"))
LINE.refused("RFC 9112, 5.2", "a value goes on after a tab", get(b"X: a", b"\tb"))
LINE.refused("RFC 9112, 5.2", "Host goes on, on the next line", head(GET, b"Host: gateway.test", b" .evil.test"))
LINE.refused(RFC_LINE, "the first field begins with a space", head(GET, b" X: y", HOST))
LINE.refused(RFC_LINE, "the first field begins with a tab", head(GET, b"\tX: y", HOST))
LINE.refused(RFC_LINE, "a line of spaces stands before the fields", head(GET, b"  ", HOST))
LINE.refused(RFC_LINE, "a line of spaces stands between fields", get(b"  ", b"X: y"))
LINE.refused("RFC 9112, 5.1", "a space stands before a colon", get(b"X : y"))
LINE.refused("RFC 9112, 5.1", "a tab stands before a colon", get(b"X\t: y"))
LINE.tolerated(RFC_LINE, "an empty line comes before the request", b"\r\n" + get())
LINE.refused(RFC_LINE, "a bare line feed comes before the request", b"\n" + get())

FIELD = Family("names and values of fields")
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
    FIELD.refused(RFC_FIELD, f"a field's name is {what}", get(name + b": y"))
FIELD.refused(RFC_FIELD, "a field has no colon", get(b"X"))
for value, what in [
    (b"\0", "a NUL"),
    (b"a\x01b", "a control character"),
    (b"a\x08b", "a backspace"),
    (b"a\x0bb", "a vertical tab"),
    (b"a\x1bb", "an escape character"),
    (b"a\x7fb", "a delete character"),
]:
    FIELD.refused(RFC_FIELD, f"a value has {what}", get(b"X: " + value))
FIELD.tolerated(RFC_FIELD, "a value has a letter of Latin-1", get(b"X: caf\xe9"))

# --- the request line -----------------------------------------------------------------------------

FIRST = Family("request line and version")
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
    FIRST.refused(RFC_FIRST, what, head(line, HOST))
FIRST.refused("HTTP/0.9", "the request is of HTTP/0.9", b"GET /case-000\r\n", VERSION | {CLOSED})
FIRST.refused("HTTP/0.9", "a request without a version has fields", head(b"GET /case-000", HOST), VERSION)
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
    FIRST.refused("RFC 9112, 2.3", f"the version is {what}", head(b"GET /case-000 " + version, HOST), VERSION)
FIRST.tolerated(
    "RFC 9110, 2.5",
    "a later minor version is read as the latest known",
    head(b"GET /case-000 HTTP/1.2", HOST),
    frozenset({200, 400, 505}),
)
FIRST.refused(
    "RFC 9113, 3.4",
    "the client begins with HTTP/2, which is off",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    VERSION | {405, CLOSED},
)
FIRST.refused(
    "RFC 8446",
    "the client begins with TLS",
    b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + b"\x5a" * 32 + b"\0\0\2\x13\1\1\0\r\n\r\n",
    frozenset({CLOSED, 400}),
)
FIRST.refused(RFC_FIRST, "the request is nonsense", b"nonsense\r\n\r\n")
FIRST.refused(RFC_FIRST, "the request is of zeros", b"\0" * 64 + b"\r\n\r\n")
FIRST.refused("RFC 9112, 9.2", "an answer comes where a request should", head(b"HTTP/1.1 200 OK", b"Content-Length: 0"))

# --- methods --------------------------------------------------------------------------------------

METHODS = Family("methods and upgrades")

METHODS.turned_down(
    "RFC 9110, 9.3.6",
    "CONNECT would make a tunnel",
    head(b"CONNECT gateway.test:443 HTTP/1.1", b"Host: gateway.test:443"),
    METHOD,
)
METHODS.turned_down(
    "RFC 9110, 9.3.6", "CONNECT with a path would make a tunnel, too", head(b"CONNECT /case-000 HTTP/1.1", HOST), METHOD
)
METHODS.turned_down(
    "RFC 9110, 9.3.8; cross-site tracing",
    "TRACE would show what the gateway adds",
    head(b"TRACE /case-000 HTTP/1.1", HOST),
    METHOD,
)
METHODS.turned_down(
    "RFC 9110, 9.1", "a method in small letters is another method", head(b"get /case-000 HTTP/1.1", HOST), METHOD
)
METHODS.turned_down("RFC 9110, 9.1", "the method is unknown", head(b"BREW /case-000 HTTP/1.1", HOST), METHOD)
METHODS.turned_down(
    "RFC 9110, 9.1",
    "the method has a thousand letters",
    head(b"G" * 1000 + b" /case-000 HTTP/1.1", HOST),
    METHOD | {414, 431},
)
METHODS.turned_down(
    "request for a cache", "PURGE must not empty a cache", head(b"PURGE /case-000 HTTP/1.1", HOST), METHOD
)
METHODS.turned_down(
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
    METHODS.tolerated(
        "RFC 9110, 7.8; h2c and WebSocket smuggling",
        f"an upgrade to {name} is not passed on",
        get(*lines),
        UPGRADE,
        absent=UPGRADED,
    )
