"""A case of the corpus, and the forms of its requests."""

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

cases: list[Case] = []


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


def get(*fields: bytes) -> bytes:
    return head(GET, HOST, *fields)


def post(*fields: bytes) -> bytes:
    return head(POST, HOST, *fields)


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + NOTHING


class Family(NamedTuple):
    """A kind of attack, as in the table of docs/adversarial.md, and the forms of its cases."""

    attack: str

    def refused(self, source, name, sent, status=BAD, **more):
        """The answer is an error, the connection ends, and what comes behind it is never a request."""
        follow = b"" if more.get("half_closes") or more.get("stalls") else BEHIND
        self.in_order(source, name, sent + follow, (status,), **more)

    def turned_down(self, source, name, sent, status=BAD, **more):
        """The answer is an error. The end of the request is unambiguous, so the connection may go on."""
        self.in_order(source, name, sent, (status,), closes=None, **more)

    def tolerated(self, source, name, sent, status=EITHER, **more):
        """It may be refused or understood, but nothing ambiguous reaches the origin."""
        self.in_order(source, name, sent, (status,), **{"closes": None, "reaches": 1, **more})

    def in_order(self, source, name, sent, answers, **more):
        """Several answers on one connection."""
        cases.append(Case(name, self.attack, source, sent, answers, **more))


def passes(source, name, sent, answers=(OK,), **more):
    """Nothing is wrong with it, so a gateway that refuses everything fails."""
    WELL_FORMED.in_order(source, name, sent, answers, **{"closes": False, "reaches": len(answers), **more})


WELL_FORMED = Family("well-formed")
