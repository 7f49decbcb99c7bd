"""The page as one file, which opens where there is no network."""

import re

import pytest
from dashboard import CHARTS, NONSENSE, TILES, TOO_WIDE, button, panel, picture, settled, state
from test_states import incident

# Attributes that make a browser load something, or run it.
LOADS = """() => Array.from(document.querySelectorAll("*")).flatMap((box) =>
  Array.from(box.attributes)
    .filter(({ name, value }) => /^(on|src|href|style|data-action)/.test(name) && !value.startsWith("data:"))
    .map(({ name, value }) => `${box.tagName} ${name}=${value}`))"""


@pytest.fixture
def saved(new_context, tmp_path):
    """`saved(page)` is the page's file, opened without a network; nothing was requested at the end."""
    files, requests, complaints = [], [], []

    def saved(page, **options):
        with page.expect_download() as download:
            button(page, "download-html").click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        opened = new_context(offline=True, **options).new_page()
        opened.on("console", lambda said: complaints.append(said.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("request", lambda request: requests.append(request.url))
        opened.goto(path.as_uri())
        files.append(path)
        return opened, path

    yield saved
    others = [url for url in requests if not url.startswith(("file:", "data:"))]
    assert others == [] and len([url for url in requests if url.startswith("file:")]) == len(files)
    assert complaints == []


def named(sample):
    return {**incident(sample), "hostname": "web-1.example"}


def words(page, selector):
    return page.locator(selector).evaluate_all("(all) => all.map((one) => one.textContent)")


def test_the_file_shows_what_the_page_showed(opened, saved):
    page = opened(timezone_id="Europe/Berlin", change=named)
    button(page, "pause").click()
    file, path = saved(page, timezone_id="Asia/Tokyo")
    assert re.fullmatch(r"system-stats-web-1\.example-\d{8}T\d{6}Z\.html", path.name), path.name
    assert state(file) == state(page)
    for selector in (".figure", ".words", ".legend", "td", ".aside", ".scale text", ".times text", ".scope", ".unseen"):
        assert words(file, selector) == words(page, selector) != [], selector
    for selector in (".plot path.line, .plot path.area", ".bar rect"):
        paths = "(all) => all.map((one) => one.getAttribute('d') ?? one.getAttribute('width'))"
        told = file.locator(selector).evaluate_all(paths)
        assert told == page.locator(selector).evaluate_all(paths) != [], selector
    # The time, with its zone, and the instance.
    taken = file.locator('[data-testid="status"]').inner_text()
    assert re.fullmatch(r"Saved \w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT\+0[12]00.*", taken), taken
    assert "0123456789abcdef" in file.locator("footer").inner_text()
    assert file.title() == path.name


def test_the_file_is_drawn_as_the_page(opened, saved):
    page = opened()
    file, _ = saved(page)
    shapes = "(all) => all.map((one) => { const { x, width } = one.getBoundingClientRect(); return [x, width]; })"
    for selector in (".tile", ".plot", ".panel"):
        boxes = file.locator(selector).evaluate_all(shapes)
        assert boxes == page.locator(selector).evaluate_all(shapes) != [], selector
    # The cores are pixels: the image has those of the canvas.
    image = panel(file, "cores").locator("img")
    assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 600
    plot = panel(file, "cores").locator(".plot").bounding_box()
    assert image.bounding_box()["height"] > plot["height"] - 4
    for name in CHARTS:
        assert panel(file, name).locator("path.line, path.area").count(), name
    for name in TILES:
        assert file.locator(f'[data-tile="{name}"]').bounding_box()["height"] > 60


def test_the_file_loads_nothing_and_has_no_controls(opened, saved):
    page = opened()
    file, path = saved(page)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text and "url(" not in text and "@import" not in text
    assert file.evaluate(LOADS) == []
    assert file.locator("script, link, button, input, select, canvas, iframe, object").count() == 0
    # What can be focused can be used: boxes that scroll.
    assert set(words(file, "[tabindex]:not(.scroll)")) == set()
    assert {image.get_attribute("role") for image in file.locator(".plot").all()} == {"img"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_file_follows_the_readers_theme_and_screen(opened, saved, scheme):
    page = opened(change=named)
    # The viewer's own theme is not the reader's.
    for _ in range(2 if scheme == "light" else 1):
        button(page, "theme").click()
    file, _ = saved(page, color_scheme=scheme)
    ground = file.evaluate("getComputedStyle(document.body).backgroundColor")
    numbers = [float(number) for number in re.findall(r"[\d.]+", ground)]
    assert (min(numbers[:3]) > 200) == (scheme == "light"), ground
    assert file.evaluate(NONSENSE) == []
    for width in (320, 375, 1280):
        file.set_viewport_size({"width": width, "height": 800})
        assert file.evaluate(TOO_WIDE) == [], width
        picture(file, f"report-{scheme}-{width}")


def test_a_lost_connection_stays_in_the_file(opened, backend, saved):
    page = opened(trouble=True, clock="")
    backend.scene.is_down = True
    backend.cut()
    page.wait_for_selector('.page[data-state="reconnecting"] .age', timeout=30_000)
    file, _ = saved(page)
    assert file.locator(".page").get_attribute("data-state") == "reconnecting"
    assert "old" in file.locator(".age").inner_text()
    assert panel(file, "load").locator("path.line").count()


def test_names_are_text_in_the_file(opened, saved):
    evil = '</title></style><img src="x" onerror="alert(1)"><script>alert(2)</script>'

    def change(sample):
        sample["filesystems"][0]["mount"] = f"/{evil}"
        return {**sample, "hostname": evil}

    page = opened(change=change)
    file, path = saved(page)
    assert "<" not in path.name
    assert file.locator("script, [onerror]").count() == 0
    assert evil in file.locator(".scope").inner_text()
    assert file.title() == path.name


def test_a_style_sheet_of_an_extension_does_not_hold_a_file_back(opened, saved):
    page = opened(bypass_csp=True)
    css = {"content_type": "text/css", "body": ".figure { color: rebeccapurple }"}
    page.route("https://extension.example/*", lambda route: route.fulfill(**css))
    page.evaluate("""() => new Promise((done) => {
      const link = document.createElement("link");
      Object.assign(link, { rel: "stylesheet", href: "https://extension.example/a.css", onload: done });
      document.head.append(link); })""")
    file, path = saved(page)
    assert "rebeccapurple" not in path.read_text(encoding="utf-8")
    assert file.locator(".tiles").evaluate("(box) => getComputedStyle(box).display") == "grid"


def test_range_tables_and_units_are_those_of_the_page(opened, saved):
    page = opened("/#range=1h")
    page.wait_for_selector('[data-panel="load"] path.line[d^="M"]', state="attached")
    button(page, "units").click()
    button(page, "table-load").click()
    settled(page)
    file, _ = saved(page)
    for selector in ('[data-panel="load"] table td', '[data-panel="network"] .scale text'):
        assert words(file, selector) == words(page, selector) != [], selector


def test_a_machine_without_a_name_has_its_instance(opened, saved):
    page = opened()
    _, path = saved(page)
    assert re.fullmatch(r"system-stats-0123456789abcdef-\d{8}T\d{6}Z\.html", path.name), path.name


def test_the_keyboard_saves(opened):
    page = opened(accept_downloads=True)
    found = button(page, "download-html")
    assert found.inner_text() == "HTML"
    found.focus()
    with page.expect_download():
        page.keyboard.press("Enter")


def test_an_absurd_time_does_not_hold_a_file_back(opened):
    page = opened()
    with page.expect_download() as download:
        page.evaluate("take('download', 'x', 'web-1', 'json', 'NaN')")
    assert download.value.suggested_filename == "system-stats-web-1-0.json"
