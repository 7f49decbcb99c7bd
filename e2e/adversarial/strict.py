"""Faults in a request's bytes, in the strictest reading of RFC 9110, 9112 and 3986.

A forwarded request must be unambiguous for every parser; this parser is the one
with the most doubts.
"""

from __future__ import annotations

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIRST = re.compile(rb"(" + TOKEN + rb") (\S+) HTTP/1\.[01]")
VALUE = rb"[\x21-\x7e\x80-\xff](?:[ \t\x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?"
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:" + VALUE + rb")?)[ \t]*")
# A name, an IPv4 address or an IPv6 address in brackets, with or without a port.
HOST = re.compile(rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")
DOTS = re.compile(rb"(?:\.|%2e){1,2}(?:;.*)?", re.IGNORECASE)
# Bytes that some parsers treat as a separator or an end, escaped or not, also in overlong encodings.
ODD = re.compile(rb"\\|%2f|%5c|%[01][0-9a-f]|%7f|%c0|%c1|%e0%[89]|%f0%8|%(?![0-9a-f]{2})", re.IGNORECASE)
# RFC 9110, 7.6.1: only for the next one on the way.
ONE_HOP = {b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"http2-settings"}
SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")


def faults(raw: bytes) -> list[str]:
    """Every doubt about one request, its body included; empty where there is none."""
    head, end, body = raw.partition(b"\r\n\r\n")
    if not end:
        return ["the head has no end"]
    first, *lines = head.split(b"\r\n")
    found = []
    if match := FIRST.fullmatch(first):
        found += _target(match.group(2))
    else:
        found.append(f"the request line is {first[:80]!r}")
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        if match := FIELD.fullmatch(line):
            fields.append((match.group(1).lower(), match.group(2)))
        else:
            found.append(f"a field is {line[:80]!r}")
    return found + _fields(fields) + _framing(fields, body)


def _target(target: bytes) -> list[str]:
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):
        return [f"the target is no path: {target[:80]!r}"]
    found = []
    if re.search(rb"[^\x21-\x7e]|#", target):
        found.append(f"the target has bytes that are none of an URI: {target[:80]!r}")
    if ODD.search(path):
        found.append(f"the path has what some take for a separator: {path[:80]!r}")
    segments = path[1:].split(b"/")
    if any(DOTS.fullmatch(segment) for segment in segments) or b"" in segments[:-1]:
        found.append(f"the path has dot segments or empty ones: {path[:80]!r}")
    return found


def _fields(fields) -> list[str]:
    found = []
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
        found.append(f"the hosts are {hosts}")
    present = {name for name, _ in fields}
    nominated = {
        name.strip().lower() for field, value in fields if field == b"connection" for name in value.split(b",")
    }
    for name in sorted(present & (ONE_HOP | nominated) - {b"connection"}):
        found.append(f"a field of one hop passed: {name.decode('latin-1')}")
    return found


def _framing(fields, body: bytes) -> list[str]:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if lengths and codings:
        return ["both lengths passed"]
    if codings:
        if [coding.lower() for coding in codings] != [b"chunked"]:
            return [f"the codings are {codings}"]
        return _chunks(body)
    if lengths:
        if len(lengths) != 1 or not re.fullmatch(rb"\d{1,18}", lengths[0]):
            return [f"the lengths are {lengths}"]
        return [] if int(lengths[0]) == len(body) else ["the body has another length"]
    return ["there is a body without a length"] if body else []


def _chunks(body: bytes) -> list[str]:
    while True:
        match = SIZE.match(body)
        if not match:
            return [f"a chunk begins with {body[:40]!r}"]
        size, body = int(match.group(1), 16), body[match.end() :]
        if size == 0:
            return [] if body == b"\r\n" else [f"behind the last chunk is {body[:40]!r}"]
        if body[size : size + 2] != b"\r\n":
            return ["a chunk does not end where it should"]
        body = body[size + 2 :]
