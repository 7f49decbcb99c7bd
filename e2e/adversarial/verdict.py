"""Whether what came of a case is what must come of it."""

from __future__ import annotations

from corpus import CASES, tag
from exchange import Result
from origin import Seen
from raw_http import CLOSED
from strict import faults


def complaints(result: Result) -> list[str]:
    """All faults, as sentences; empty when there is none."""
    return [*_answers(result), *_end(result), *_reached(result), *_passed(result)]


def unmeant(seen: list[Seen]) -> list[str]:
    """Requests at an origin that belong to no case, or that were hidden in another request."""
    known = {tag(number) for number in range(len(CASES))}
    known |= {b"after-%03d" % number for number in range(len(CASES))}
    return [
        repr(request.raw[:200])
        for request in seen
        if request.tag not in known or request.target.startswith((b"/smuggled", b"/behind"))
        if not _is_the_gateways_own(request)
    ]


def _is_the_gateways_own(seen: Seen) -> bool:
    """Whether it is a health check of the gateway; no client can send this to an origin."""
    return seen.head.startswith(b"GET /healthz HTTP/1.1\r\n") and not faults(seen.raw)


def _answers(result: Result) -> list[str]:
    case, statuses = result.case, result.statuses
    wanted = [sorted(allowed) for allowed in case.answers]
    ended = statuses[-1:] == [CLOSED]
    if (len(statuses) != len(wanted) and not ended) or any(
        status not in allowed for status, allowed in zip(statuses, case.answers)
    ):
        return [f"answered {statuses} where {wanted} was right; {result.outcome.garbage[:80]!r}"]
    own = b" saw " + tag(result.number)
    return [
        f"the answer is another request's: {answer.body[:80]!r}"
        for answer in result.outcome.answers
        if answer.status == 200 and answer.body and own not in answer.body
    ]


def _end(result: Result) -> list[str]:
    case, outcome = result.case, result.outcome
    found = []
    if outcome.garbage:
        found.append(f"more came than the answers: {outcome.garbage[:80]!r}")
    if case.closes and not outcome.closed:
        found.append("the connection stayed open")
    if case.closes is False and outcome.closed:
        found.append("the connection was closed")
    if outcome.in_step is False:
        found.append("the next request on the connection was not answered as it should be")
    return found


def _reached(result: Result) -> list[str]:
    reached, most = len(result.seen), result.case.reaches
    if reached > most:
        return [f"{reached} requests reached the origin where {most} may: {_firsts(result.seen)}"]
    answered = result.statuses.count(200)
    # A client that stops sending may have disconnected and needs no response.
    if most and reached != answered and not result.case.half_closes:
        return [f"{reached} requests reached the origin and {answered} were answered"]
    return []


def _passed(result: Result) -> list[str]:
    found = []
    present, absent = (
        [part.replace(b"case-000", tag(result.number)).lower() for part in parts]
        for parts in (result.case.present, result.case.absent)
    )
    for request in result.seen:
        found += faults(request.raw)
        passed = request.raw.lower()
        if request.target.startswith(b"/smuggled"):
            found.append(f"a hidden request was taken for one: {request.target[:80]!r}")
        found += [f"{part!r} did not reach it" for part in present if part not in passed]
        found += [f"{part!r} reached it" for part in absent if part in passed]
    return found


def _firsts(seen: tuple) -> list[bytes]:
    return [request.raw.split(b"\n", 1)[0][:80] for request in seen]
