"""The fleet page on every screen, and for every viewer."""

import pytest
from dashboard import assert_accessible, schemes, settled
from fleet_page import choose, fleets, host, mixed, opened, picture, until

SIZES = {"phone": (375, 740), "narrow": (320, 640), "desktop": (1280, 800), "wall": (3840, 2160)}


@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_leaves_a_picture(fleets, opened, size):
    width, height = SIZES[size]
    path = "/?kiosk=1" if size == "wall" else "/"
    fleet = fleets(*mixed())
    page = opened(fleet, path, viewport={"width": width, "height": height})
    fleet.tick()
    for scheme in schemes(page):
        picture(page, f"{size}-{scheme}")
    for letters in ("100%", "200%"):
        page.evaluate("(size) => { document.documentElement.style.fontSize = size }", letters)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), letters
    page.evaluate("document.documentElement.style.fontSize = ''")
    heights = page.locator("tr[data-key]").evaluate_all("rows => rows.map((row) => row.offsetHeight)")
    assert len(set(heights)) == 1, "rows have one height"
    if size == "wall":
        assert page.locator(".controls").is_hidden()
    else:
        choose(page, "group", "team")
        for scheme in schemes(page):
            picture(page, f"{size}-{scheme}-groups")


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_it_is_accessible(fleets, opened, size):
    width, height = SIZES[size]
    page = opened(fleets(*mixed()), viewport={"width": width, "height": height})
    choose(page, "group", "team")
    assert_accessible(page)


def test_forced_colors_show_the_filter(fleets, opened):
    page = opened(fleets(*mixed()), forced_colors="active")
    chip = page.locator('[data-action="state-critical"]')
    outline = "(one) => getComputedStyle(one).outlineStyle"
    page.mouse.move(1, 1)
    assert chip.evaluate(outline) == "none"
    chip.click()
    page.locator("h1").click()
    assert chip.evaluate(outline) == "solid"


def test_the_header_covers_no_focused_row(fleets, opened):
    page = opened(fleets(*(host(number) for number in range(60))), viewport={"width": 1280, "height": 600})
    # Before all rows have arrived, the page is too short to be scrolled that far.
    until(page, """() => (scrollTo(0, 900), document.querySelector("tbody tr[data-key]").ariaRowIndex > 9)""")
    page.locator("tbody .m-name a").nth(8).focus()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        settled(page)
        is_seen = page.evaluate("""() => {
          const link = document.activeElement, edges = link.getBoundingClientRect();
          return link === document.elementFromPoint(edges.left + 3, edges.top + edges.height / 2); }""")
        assert is_seen, page.evaluate("document.activeElement.textContent")
