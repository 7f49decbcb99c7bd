"""Views of the charts: exact values, pause, zoom, ranges, links and tables."""

import re

import pytest
from conftest import eventually
from dashboard import CHARTS, NONSENSE, TOO_WIDE, button, drag, drawn, hover, panel, picture, plot, settled


def test_a_pointer_on_a_chart_gets_exact_values_and_their_time(opened):
    page = opened()
    for name in CHARTS:
        plot(page, name).scroll_into_view_if_needed()
        texts = []
        for share in (0.3, 0.7):
            hover(page, name, share)
            texts.append(panel(page, name).inner_text())
            assert re.search(r"\d{1,2}[:.]\d{2}[:.]\d{2}", texts[-1]), texts[-1]
        assert texts[0] != texts[1], name


def test_a_chart_is_read_with_the_arrow_keys(opened):
    page = opened()
    chart = panel(page, "cpu").locator('.plot[tabindex="0"], .plot [tabindex="0"]').first
    chart.focus()
    texts = []
    for key in ("ArrowLeft", "ArrowLeft", "Home", "End"):
        page.keyboard.press(key)
        settled(page)
        texts.append(panel(page, "cpu").inner_text())
        assert re.search(r"\d{1,2}[:.]\d{2}[:.]\d{2}", texts[-1]), texts[-1]
    assert texts[1] != texts[2] != texts[3]


def test_pause_holds_the_charts_and_goes_on(opened, backend):
    page = opened()
    button(page, "pause").click()
    before = drawn(page, "load")
    backend.show(page, 5)
    assert drawn(page, "load") == before
    button(page, "pause").click()
    backend.tick()
    eventually(lambda: drawn(page, "load") != before)


def test_a_drag_zooms_every_chart_and_escape_leads_back(opened):
    page = opened()
    before = {name: drawn(page, name) for name in ("cpu", "load")}
    drag(page, "cpu", 0.3, 0.6)
    page.mouse.move(1, 1)
    for name, was in before.items():
        assert drawn(page, name) != was, name
    zoomed = drawn(page, "load")
    plot(page, "cpu").dblclick() if not escape(page) else None
    eventually(lambda: drawn(page, "load") != zoomed)


def escape(page):
    """Presses Escape on a chart. True, since the page has this key."""
    panel(page, "cpu").locator('.plot[tabindex="0"], .plot [tabindex="0"]').first.focus()
    page.keyboard.press("Escape")
    return True


def test_a_day_is_fetched_when_it_is_asked_for(opened):
    page = opened()
    with page.expect_response(lambda answer: "/stats/history" in answer.url) as answer:
        button(page, "range-24h").click()
    assert "seconds=86400" in answer.value.url
    page.wait_for_function("location.hash.includes('range=24h')")
    plot(page, "cpu").scroll_into_view_if_needed()

    def told():
        hover(page, "load", 0.5)
        return panel(page, "load").inner_text().lower()

    eventually(lambda: re.search(r"\bmin|\u2013|to\b|max", told()))
    picture(page, "day")
    assert page.evaluate(NONSENSE) == []


def test_a_link_carries_the_view(opened, backend):
    page = opened("/#range=1h&panel=network")
    eventually(lambda: any("seconds=3600" in path for path in backend.asked))
    assert button(page, "range-1h").get_attribute("aria-current") == "true"
    assert page.evaluate(
        """() => { const box = document.querySelector('[data-panel="network"]')
          .getBoundingClientRect(); return box.top < innerHeight && box.bottom > 0; }"""
    )


def test_a_panel_that_is_small_again_stays_in_the_viewport(opened):
    page = opened(viewport={"width": 1280, "height": 800})
    link = panel(page, "disk").locator("h2 a")
    link.focus()
    for count in (1, 0):
        page.keyboard.press("Enter")
        eventually(lambda count=count: page.locator("[data-focus]").count() == count)
        settled(page)
        assert 0 <= link.bounding_box()["y"] < 800


def test_an_empty_history_is_no_fault(opened, backend):
    backend.scene.change_history = lambda history: {**history, "time_unix_ms": [], "series": {}}
    page = opened()
    assert page.evaluate(NONSENSE) == []
    backend.show(page, 3)


@pytest.mark.parametrize("cores", [1, 64, 512])
def test_every_number_of_cores_has_its_picture(opened, backend, cores):
    backend.scene.cores = cores
    page = opened()
    backend.show(page, 3)
    cells = panel(page, "cores")
    cells.scroll_into_view_if_needed()
    assert cells.bounding_box()["height"] > 20
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(NONSENSE) == []
    picture(page, f"cores-{cores}")


def test_behind_every_chart_is_a_table(opened):
    page = opened()
    for name in CHARTS:
        button(page, f"table-{name}").click()
        table = panel(page, name).locator("table").first
        table.wait_for(state="visible")
        assert table.locator("tr").count() > 5, name
        assert table.locator("th").count() >= 2, name
        # A screen reader reads the time of a row before each of its values.
        assert table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count(), name
        button(page, f"table-{name}").click()
        table.wait_for(state="hidden")
