"""The page before the first sample, without a connection, without a stream, and after a restart."""

import re

from conftest import eventually
from dashboard import NONSENSE, NOTICE_MS, button, picture, wait_until_live

CLOCK = ""


def test_before_the_first_sample_it_says_that_the_service_starts(opened, backend):
    backend.sequence = 0
    backend.scene.stream_status = 503
    page = opened(live=False, trouble=True)
    page.wait_for_selector('.page:not([data-state="loading"]):not([data-state="live"])')
    assert page.evaluate(NONSENSE) == []
    backend.scene.stream_status = 200
    backend.tick()
    wait_until_live(page)


def test_a_lost_connection_greys_the_figures_and_invents_none(opened, backend):
    page = opened(trouble=True)
    # Colors change gradually.
    look = """async () => {
      const gradual = document.getAnimations().filter((one) => one instanceof CSSTransition);
      await Promise.allSettled(gradual.map((one) => one.finished));
      const style = getComputedStyle(document.querySelector('[data-testid="cpu"]'));
      const page = getComputedStyle(document.querySelector(".page main"));
      return [style.color, style.opacity, style.filter, page.opacity, page.filter].join(); }"""
    backend.show(page)
    before = (page.evaluate(look), button(page, "cpu").inner_text())
    backend.scene.is_down = True
    backend.cut()
    page.wait_for_selector('.page:not([data-state="live"])', timeout=NOTICE_MS)
    eventually(lambda: re.search(r"\d+ s", button(page, "age").inner_text()))
    assert button(page, "cpu").inner_text() == before[1]
    eventually(lambda: page.evaluate(look) != before[0])
    picture(page, "lost")
    backend.scene.is_down = False
    with backend.ticking():
        page.wait_for_selector('.page[data-state="live"]', timeout=NOTICE_MS)
        # The color returns gradually.
        eventually(lambda: page.evaluate(look) == before[0])


def test_a_browser_without_a_network_says_so_and_comes_back(opened, backend):
    page = opened(trouble=True)
    page.context.set_offline(True)
    backend.cut()
    page.wait_for_selector('.page:not([data-state="live"])', timeout=NOTICE_MS)
    page.context.set_offline(False)
    with backend.ticking():
        page.wait_for_selector('.page[data-state="live"]', timeout=NOTICE_MS)


def test_silence_is_noticed_though_the_connection_stands(opened, backend):
    page = opened()
    page.wait_for_selector('.page:not([data-state="live"])', timeout=NOTICE_MS)
    eventually(lambda: re.search(r"\d+ s", button(page, "age").inner_text()))
    backend.tick()
    page.wait_for_selector('.page[data-state="live"]', timeout=NOTICE_MS)


def test_another_instance_is_named_and_starts_again(opened, backend):
    page = opened()
    before = page.locator("body").inner_text()
    backend.show(page, 4)
    backend.restart("fedcba9876543210")
    page.wait_for_selector('.page[data-sequence="1"]')
    assert button(page, "instance").inner_text() == "fedcba9876543210"
    pattern = r"(another|new|other|changed|restarted).{0,30}instance|instance.{0,30}(new|changed)"
    assert not re.search(pattern, before, re.IGNORECASE)
    assert re.search(pattern, page.locator("body").inner_text(), re.IGNORECASE)
