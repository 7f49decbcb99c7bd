"""The page in a browser, on a backend that says what a test wants: fixtures and helpers."""

import re

import pytest
from conftest import ARTIFACTS
from fake_backend import FakeBackend

import services

# From navigation to live figures on a slow machine.
LIVE_MS = 15_000
# When a page must have noticed that nothing comes, or that something comes again.
NOTICE_MS = 12_000

SIZES = {"phone": (320, 640), "desktop": (1280, 800), "wall": (3840, 2160)}
TILES = ("cpu", "ram", "load", "network", "disk", "pressure")
CHARTS = ("cpu", "memory", "network", "disk", "pressure", "load")

# Before anything of the page runs: what it breaks, what it moves, and where its memory is.
WATCH = """
window.seen = { violations: [], shift: 0, shifted: [], memory: null, live: null };
document.addEventListener("securitypolicyviolation", (event) =>
  seen.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    seen.shift += entry.value;
    for (const source of entry.sources)
      seen.shifted.push(source.node?.outerHTML?.slice(0, 80) ?? String(source.node));
  }
}).observe({ type: "layout-shift", buffered: true });
for (const name of ["instantiate", "instantiateStreaming"]) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (...given) => {
    const made = await original.apply(WebAssembly, given);
    seen.memory = (made.instance ?? made).exports.memory;
    return made;
  };
}
(function look() {
  if (document.querySelector('.page[data-state="live"]')) seen.live = performance.now();
  else requestAnimationFrame(look);
})();
"""

# What must never be read or drawn.
NONSENSE = r"""() => {
  const wrong = /NaN|undefined|Infinity|\bnull\b|\[object|\d[eE]\+?\d/;
  const found = [];
  for (const text of [document.title, document.body.innerText])
    for (const line of text.split("\n")) if (wrong.test(line)) found.push(line);
  for (const element of document.querySelectorAll("svg *, [aria-label], [aria-valuetext]"))
    for (const { name, value } of element.attributes)
      if (/NaN|undefined|Infinity/.test(value)) found.push(`${element.tagName} ${name}=${value}`);
  return found.slice(0, 10);
}"""

TOO_WIDE = """() => {
  const most = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= most) return [];
  return Array.from(document.querySelectorAll("body *"))
    .filter((box) => box.getBoundingClientRect().right > most + 1)
    .map((box) => `${box.tagName}.${box.className} ${box.getBoundingClientRect().right}`)
    .slice(0, 10);
}"""


@pytest.fixture(scope="module")
def frontend(request):
    with services.frontend(request.config) as service:
        yield service


@pytest.fixture
def backend(frontend):
    backend = FakeBackend(frontend.port)
    backend.tick()
    yield backend
    backend.close()


@pytest.fixture
def opened(browser, backend):
    """`opened(path)` is a page; at the end its console and its policy must have been silent.

    With `trouble` the browser may complain of answers that the test has spoilt.
    """
    contexts, pages, complaints = [], [], []

    def opened(path="/", trouble=False, live=True, watch=WATCH, throttle=1, wait_until="load", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(watch)

        collect_complaints(page, complaints, trouble)
        if throttle > 1:
            session = context.new_cdp_session(page)
            session.send("Emulation.setCPUThrottlingRate", {"rate": throttle})
        page.goto(backend.url + path, wait_until=wait_until)
        if live:
            wait_until_live(page)
        pages.append(page)
        return page

    yield opened
    violations = [page.evaluate("window.seen?.violations ?? []") for page in pages]
    for context in contexts:
        context.close()
    assert complaints == [], complaints
    assert not any(violations), violations


def collect_complaints(page, complaints, trouble):
    """Adds the errors and warnings of a page; with `trouble` those of failed requests are expected."""

    def complain(text):
        if not (trouble and re.search(r"Failed to load resource|net::ERR", text)):
            complaints.append(text)

    page.on("console", lambda message: message.type in ("error", "warning") and complain(message.text))
    page.on("pageerror", lambda error: complain(str(error)))


def wait_until_live(page):
    page.wait_for_selector('.page[data-state="live"]', timeout=LIVE_MS)


def wait_for_sequence(page, number, timeout=LIVE_MS):
    page.wait_for_selector(f'.page[data-sequence="{number}"]', timeout=timeout)


def state(page):
    """The line that names the worst state."""
    return button(page, "state").inner_text().replace("\u00a0", " ")


def panel(page, name):
    return page.locator(f'[data-panel="{name}"]')


def plot(page, name):
    return panel(page, name).locator(".plot").first


def button(page, name):
    found = page.locator(f'[data-action="{name}"], [data-testid="{name}"]').first
    settings = page.locator("details.settings")
    is_inside = settings.filter(has=found).count() > 0
    if settings.count():
        # It lies above the panels, as a viewer sees it.
        settings.evaluate("(sheet, open) => { sheet.open = open }", is_inside)
    return found


def settled(page):
    """Two frames later: what was decided is drawn."""
    page.evaluate("() => new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))")


def drawn(page, name):
    """All that a panel draws and says, its canvas included."""
    settled(page)
    return panel(page, name).evaluate(
        "(box) => box.innerHTML + Array.from(box.querySelectorAll('canvas'), (canvas) => canvas.toDataURL()).join()"
    )


def hover(page, name, share):
    box = plot(page, name).bounding_box()
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
    settled(page)


def drag(page, name, begin, end, steps=8):
    plot(page, name).scroll_into_view_if_needed()
    hover(page, name, begin)
    page.mouse.down()
    for step in range(1, steps + 1):
        hover(page, name, begin + (end - begin) * step / steps)
    page.mouse.up()
    settled(page)


def picture(page, name, view="dashboard"):
    if page.context.browser.browser_type.name == "firefox":
        # Playwright adds a style sheet for each picture there, which the policy refuses.
        return
    ARTIFACTS.mkdir(exist_ok=True)
    # To hide the caret, Playwright would do the same.
    page.screenshot(path=ARTIFACTS / f"{view}-{name}.png", caret="initial")
