"""Several visible tabs of one browser: it opens six connections to an origin."""

import statistics
import time

from conftest import eventually
from dashboard import longest_path, plot, wait_for_sequence

CLOCK = ""


def test_seven_visible_tabs_share_one_stream(new_context, opened, backend):
    with backend.ticking(1):
        context = new_context()
        pages = [opened(context=context) for _ in range(7)]
        # Each has the minutes before, and what comes.
        for page in pages:
            wait_for_sequence(page, backend.sequence + 1)
            eventually(lambda page=page: longest_path(plot(page, "load")) > 500)

        def is_calm():
            """For four seconds, no tab polls or has a stream beside the one. A late sample makes tabs do both."""
            viewers, polls = set(), backend.asked.count("/stats")
            for _ in range(40):
                pages[0].wait_for_timeout(100)
                viewers.add(backend.viewers)
            return viewers == {1} and backend.asked.count("/stats") == polls

        eventually(lambda: is_calm() and is_calm(), 60)


def test_a_closed_tab_hands_its_stream_over(new_context, opened, backend):
    # The newest has the smallest number, and so the stream.
    newest = "Math.random = () => 1 / performance.timeOrigin;"
    context = new_context()
    context.add_init_script(newest)
    with backend.ticking(1):
        pages, seconds = [opened(context=context) for _ in range(5)], []
        while len(pages) > 1:
            eventually(lambda: backend.viewers == 1)
            pages.pop().close()
            begun = time.monotonic()
            wait_for_sequence(pages[-1], backend.sequence + 2)
            seconds.append(time.monotonic() - begun)
    # The sample in two seconds, and a second for a slow machine, which may have other work now and then.
    assert statistics.median(seconds) < 3, seconds


def test_without_messages_between_tabs_each_has_its_stream(opened, backend):
    page = opened(watch="delete window.BroadcastChannel;")
    backend.show(page)
    assert backend.viewers == 1


def test_tabs_of_two_instances_do_not_mix(opened, backend):
    first = opened()
    backend.scene.answered_by = lambda path: "fedcba9876543210" if path == "/stats/stream" else None
    second = opened(context=first.context)
    with backend.ticking(0.3):
        first.wait_for_timeout(2_000)
        names = [page.locator('[data-testid="instance"]').inner_text() for page in (first, second)]
        assert names == ["0123456789abcdef", "fedcba9876543210"]
        eventually(lambda: backend.viewers == 2)
