"""Ticks on the page: at once, often, and in a hidden tab."""

import re
import time

import pytest
from conftest import eventually
from dashboard import CHARTS, LIVE_MS, NOTICE_MS, button, hide, panel, plot, wait_for_sequence


def test_a_tick_is_seen_at_once(opened, backend):
    page = opened()
    backend.scene.change = lambda sample: {**sample, "cpu": 87.6}
    begun = time.monotonic()
    backend.show(page)
    assert time.monotonic() - begun < 1
    assert re.search(r"8[78]", button(page, "cpu").inner_text())


def test_the_history_and_a_full_heat_map_are_there_with_the_first_figures(opened):
    page = opened()
    for name in CHARTS:
        lengths = (
            plot(page, name)
            .locator("path")
            .evaluate_all("(paths) => paths.map((path) => (path.getAttribute('d') || '').length)")
        )
        assert max(lengths, default=0) > 500, name
    painted = """(canvas) => {
      const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, 1);
      let count = 0;
      for (let column = 0; column < width; column++) count += data[column * 4 + 3] > 0;
      return count / width;
    }"""
    canvas = panel(page, "cores").locator("canvas")
    eventually(lambda: canvas.evaluate(painted) > 0.95)


def test_ticks_ten_times_a_second_are_all_taken(opened, backend):
    page = opened()
    with backend.ticking(0.1):
        page.wait_for_timeout(2000)
    wait_for_sequence(page, backend.sequence)
    assert backend.sequence >= 15


def test_nothing_is_drawn_while_the_tab_is_hidden_and_all_when_it_is_seen(opened, backend):
    page = opened()
    hide(page)
    page.evaluate("""() => {
      window.changes = 0;
      new MutationObserver((list) => (changes += list.length)).observe(
        document.querySelector(".page"),
        { subtree: true, childList: true, attributes: true, characterData: true });
    }""")
    backend.scene.change = lambda sample: {**sample, "cpu": 91.0}
    backend.tick(3)
    page.wait_for_timeout(700)
    assert page.evaluate("changes") == 0
    assert "91" in page.title()
    hide(page, False)
    page.wait_for_function("changes > 0", timeout=NOTICE_MS)
    wait_for_sequence(page, backend.sequence)


@pytest.mark.parametrize("last", ["_bg.wasm", "/stats"])
def test_all_current_figures_are_shown_before_the_stream_responds(opened, backend, new_context, last):
    # The first sample arrives while the program loads, or after its start.
    backend.scene.delays.update({last: 3, "/stats/stream": 10})
    context, requests = new_context(), []

    def respond_once(route):
        requests.append(route)
        if len(requests) == 1:
            route.continue_()

    # The page requests samples until the stream delivers them, and the second one makes it live.
    context.route("**/stats", respond_once)
    page = opened(live=False, context=context)
    page.wait_for_selector(".page[data-sequence]", timeout=LIVE_MS)
    assert page.get_attribute(".page", "data-state") == "connecting"
    assert page.locator(".tile .blank").count() == 0
    assert button(page, "instance").inner_text() == backend.scene.instance
    assert "Fetching" in panel(page, "cpu").inner_text()
    assert button(page, "age").count() == 0, "they are recent"
