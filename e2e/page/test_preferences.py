"""The viewer's theme, units and notation of numbers."""

import re

from conftest import eventually
from dashboard import button, settled, wait_until_live


def test_the_theme_is_the_viewers_and_survives_a_reload(opened):
    page = opened(color_scheme="light")
    ground = (
        "getComputedStyle(document.querySelector('.page')).backgroundColor + "
        "getComputedStyle(document.body).backgroundColor + "
        "getComputedStyle(document.documentElement).backgroundColor"
    )
    theme = "document.querySelector('.page').dataset.theme"
    light = page.evaluate(ground)
    for _ in range(3):
        button(page, "theme").click()
        settled(page)
        if page.evaluate(theme) == "dark":
            break
    assert page.evaluate(theme) == "dark"
    eventually(lambda: page.evaluate(ground) != light)
    # Safari colors its bar like the page, unless the page has a color for it by the system's theme.
    assert page.locator("meta[name=theme-color]").count() == 0
    page.reload()
    wait_until_live(page)
    assert page.evaluate(theme) == "dark"
    assert page.evaluate(ground) != light


def test_a_dark_page_does_not_begin_white(opened, new_context):
    context = new_context(color_scheme="light")
    context.route("**/*_bg.wasm", lambda route: None)
    stored = "try { localStorage['system-stats'] = 'dark binary' } catch {}"
    page = opened(context=context, live=False, wait_until="commit", watch=stored)
    page.wait_for_selector('.page[data-state="loading"] footer')
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(11, 13, 16)"


def test_units_are_binary_or_decimal_by_choice(opened):
    page = opened()
    assert re.search(r"\d\s?[KMGT]iB", page.locator("main").inner_text())
    button(page, "units").click()
    settled(page)
    words = page.locator("main").inner_text()
    assert re.search(r"\d\s?[kMGT]B", words)
    assert not re.search(r"\d\s?[KMGT]iB", words)


def test_numbers_are_written_as_the_viewer_writes_them(opened):
    page = opened(locale="de-DE", change=lambda sample: {**sample, "cpu": 12.5, "load": [1.25, 1.5, 0.75]})
    assert "1,25" in page.locator("main").inner_text()
