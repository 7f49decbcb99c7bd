"""The page in a real browser."""

import re

import pytest
from conftest import ARTIFACTS, eventually
from dashboard import LIVE_MS, schemes, wait_until_live

SIZES = {"desktop": (1280, 800), "phone": (375, 740), "narrow": (320, 640)}
# What is wider than it may be, with letters of a given size; what scrolls by itself may be.
FITS = """(size) => {
  const root = document.documentElement;
  root.style.fontSize = size;
  const wide = Array.from(document.querySelectorAll(".tile, .panel, .top, .controls"))
    .filter((box) => box.clientWidth && box.scrollWidth > box.clientWidth)
    .map((box) => `${box.className || box.tagName} ${box.scrollWidth} > ${box.clientWidth}`);
  if (root.scrollWidth > window.innerWidth)
    wide.push(`page ${root.scrollWidth} > ${window.innerWidth}`);
  root.style.fontSize = "";
  return wide;
}"""


@pytest.fixture
def page_at(new_context, visit, base_url):
    """`page_at(path, **context)` opens a page; at the end no request had failed, and its console was silent."""
    failed = []

    def page_at(path="/", **options):
        context = new_context(**options)
        # Leaving the page ends its event stream, and a browser without JavaScript drops scripts.
        if options.get("java_script_enabled", True):
            context.on("requestfailed", lambda request: "stream" in request.url or failed.append(request.url))
        return visit(base_url + path, context=context)

    yield page_at
    assert failed == []


def figure(page, name):
    text = page.get_by_test_id(name).inner_text()
    number = re.search(r"\d+(\.\d+)?", text)
    return float(number.group(0)) if number else None


def test_the_figures_and_the_state_in_the_title_appear_and_move(page_at):
    page = page_at()
    wait_until_live(page)
    assert re.search(r"\d", page.title()), page.title()
    for name in ("cpu", "ram"):
        assert 0 <= figure(page, name) <= 100
    before = page.locator(".page").get_attribute("data-sequence")
    page.wait_for_selector(f'.page:not([data-sequence="{before}"])', timeout=LIVE_MS)


def test_the_figures_are_those_of_the_service(page_at, fetch):
    page = page_at()
    wait_until_live(page)
    eventually(lambda: abs(figure(page, "ram") - fetch("/stats").json()["ram"]) <= 2)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_it_fits_and_leaves_a_picture(page_at, size):
    width, height = size
    page = page_at(viewport={"width": width, "height": height})
    wait_until_live(page)
    for letters in ("100%", "200%"):
        assert page.evaluate(FITS, letters) == [], letters
    # Some seconds of history in the picture.
    page.wait_for_timeout(3000)
    ARTIFACTS.mkdir(exist_ok=True)
    for scheme in schemes(page):
        page.screenshot(path=ARTIFACTS / f"page-{scheme}-{width}.png")


def test_without_javascript_it_says_where_the_numbers_are(page_at):
    page = page_at(java_script_enabled=False)
    assert page.locator('a[href="/stats"]').first.is_visible()
