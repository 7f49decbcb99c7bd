"""Links inside of the page, its address and the browser's history."""

import re

from conftest import eventually
from dashboard import button, panel, settled
from test_states import incident


def test_ranges_add_no_entries_to_the_history_of_the_browser(opened):
    page = opened()
    before = page.evaluate("history.length")
    for name in ("1h", "24h", "1h"):
        button(page, f"range-{name}").click()
        page.wait_for_function("(name) => location.hash === `#range=${name}`", arg=name)
        assert button(page, f"range-{name}").get_attribute("aria-current") == "true"
    assert page.evaluate("history.length") == before
    # A panel is a step: Back makes it small again, in the same range.
    panel(page, "disk").locator("h2 a").click()
    eventually(lambda: page.locator("[data-focus]").count() == 1)
    page.go_back()
    eventually(lambda: page.locator("[data-focus]").count() == 0)
    assert page.evaluate("location.hash") == "#range=1h"


def test_a_range_opens_in_a_new_tab_with_a_modifier_key(opened):
    page = opened()
    with page.context.expect_page() as tab:
        button(page, "range-1h").click(modifiers=["ControlOrMeta"])
    tab.value.wait_for_url(re.compile("#range=1h$"))
    assert page.evaluate("location.hash") == ""


def test_a_link_to_the_current_view_leads_to_its_panel_again(opened):
    page = opened(change=incident)
    link = button(page, "state").get_by_role("link")
    for _ in range(2):
        page.evaluate("scrollTo(0, 0)")
        link.click()
        eventually(lambda: page.evaluate("scrollY") > 100)
    # The range of the link may be another than the one that the viewer has chosen since.
    button(page, "range-24h").click()
    page.evaluate("scrollTo(0, 0)")
    link.click()
    eventually(lambda: page.evaluate("scrollY") > 100)


def test_another_range_leaves_the_page_where_it_is(opened):
    page = opened(viewport={"width": 1280, "height": 800})
    button(page, "table-disk").focus()
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("location.hash = 'range=1h'")
    eventually(lambda: button(page, "range-1h").get_attribute("aria-current") == "true")
    settled(page)
    assert page.evaluate("scrollY") == 0


def test_a_wall_display_has_no_links_without_effect(opened):
    page = opened("/?kiosk", change=incident)
    assert page.locator("main a[href]").count() == 0
    assert "/var/log" in button(page, "state").inner_text()
