"""The page in a browser, on a backend that says what a test wants: fixtures and helpers."""

import re
import statistics
from contextlib import ExitStack

import pytest
from conftest import ARTIFACTS, eventually
from fake_backend import FakeBackend

import services

# From navigation to live figures on a slow machine.
LIVE_MS = 15_000
# When a page must have noticed that nothing comes, or that something comes again, on a slow machine.
NOTICE_MS = 20_000

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

# A clock that stands still: nothing is late, old or silent, and only the stream makes the page live.
STILL = "performance.now = () => 1;"
# A clock that a test moves (`pass_seconds`), and the number of requests without an answer.
DRIVEN = """{
  let time = 1;
  const seconds = [], { setInterval, fetch } = window, { text } = Response.prototype;
  window.requests = 0;
  const counted = async (answer) => { requests++; try { return await answer; } finally { requests--; } };
  performance.now = () => time;
  window.setInterval = (action, ms) => (ms === 1_000 ? seconds.push(action) : setInterval(action, ms));
  window.pass = () => { time += 1_000; for (const action of seconds) action(); };
  window.fetch = (...given) => counted(fetch(...given));
  Response.prototype.text = function () { return counted(text.call(this)); };
}"""
# Whether a text was on the page at any time.
LISTEN = """(text) => {
  window.heard = false;
  new MutationObserver(() => { heard ||= document.body.innerText.includes(text); })
    .observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
# The document of a newer version.
NEW_VERSION = '<meta name="backend-service-url" content=""><script src="/app-0123456789abcdef.js">'
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
PROGRAM = "performance.getEntriesByType('resource').find((one) => one.name.endsWith('.wasm')).responseEnd"
FRAMES = """() => {
  window.frames = [];
  let before = performance.now();
  (function frame(now) {
    if (now) { frames.push(now - before); before = now; }
    requestAnimationFrame(frame);
  })();
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  Object.defineProperty(document, "visibilityState",
    { configurable: true, get: () => (hidden ? "hidden" : "visible") });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

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
def new_context(browser):
    """`new_context(…)` is a context of the browser until the end of the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(browser.new_context(**options))


@pytest.fixture
def visit(new_context):
    """`visit(url)` is a page; at the end its console and its policy must have been silent.

    With `trouble` the browser may complain of answers that the test has spoilt.
    """
    pages, complaints = [], []

    def visit(url, trouble=False, watch=WATCH, context=None, wait_until="load", **options):
        page = (context or new_context(**options)).new_page()
        page.add_init_script(watch)

        def complain(text):
            if not (trouble and re.search(r"Failed to load resource|net::ERR", text)):
                complaints.append(text)

        page.on("console", lambda message: message.type in ("error", "warning") and complain(message.text))
        page.on("pageerror", lambda error: complain(str(error)))
        pages.append(page)
        page.goto(url, wait_until=wait_until)
        return page

    yield visit
    violations = [page.evaluate("window.seen?.violations ?? []") for page in pages if not page.is_closed()]
    for page in pages:
        page.close()
    assert complaints == [], complaints
    assert not any(violations), violations


@pytest.fixture
def opened(request, backend, visit):
    """`opened(path)` is a page of the backend, with live figures unless `live` is false; `change` is the scene's.

    Its clock is CLOCK of the test's module, or one that stands still; an empty one is the browser's.
    """
    usual = getattr(request.module, "CLOCK", STILL)

    def opened(path="/", live=True, change=None, watch=WATCH, clock=usual, **options):
        if change:
            backend.scene.change = change
        page = visit(backend.url + path, watch=f"{watch}\n{clock}", **options)
        if live:
            wait_until_live(page)
        if live and change:
            backend.show(page)
        return page

    return opened


def wait_until_live(page):
    page.wait_for_selector('.page[data-state="live"]', timeout=LIVE_MS)


def wait_for_sequence(page, number, timeout=LIVE_MS):
    """Until the page is live with this sample, or with a later one: it need not draw each of them."""
    newest = """(least) => { const { state, sequence } = document.querySelector(".page").dataset;
      return state === "live" && sequence >= least; }"""
    eventually(lambda: page.evaluate(newest, number), timeout / 1000)


def until(page, condition):
    """The page's policy forbids to wait for a text of program in the page."""
    eventually(lambda: page.evaluate(condition))


def pass_seconds(page, backend, count):
    """Seconds of a DRIVEN page, each with a sample and with the answers to what the page requests."""
    for _ in range(count):
        backend.tick()
        page.evaluate("pass()")
        until(page, "requests === 0")


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


def longest_path(box):
    """The characters of the longest path in it; a line of ten minutes has more than 500."""
    lengths = box.locator("path").evaluate_all("(all) => all.map((path) => path.getAttribute('d')?.length ?? 0)")
    return max(lengths, default=0)


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


def frame_ms(page, meanwhile):
    """The median time of a frame during an action."""
    page.evaluate(FRAMES)
    meanwhile()
    return statistics.median(page.evaluate("frames.slice(2)"))


def hide(page, hidden=True):
    """Moves the page to a tab in the background, or back."""
    page.evaluate(HIDE, hidden)


def metrics_of(page, **options):
    """A function that returns Chromium's metrics of the page, without garbage."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", options)

    def metrics():
        session.send("HeapProfiler.collectGarbage")
        return {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}

    return metrics


def schemes(page):
    """The page in light and in dark colors, one after the other."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settled(page)
        yield scheme


def assert_accessible(page):
    """Without a fault in light and in dark colors."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    for scheme in schemes(page):
        result = axe.Axe().run(page)
        assert result.violations_count == 0, f"{scheme}: {result.generate_report()}"


def picture(page, name, view="dashboard"):
    if page.context.browser.browser_type.name == "firefox":
        # Playwright adds a style sheet for each picture there, which the policy refuses.
        return
    ARTIFACTS.mkdir(exist_ok=True)
    # To hide the caret, Playwright would do the same.
    page.screenshot(path=ARTIFACTS / f"{view}-{name}.png", caret="initial")
