"""The page by keyboard, without motion, and for assistive technology."""

import pytest
from conftest import eventually
from dashboard import assert_accessible, button, panel
from test_screens import full
from test_states import incident


def test_the_keyboard_reaches_everything_and_shows_where_it_is(opened):
    page = opened()
    page.evaluate("""() => document.querySelectorAll(
      "button, a[href], input, select, summary, [tabindex='0']").forEach((element, place) => {
        if (element.checkVisibility() && !element.disabled && !element.closest("[inert]"))
          element.dataset.walk = place; })""")
    wanted = set(page.locator("[data-walk]").evaluate_all("(all) => all.map((e) => e.dataset.walk)"))
    reached, hidden = set(), []
    for _ in range(len(wanted) + 5):
        if reached == wanted:
            # One more would leave the page: Firefox moves the focus to its toolbar.
            break
        page.keyboard.press("Tab")
        place, name, is_shown = page.evaluate("""() => {
          const element = document.activeElement, style = getComputedStyle(element);
          const shown = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0)
            || style.boxShadow !== "none";
          return [element.dataset.walk, element.outerHTML.slice(0, 80), shown]; }""")
        if place is not None:
            reached.add(place)
            if not is_shown:
                hidden.append(name)
    assert wanted and reached == wanted
    assert hidden == []


def test_reduced_motion_stops_all_animations(chromium, opened, backend):
    page = opened(reduced_motion="reduce")
    backend.show(page, 3)
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("path", ["/", "/?kiosk"])
def test_the_page_is_accessible(opened, backend, path):
    backend.scene.scope = "task"
    page = opened(path)
    if path == "/":
        button(page, "table-cpu").click()
        button(page, "settings").click()
    assert_accessible(page)


@pytest.mark.parametrize("forced", ["none", "active"])
def test_a_page_without_values_claims_none(opened, backend, forced):
    """Placeholders have the text of a likely value, which only gives them their size."""
    backend.scene.is_down = True
    page = opened(live=False, trouble=True, forced_colors=forced)
    page.wait_for_selector('.page[data-state="reconnecting"] .blank', state="attached")
    text = page.locator(".page").inner_text()
    for claim in ("normal", "2 cores", "00.0", "0000"):
        assert claim not in text
    ground = "(one) => getComputedStyle(one, '::before').backgroundColor"
    assert page.locator(".blank").first.evaluate(ground) != "rgba(0, 0, 0, 0)"


def test_the_buttons_of_panels_have_different_names(opened):
    page = opened()
    names = page.locator(".panel button").evaluate_all("(all) => all.map((one) => one.ariaLabel ?? one.innerText)")
    assert len(names) > 10 and len(set(names)) == len(names), names
    # Speech input finds a button by the text that it shows.
    assert panel(page, "disk").get_by_role("button", name="Table: Disk").inner_text() == "Table"


def test_a_screen_reader_hears_how_much_a_search_finds(opened):
    page = opened(change=full)
    lists = panel(page, "filesystems")
    lists.locator("input").fill("name-29")
    eventually(lambda: lists.get_by_role("status").inner_text() == "1 of 30")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_focus_follows_the_panels_as_they_are_placed(chromium, opened, width):
    """The enlarged one comes first; on a phone, the most severe one."""
    page = opened("/#panel=disk", viewport={"width": width, "height": 844}, change=incident)
    page.locator("details.settings > summary").focus()
    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.closest('[data-panel]').dataset.panel")
    tops = page.locator(".panel").evaluate_all(
        "(all) => all.map((one) => [one.getBoundingClientRect().top, one.dataset.panel]).sort((a, b) => a[0] - b[0])"
    )
    assert first == tops[0][1] != "cpu"
