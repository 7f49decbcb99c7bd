"""Levels at a glance: tiles, the title and icon of the tab, and the viewer's thresholds."""

import re

from dashboard import TILES, button, wait_until_live


def test_every_figure_has_its_level_in_words_too(opened, backend):
    page = opened()
    for value, level in ((12.0, "normal"), (80.0, "warning"), (99.0, "critical")):
        backend.scene.change = lambda sample, value=value: {**sample, "cpu": value, "ram": value}
        backend.tick()
        for name in ("cpu", "ram"):
            tile = page.locator(f'[data-tile="{name}"]')
            page.wait_for_selector(f'[data-tile="{name}"][data-level="{level}"]')
            if level != "normal":
                assert level in tile.inner_text().lower()
    for name in TILES:
        assert page.locator(f'[data-tile="{name}"][data-level]').count() == 1, name
        assert re.search(r"\d", page.locator(f'[data-tile="{name}"]').inner_text()), name


def test_title_and_icon_of_the_tab_show_the_state(opened, backend):
    page = opened()
    icon = "document.querySelector('link[rel~=icon]').href"
    backend.scene.change = lambda sample: {**sample, "cpu": 12.0, "ram": 12.0}
    backend.show(page)
    calm = page.evaluate(icon)
    backend.scene.change = lambda sample: {**sample, "cpu": 99.0}
    backend.show(page)
    assert "99" in page.title()
    assert page.evaluate(icon) != calm
    # A headless browser loads no icon. This image checks the policy instead.
    page.evaluate(
        "(url) => new Promise((f, no) => { const i = new Image(); i.onload = f;"
        " i.onerror = () => no(new Error(url)); i.src = url; })",
        page.evaluate(icon),
    )


def test_thresholds_are_the_viewers_and_stay(opened, backend):
    page = opened(change=lambda sample: {**sample, "cpu": 50.0})
    button(page, "settings").click()
    field = page.locator("[data-threshold]").first
    field.fill("40")
    field.press("Tab")
    backend.tick()
    page.wait_for_selector('[data-tile="cpu"][data-level="warning"]')
    page.reload()
    wait_until_live(page)
    page.wait_for_selector('[data-tile="cpu"][data-level="warning"]')
