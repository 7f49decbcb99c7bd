"""The page by keyboard, without motion, and for assistive technology."""

import pytest
from dashboard import backend, button, frontend, opened, settled, wait_for_sequence


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
    backend.tick(3)
    wait_for_sequence(page, backend.sequence)
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/?kiosk"])
def test_the_page_is_accessible(opened, backend, scheme, path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    backend.scene.scope = "task"
    page = opened(path, color_scheme=scheme)
    if path == "/":
        button(page, "table-cpu").click()
        button(page, "settings").click()
        settled(page)
    result = axe.Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


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
