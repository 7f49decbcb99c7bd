"""The page of one instance where a load balancer has several, and the reasons where it must give up."""

import pytest
from conftest import eventually
from dashboard import DRIVEN, LISTEN, button, pass_seconds, plot

CLOCK = ""
OTHER = "fedcba9876543210"


def mostly_other(path_end, period):
    """Requests of a path are answered by the other replica, each `period`th by this one."""
    turn = {"count": 0}

    def answered_by(path):
        if not path.split("?")[0].endswith(path_end):
            return None
        turn["count"] += 1
        return None if turn["count"] % period == 0 else OTHER

    return answered_by


def is_drawn(page):
    return plot(page, "load").locator("path.line[d^=M]").count() == 1


def test_a_stream_that_was_cut_returns_to_its_instance(opened, backend):
    page = opened(trouble=True)
    own = button(page, "instance").inner_text()
    page.evaluate(LISTEN, "another instance")
    backend.scene.answered_by = mostly_other("/stats/stream", 3)
    before = backend.asked.count("/stats/stream")
    backend.cut()
    eventually(lambda: backend.asked.count("/stats/stream") == before + 3)
    backend.show(page)
    assert button(page, "instance").inner_text() == own
    assert page.evaluate("heard") is False


def test_a_replica_that_is_gone_is_replaced_after_few_tries(opened, backend):
    page = opened(trouble=True)
    backend.scene.answered_by = lambda path: OTHER if path.startswith("/stats") else None
    before = backend.asked.count("/stats/stream")
    backend.cut()
    eventually(lambda: button(page, "instance").inner_text() == OTHER)
    assert "now from another instance" in page.locator(".status").inner_text()
    assert backend.asked.count("/stats/stream") - before == 4


@pytest.mark.parametrize("period", [2, 8])
def test_polls_that_another_replica_answers_stay_with_this_one(opened, backend, period):
    backend.scene.stream_status = 404
    page = opened(trouble=True, clock=DRIVEN)
    own = button(page, "instance").inner_text()
    backend.scene.answered_by = mostly_other("/stats", period)
    seen = set()
    for _ in range(36):
        pass_seconds(page, backend, 1)
        seen.add(button(page, "instance").inner_text())
    assert seen == {own}
    assert "another instance" not in page.locator(".status").inner_text()


def test_a_day_is_requested_until_its_instance_answers(opened, backend):
    page = opened()
    page.evaluate(LISTEN, "another instance")
    backend.scene.answered_by = mostly_other("/stats/history", 3)
    button(page, "range-24h").click()
    eventually(lambda: is_drawn(page))
    assert page.evaluate("heard") is False
    assert sum("seconds=86400" in path for path in backend.asked) == 3


def test_minutes_that_are_missing_are_named(opened, backend):
    backend.scene.stream_status = 404
    backend.scene.answered_by = mostly_other("/stats/history", 1_000)
    page = opened(trouble=True, clock=DRIVEN)
    pass_seconds(page, backend, 1)
    page.get_by_text("earlier minutes are missing: another instance answered").wait_for()
    assert backend.asked.count("/stats/history") == 4
    backend.scene.answered_by = lambda path: None
    pass_seconds(page, backend, 11)
    assert "missing" not in page.locator(".status").inner_text()


def test_a_gateway_with_a_fleet_leads_to_the_instance(opened, backend):
    # Without the table's program it is the page of one service, as one that was open before
    # there were two.
    page = opened(trouble=True)
    page.route("**/fleet-*", lambda route: route.abort())
    backend.scene.members = ["10.0.0.1:8080", "10.0.0.2:8080"]
    page.reload()
    page.get_by_role("link", name="Fleet of 2 members").wait_for()
    page.wait_for_selector('.page[data-state="live"]')
    backend.scene.answered_by = lambda path: OTHER if path.startswith("/stats/history") else None
    button(page, "range-24h").click()
    eventually(lambda: is_drawn(page))
    asked = [path for path in backend.asked if "seconds=86400" in path]
    assert [path.partition("/stats")[0] for path in asked] == ["", f"/fleet/{backend.scene.instance}"]
