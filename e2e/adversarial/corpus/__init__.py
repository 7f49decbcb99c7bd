"""Requests that two parsers could interpret differently, and some that are invalid for all.

Each case has the bytes of one client on its own connection, and the expected result. `case-000`
in the bytes is replaced by the number of the case, so that every request at an origin belongs to a
case. A request for `/smuggled` must never be one, for it is hidden in a body or a field; one
for `/behind` must not be one either, for it comes after something that ends the connection.

What is expected follows RFC 9110 and 9112, in their strict reading, and the gateway's own limits.
Where the RFCs leave a choice, every safe choice is accepted.
"""

from __future__ import annotations

# The numbers of the cases follow from this order.
from . import framing, heads, targets, connections  # isort: skip
from .case import BEHIND, HOST, POST, Case, cases, head

CASES: tuple[Case, ...] = tuple(cases)


def numbered(case: Case, number: int) -> bytes:
    """The bytes of a case, with its own number."""
    return case.sent.replace(b"case-000", tag(number))


def tag(number: int) -> bytes:
    """The mark of a case in everything that it sends."""
    return b"case-%03d" % number
