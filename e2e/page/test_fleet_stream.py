"""The stream of the fleet page: its end, its tabs, and the cost of a tick."""

import re

from conftest import eventually
from dashboard import NEW_VERSION, WATCH, hide, metrics_of, settled
from fleet_page import CHANGE_MS, ROWS_MS, five, fleets, host, opened, until

# The main thread's own time for a tick of 1,000 members with 40 rows in the window: program,
# styles and layout. On two cores without a GPU it is 10; the aim is 8.
TICK_MS = 8
# A machine that also runs other tests may be this much slower.
NOISE = 2.5


def test_a_stream_that_ends_greys_everything_and_comes_back(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet, trouble=True)
    fleet.stream_status = 503
    fleet.cut()
    page.wait_for_selector('.page[data-state="reconnecting"]', timeout=CHANGE_MS)
    assert page.title() == "Reconnecting…"
    fleet.stream_status = 200
    page.wait_for_selector('.page[data-state="live"]', timeout=30_000)
    until(page, "document.title.startsWith('◆')")


# Pages look for a new version every second.
WATCHFUL = (
    WATCH
    + """{ const original = setInterval;
  window.setInterval = (action, ms) => original(action, ms === 600_000 ? 1_000 : ms); }"""
)


def test_a_table_on_a_wall_reloads_itself_for_a_new_version(fleets, opened):
    page = opened(fleets(*five()), "/?kiosk", watch=WATCHFUL)
    with page.expect_navigation(timeout=CHANGE_MS):
        page.route(re.compile(r"/$"), lambda route: route.fulfill(body=NEW_VERSION))
    page.unroute(re.compile(r"/$"))
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)


def test_a_table_offers_a_new_version(fleets, opened):
    page = opened(fleets(*five()), watch=WATCHFUL)
    link = page.get_by_role("link", name="New version: reload")
    with page.expect_response(re.compile(r"/$")):
        pass
    settled(page)
    assert link.count() == 0
    page.route(re.compile(r"/$"), lambda route: route.fulfill(body=NEW_VERSION))
    link.wait_for(timeout=CHANGE_MS)
    page.unroute(re.compile(r"/$"))
    with page.expect_navigation(timeout=CHANGE_MS):
        link.click()


def test_a_tick_of_a_thousand_members_is_cheap_and_memory_flat(fleets, opened):
    fleet = fleets(*(host(number) for number in range(1000)), still=True)
    # 40 rows.
    page = opened(fleet, viewport={"width": 1280, "height": 2000})
    metrics = metrics_of(page, timeDomain="threadTicks")

    def ticks(count):
        for _ in range(count):
            for number, member in enumerate(fleet.members.values()):
                member.block["cpu"] = (number * 7 + member.sequence * 13) % 97 + 0.5
                member.block["ram"] = (number * 3 + member.sequence * 5) % 89 + 0.5
            fleet.tick()
            shown = fleet["10.0.0.0:8080"].block["cpu"]
            page.locator("tbody").get_by_text(f"{shown}\xa0%").first.wait_for(timeout=CHANGE_MS)
            settled(page)

    ticks(5)
    parts, costs = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration"), []
    # Other work of the machine makes single rounds slower.
    while len(costs) < 3 and (not costs or min(costs) >= TICK_MS * NOISE):
        before = metrics()
        ticks(10)
        after = metrics()
        costs.append(sum(after[name] - before[name] for name in parts) * 100)
        grown = after["JSHeapUsedSize"] - before["JSHeapUsedSize"]
        assert grown < 1_000_000, f"{grown} bytes"
        assert after["Nodes"] - before["Nodes"] < 100
    print(f"a tick costs {costs} ms")
    assert min(costs) < TICK_MS * NOISE, costs


def test_seven_tabs_share_one_stream(fleets, opened, new_context):
    fleet, context = fleets(*five()), new_context()
    pages = [opened(fleet, context=context) for _ in range(7)]
    eventually(lambda: fleet.viewers == 1)
    fleet["10.0.0.0:8080"].block["cpu"] = 44
    for page in pages:
        page.get_by_text("44.0").first.wait_for(timeout=CHANGE_MS)
    # The tab that holds the stream is closed: another takes over.
    for page in pages[:3]:
        page.close()
    fleet["10.0.0.0:8080"].block["cpu"] = 45
    for page in pages[3:]:
        page.get_by_text("45.0").first.wait_for(timeout=CHANGE_MS)
    eventually(lambda: fleet.viewers == 1)


def test_a_hidden_tab_closes_its_stream(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet)
    eventually(lambda: fleet.viewers == 1)
    hide(page)
    eventually(lambda: fleet.viewers == 0)
    until(page, "document.title === 'Paused'")
    hide(page, False)
    eventually(lambda: fleet.viewers == 1)
    until(page, "document.title.startsWith('◆')")
