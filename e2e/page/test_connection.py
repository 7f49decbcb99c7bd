"""The page between sign-ins, proxies, slow lines, restarts and deployments."""

import re

import pytest
from conftest import eventually
from dashboard import (
    DRIVEN,
    LISTEN,
    LIVE_MS,
    NEW_VERSION,
    NOTICE_MS,
    button,
    hide,
    longest_path,
    pass_seconds,
    plot,
    wait_for_sequence,
    wait_until_live,
)

CLOCK = ""


def strokes(page, name):
    """Strokes of the lines of a chart: each gap begins a new one."""
    return (
        plot(page, name)
        .locator("path.line, path.area")
        .evaluate_all("(paths) => paths.map((path) => (path.getAttribute('d') || '').split('M').length - 1)")
    )


def states(page):
    """Starts to record every state of the page."""
    page.evaluate("""() => {
      const page = document.querySelector(".page");
      window.states = [page.dataset.state];
      new MutationObserver(() => states.push(page.dataset.state)).observe(page,
        { attributes: true, attributeFilter: ["data-state"] });
    }""")


def test_a_refused_stream_leaves_charts_with_history_and_without_gaps(opened, backend):
    backend.scene.stream_status = 404
    page = opened(trouble=True)
    with backend.ticking(1):
        eventually(lambda: any("/stats/history" in path for path in backend.asked))
        wait_for_sequence(page, 9, timeout=30_000)
    assert longest_path(plot(page, "load")) > 500, "the history is not drawn"
    assert strokes(page, "load") == [1]


@pytest.mark.parametrize("how", ["redirect", "html", "401"])
def test_an_ended_session_is_shown_and_a_new_one_is_found(opened, backend, how):
    page = opened(trouble=True)
    backend.scene.sign_in = how
    backend.cut()
    page.wait_for_selector('.page[data-state="signed-out"]', timeout=NOTICE_MS)
    assert "Signed out" in button(page, "status").inner_text()
    assert page.get_by_role("button", name="Sign in").is_visible()
    backend.scene.sign_in = None
    backend.tick()
    page.wait_for_selector('.page[data-state="live"]', timeout=LIVE_MS)
    assert page.get_by_role("button", name="Sign in").count() == 0


def test_hidden_tabs_release_their_streams(opened, backend):
    page = opened(clock=DRIVEN)
    assert backend.viewers == 1
    hide(page)
    backend.scene.change = lambda sample: {**sample, "cpu": 91.0}
    pass_seconds(page, backend, 11)
    # A stream whose viewer left is noticed when something is sent.
    eventually(lambda: backend.tick() or backend.viewers == 0)
    backend.scene.change = lambda sample: {**sample, "cpu": 92.0}
    pass_seconds(page, backend, 12)
    assert "92" in page.title()
    hide(page, False)
    eventually(lambda: backend.viewers == 1)


def test_a_tab_that_opens_in_the_background_releases_its_stream(opened, backend):
    """A browser that restores its tabs shows one of them."""
    hidden = """for (const [name, value] of [["hidden", true], ["visibilityState", "hidden"]])
      Object.defineProperty(document, name, { configurable: true, get: () => value });"""
    page = opened(live=False, watch=hidden, clock=DRIVEN)
    eventually(lambda: backend.viewers == 1)
    pass_seconds(page, backend, 12)
    eventually(lambda: backend.tick() or backend.viewers == 0)
    hide(page, False)
    eventually(lambda: backend.viewers == 1)
    wait_until_live(page)


def test_eight_tabs_load_when_the_others_are_hidden(opened, backend):
    """A browser opens six connections to an origin."""
    pages = [opened()]
    for _ in range(7):
        pages.append(opened(context=pages[0].context))
        for other in pages[:-1]:
            hide(other)
        if len(pages) == 5:
            # Longer than a hidden tab keeps its stream.
            eventually(lambda: backend.tick() or backend.viewers <= 1, seconds=20, every=0.5)
    assert len(pages) == 8


def test_a_slow_line_is_no_dead_one(opened, backend):
    """Ten minutes of history at 64 kbit/s take longer than the watchdog is patient."""
    backend.scene.bytes_per_second = 8_000
    page = opened(live=False)
    with backend.ticking(1):
        wait_for_sequence(page, 15, timeout=40_000)
        eventually(lambda: longest_path(plot(page, "load")) > 500, 40)
    assert backend.asked.count("/stats/stream") == 1, "the watchdog cut the stream while bytes came in"


def test_a_proxy_that_holds_the_stream_back_ends_in_polling(opened, backend):
    backend.scene.buffer_bytes = 1 << 20
    page = opened(live=False, clock=DRIVEN)
    page.wait_for_selector('.page[data-state="connecting"]', timeout=LIVE_MS)
    pass_seconds(page, backend, 3)
    states(page)
    pass_seconds(page, backend, 26)
    streams = backend.asked.count("/stats/stream")
    pass_seconds(page, backend, 60)
    assert page.evaluate("states") == ["live"], "the state flaps"
    assert backend.asked.count("/stats/stream") == streams <= 3


def test_a_history_of_another_replica_is_not_drawn(opened, backend):
    page = opened()
    backend.scene.change_history = lambda told: {**told, "instance": "fedcba9876543210"}
    button(page, "range-24h").click()
    page.get_by_text("another instance answered").first.wait_for()
    assert plot(page, "load").locator("path.line[d^=M]").count() == 0
    backend.scene.change_history = lambda told: told
    eventually(lambda: plot(page, "load").locator("path.line[d^=M]").count() == 1)


def test_a_failed_history_is_shown_and_tried_again_within_seconds(opened, backend):
    page = opened(trouble=True)
    page.evaluate(LISTEN, "HTTP status 500")
    page.route("**/stats/history?*", lambda route: route.fulfill(status=500), times=1)
    button(page, "range-1h").click()
    eventually(lambda: plot(page, "load").locator("path.line[d^=M]").count() == 1)
    assert page.evaluate("heard")
    first, second = page.evaluate("""performance.getEntriesByType("resource")
      .filter((one) => one.name.includes("seconds=3600")).map((one) => one.startTime)""")
    assert second - first < 6000


def test_a_day_is_fetched_again_after_a_restart(opened, backend):
    page = opened("/#range=24h")
    eventually(lambda: plot(page, "load").locator("path.line[d^=M]").count() == 1)
    before = sum("seconds=86400" in path for path in backend.asked)
    backend.restart("fedcba9876543210")
    eventually(lambda: sum("seconds=86400" in path for path in backend.asked) > before)


def test_a_corrected_clock_brings_the_history_again(opened, backend):
    page = opened()
    backend._time_unix_ms -= 7_200_000
    backend.tick()
    eventually(lambda: "/stats/history" in backend.asked)
    eventually(lambda: longest_path(plot(page, "load")) > 500)


@pytest.mark.parametrize("end", ["_bg.wasm", ".js"])
def test_a_program_that_is_gone_reloads_the_page_once(new_context, backend, end):
    """During a rolling deployment the old page asks the new server, or the other way round."""
    backend.scene.missing = (end,)
    page = new_context().new_page()
    page.goto(backend.url)
    page.get_by_text("there may be a new version").wait_for()
    page.wait_for_timeout(1000)
    assert backend.asked.count("/") == 2
    assert page.get_by_role("link", name="Reload").is_visible()


def test_a_program_that_is_back_starts_after_the_reload(new_context, backend):
    page = new_context().new_page()

    def program(route):
        """It is back when the page is asked for again."""
        if backend.asked.count("/") == 1:
            route.fulfill(status=404, body="gone")
        else:
            route.continue_()

    page.route("**/*_bg.wasm", program)
    page.goto(backend.url)
    wait_until_live(page)
    assert backend.asked.count("/") == 2


def test_an_open_page_notices_a_new_version(opened, backend):
    page = opened()
    page.route(re.compile(r"/$"), lambda route: route.fulfill(body=NEW_VERSION))
    backend.restart("fedcba9876543210")
    page.get_by_role("button", name="New version").wait_for()


def test_a_wall_display_reloads_itself_for_a_new_version(opened, backend):
    page = opened("/?kiosk")
    page.route(re.compile(r"/$"), lambda route: route.fulfill(body=NEW_VERSION))
    with page.expect_navigation():
        backend.restart("fedcba9876543210")
    wait_until_live(page)
    assert backend.asked.count("/?kiosk") == 2


def test_the_reason_of_a_lost_connection_is_shown(opened, backend):
    page = opened(trouble=True)
    backend.scene.is_down = True
    backend.cut()
    page.wait_for_selector('.page[data-state="reconnecting"]', timeout=NOTICE_MS)
    eventually(lambda: "HTTP status 502" in button(page, "status").inner_text())
