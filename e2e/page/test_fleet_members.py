"""The fleet page of one member or none, and the pages of the members."""

import re

import pytest
from conftest import eventually
from dashboard import WATCH, settled, wait_until_live
from fake_fleet import Member
from fleet_page import CHANGE_MS, ROWS_MS, choose, five, fleets, host, names, opened, sort_by, until

# The clock of a page, ahead by `skip`.
SKIP = "window.skip = 0; const now = performance.now.bind(performance); performance.now = () => now() + window.skip;"
# The gateway's list of members has come.
LISTED = "performance.getEntriesByType('resource').some((one) => one.name.endsWith('/fleet'))"

# One member, or none


@pytest.mark.parametrize("status", [200, 404, 500])
def test_one_member_or_no_fleet_is_the_page_of_one_service(fleets, opened, status):
    fleet = fleets(host(0))
    fleet.status = status
    page = opened(fleet, rows=False, trouble=status != 200)
    wait_until_live(page)
    assert page.locator(".members").count() == 0
    assert page.locator("[data-place]").count() == 0
    eventually(lambda: fleet.asked.count("/fleet") == 1)
    assert "/fleet/stream" not in fleet.asked
    assert "/stats/stream" in fleet.asked
    assert not [path for path in fleet.asked if path.startswith("/fleet-")], "the table's program was loaded"


def test_a_table_whose_program_does_not_come_is_offered_by_a_link(fleets, opened, new_context):
    context = new_context()
    context.route("**/fleet-*", lambda route: route.abort())
    page = opened(fleets(host(0), host(1)), rows=False, trouble=True, context=context)
    wait_until_live(page)
    link = page.get_by_role("link", name="Fleet of 2 members")
    link.wait_for(timeout=CHANGE_MS)
    context.unroute("**/fleet-*")
    link.click()
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)


def test_a_second_member_that_comes_later_is_offered_by_a_link(fleets, opened):
    fleet = fleets(host(0))
    page = opened(fleet, rows=False, watch=f"{WATCH} {{ {SKIP} }}")
    wait_until_live(page)
    until(page, LISTED)
    fleet.members["10.9.9.9:8080"] = Member("10.9.9.9:8080")
    # A minute later it asks again.
    page.evaluate("window.skip = 61_000")
    page.get_by_role("link", name="Fleet of 2 members").click(timeout=CHANGE_MS)
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)


# The page of a member, and back


def test_a_member_opens_and_back_keeps_position_sort_and_filter(fleets, opened):
    fleet = fleets(*(host(number) for number in range(200)))
    page = opened(fleet)
    sort_by(page, "name")
    choose(page, "label", "az=eu-1")
    page.locator('[data-field="search"]').fill("-")
    page.evaluate("scrollTo(0, 1500)")
    until(page, "document.querySelector('tr[data-key]').ariaRowIndex > 10")
    settled(page)
    before = page.evaluate("scrollY")
    link = page.locator("tbody .m-name a").nth(10)
    name, shown = link.inner_text(), names(page)
    link.click()
    page.wait_for_selector('[data-tile="cpu"]', timeout=ROWS_MS)
    wait_until_live(page)
    assert re.search(r"\?member=10\.0\.0\.\d+:8080$", page.url)
    assert page.locator("header").get_by_text(name, exact=True).is_visible()
    address = page.url.rpartition("=")[2]
    assert f"/fleet/{address}/stats/stream" in fleet.asked
    eventually(lambda: fleet.viewers == 0)
    # A range is no step of the history, and keeps the name of the member there.
    page.locator(".ranges a").nth(1).click()
    until(page, "location.hash === '#range=1h'")
    assert page.evaluate("history.state") == name
    page.go_back()
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    until(page, f"Math.abs(scrollY - {before}) < 3")
    settled(page)
    eventually(lambda: shown[8:12] == [one for one in names(page) if one in shown[8:12]])
    assert page.locator("thead th.m-name").get_attribute("aria-sort") == "ascending"
    assert page.locator('[data-field="label"]').input_value() == "az=eu-1"
    assert page.locator('[data-field="search"]').input_value() == "-"
    # A reload keeps them too.
    page.reload()
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    assert page.locator("thead th.m-name").get_attribute("aria-sort") == "ascending"


def test_the_page_of_a_member_has_a_link_to_the_table(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet, "/?member=10.0.0.1:8080", rows=False)
    wait_until_live(page)
    assert "/fleet" not in fleet.asked and "/stats/stream" not in fleet.asked
    assert page.locator("footer a").get_attribute("href") == "/fleet/10.0.0.1:8080/stats"
    page.get_by_role("link", name="All members").click()
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    assert len(names(page)) == 5


def test_a_page_that_is_left_leaves_no_attempt_behind(fleets, opened, new_context):
    context = new_context()
    context.route("**/stats/stream", lambda route: route.abort())
    page = opened(fleets(*five()), "/?member=10.0.0.1:8080", rows=False, trouble=True, context=context)
    wait_until_live(page)
    page.get_by_role("link", name="All members").click()
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    # A timer of the page that is gone would be an error in the console.
    page.wait_for_timeout(5_000)


@pytest.mark.parametrize("member", ["..", "../../stats", "a/b", "<b>", "%2e%2e"])
def test_a_strange_member_in_the_address_is_no_path(fleets, opened, member):
    fleet = fleets(*five())
    opened(fleet, f"/?member={member}")
    assert [one for one in fleet.asked if one.startswith("/fleet/") and one != "/fleet/stream"] == []
