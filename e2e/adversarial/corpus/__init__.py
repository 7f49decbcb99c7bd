"""Requests that two parsers could interpret differently, and some that are invalid for all.

Each case has the bytes of one client on its own connection, and the expected result. `case-000`
in the bytes is replaced by the number of the case, so that every request at an origin belongs to a
case. A request for `/smuggled` must never be one, for it is hidden in a body or a field; one
for `/behind` must not be one either, for it comes after something that ends the connection.

What is expected follows RFC 9110 and 9112, in their strict reading, and the gateway's own limits.
Where the RFCs leave a choice, every safe choice is accepted: of what a server may refuse or understand,
an unambiguous form reaches the origin.

The JSON files beside this one list the cases by family of attack, with the fields of `Case`. Their bytes are
those of `raw_http.expanded` with PARTS.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from raw_http import expanded

# The numbers of the cases follow from this order.
FILES = ("framing", "heads", "targets", "connections")
PARTS = {
    "GET": "GET /case-000 HTTP/1.1\r\nHost: gateway.test\r\n",
    "POST": "POST /case-000 HTTP/1.1\r\nHost: gateway.test\r\n",
    "CHUNKED": "Transfer-Encoding: chunked\r\n",
    "SMUGGLED": "GET /smuggled/case-000 HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    "BEHIND": "GET /behind/case-000 HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
}


class Case(NamedTuple):
    """The bytes of a client and the expected result."""

    # A sentence.
    name: str
    # The family it belongs to, as in the table of docs/adversarial.md.
    attack: str
    # The section of an RFC, or the name under which the attack is known.
    source: str
    sent: bytes
    # The allowed statuses of every answer, in their order; 0 is the end of the connection without an answer.
    answers: tuple[frozenset[int], ...] = (frozenset({400}),)
    # Whether the connection must end after the answers; None where either is right.
    closes: bool | None = True
    # How many requests may reach the origin.
    reaches: int = 0
    # Text that the origin must and must not receive, in any case of letters.
    present: tuple[bytes, ...] = ()
    absent: tuple[bytes, ...] = ()
    # The first answer is to HEAD and has no body.
    head: bool = False
    # The client closes its sending side.
    half_closes: bool = False
    # The client stops sending without closing: the response follows the timeout.
    stalls: bool = False


def bytes_of(text: str) -> bytes:
    return expanded(text, **PARTS)


def _case(attack: str, fields: dict) -> Case:
    case = Case(attack=attack, **fields)
    return case._replace(
        sent=bytes_of(fields["sent"]),
        answers=tuple(map(frozenset, case.answers)),
        present=tuple(map(bytes_of, case.present)),
        absent=tuple(map(bytes_of, case.absent)),
    )


CASES = tuple(
    _case(attack, fields)
    for file in FILES
    for attack, cases in json.loads(Path(__file__).with_name(f"{file}.json").read_text(encoding="utf-8")).items()
    for fields in cases
)


def numbered(case: Case, number: int) -> bytes:
    """The bytes of a case, with its own number."""
    return case.sent.replace(b"case-000", tag(number))


def tag(number: int) -> bytes:
    """The mark of a case in everything that it sends."""
    return b"case-%03d" % number
