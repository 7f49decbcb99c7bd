"""The page on phones, desktops, wall screens and paper."""

import itertools
import re

import pytest
from conftest import eventually
from dashboard import NOTICE_MS, SIZES, TILES, TOO_WIDE, button, panel, picture, plot, schemes, settled
from fake_samples import alert
from test_states import several


@pytest.mark.parametrize("size", SIZES)
def test_it_fits_every_screen(opened, backend, size):
    width, height = SIZES[size]
    page = opened(viewport={"width": width, "height": height})
    backend.show(page, 3)
    assert page.evaluate(TOO_WIDE) == []
    if size == "wall":
        # The page uses most of a wall screen.
        assert page.locator("main").bounding_box()["width"] > 0.6 * width
    for scheme in schemes(page):
        picture(page, f"{scheme}-{width}")


def test_two_fingers_enlarge_a_chart(chromium, opened):
    page = opened(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    box = plot(page, "cpu")
    box.scroll_into_view_if_needed()
    edges = box.bounding_box()
    x, y = edges["x"] + edges["width"] / 2, edges["y"] + edges["height"] / 2
    session = page.context.new_cdp_session(page)

    def touch(kind, *places):
        fingers = [{"x": x + place, "y": y, "id": number} for number, place in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    touch("touchStart", -20, 20)
    for distance in range(25, 120, 8):
        touch("touchMove", -distance, distance)
    touch("touchEnd")
    eventually(lambda: page.evaluate("visualViewport.scale") > 1.5)


def test_fields_and_buttons_are_large_enough_for_a_finger(chromium, opened):
    page = opened(viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True)
    button(page, "settings").click()
    sizes = page.locator("input").evaluate_all("(all) => all.map((one) => parseFloat(getComputedStyle(one).fontSize))")
    assert len(sizes) == 12 and min(sizes) >= 16
    assert page.locator("details.settings .sheet").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    assert button(page, "table-cpu").bounding_box()["height"] >= 30


def test_paper_is_white_and_has_no_buttons(chromium, opened):
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    settled(page)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    numbers = [float(number) for number in re.findall(r"[\d.]+", ground)]
    assert min(numbers[:3]) > 230 or numbers[3:] == [0], ground
    assert page.locator("button").filter(visible=True).count() == 0
    picture(page, "print")


def full(sample):
    mount = {"kind": "ext4", "total_bytes": 1 << 30, "used_bytes": 1 << 29, "available_bytes": 1 << 29}
    mounts = [{"mount": f"/srv/volumes/with-a-long-name-{number}", **mount} for number in range(30)]
    return {**sample, "filesystems": mounts}


@pytest.mark.parametrize("media", ["print", "screen"])
def test_names_are_whole_where_nothing_can_point_at_them(chromium, opened, media):
    """On paper and under a finger. The lists are whole on paper, which does not scroll."""
    page = opened(
        viewport={"width": 390, "height": 844}, is_mobile=media == "screen", has_touch=media == "screen", change=full
    )
    page.emulate_media(media=media)
    settled(page)
    lists = panel(page, "filesystems")
    cut = "(all) => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.innerText)"
    assert lists.locator(".name").evaluate_all(cut) == []
    if media == "print":
        assert lists.locator(".scroll").evaluate("(box) => box.scrollHeight <= box.clientHeight")
    assert page.evaluate(TOO_WIDE) == []


def test_a_wall_screen_has_figures_and_nothing_else(opened):
    page = opened("/?kiosk", viewport={"width": 1920, "height": 1080})
    for name in TILES:
        assert page.locator(f'[data-tile="{name}"]').is_visible(), name
    assert page.locator("button").filter(visible=True).count() == 0
    assert page.locator("[data-panel]").filter(visible=True).count() == 0
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    picture(page, "kiosk")


def test_a_long_host_name_fits_on_a_phone(opened, backend):
    page = opened(viewport={"width": 320, "height": 640})
    for name in ("server01.datacenter2.frankfurt.internal.example.com", "n" * 64):
        backend.scene.change = lambda sample, name=name: {**sample, "hostname": name}
        backend.show(page)
        assert name in page.locator(".scope").inner_text()
        assert page.evaluate(TOO_WIDE) == []


# Horizontal positions of parts of a text.
PLACES = """(box, parts) => {
  const text = document.createTreeWalker(box, NodeFilter.SHOW_TEXT).nextNode();
  return parts.map((part) => {
    const range = document.createRange();
    range.setStart(text, text.data.indexOf(part));
    range.setEnd(text, text.data.indexOf(part) + part.length);
    return range.getBoundingClientRect().left; }); }"""


@pytest.mark.parametrize("name", ["\u062e\u0627\u062f\u0645", "/mnt/\u202eabc"])
def test_a_name_from_right_to_left_leaves_the_text_around_it_alone(opened, name):
    alerts = [alert(target=name, since_unix_ms=1)]
    page = opened(change=lambda sample: {**sample, "hostname": name, "state": "critical", "alerts": alerts})
    for place, parts in ((".scope", [" on ", name, "4", "GiB"]), (".state a", [name, "is", "99", "full"])):
        places = page.locator(place).first.evaluate(PLACES, parts)
        assert places == sorted(places), (place, places)


def test_a_date_from_right_to_left_is_one_piece(opened):
    """In Hebrew, the day is to the right of the month and the time to its left."""

    def old(sample):
        since = sample["time_unix_ms"] - 20 * 3_600_000
        alerts = [alert("readonly", "/", value=1, unit="boolean", since_unix_ms=since)]
        return {**sample, "state": "critical", "alerts": alerts}

    page = opened(locale="he-IL", timezone_id="Europe/Berlin", change=old)
    since = page.locator(".state .since")
    day, month, time = re.search(r"(\d+) ([\u05d0-\u05ea]+).*?(\d\d:\d\d:\d\d)", since.inner_text()).groups()
    places = since.evaluate(PLACES, ["since", time, month, day])
    assert places == sorted(places), places


def test_events_and_thresholds_are_whole_on_a_phone(opened):
    text = "this service started again after 12 min; version 1.4.2 instead of 1.4.1"

    def started(sample):
        return {**sample, "events": [{"time_unix_ms": sample["time_unix_ms"], "kind": "restart", "text": text}]}

    page = opened(viewport={"width": 320, "height": 640}, change=started)
    button(page, "settings").click()
    for box in (panel(page, "events").locator("td", has_text=text).first, page.locator("details.settings .sheet")):
        assert box.evaluate("(box) => box.scrollWidth <= box.clientWidth")


def test_a_long_alert_is_beside_its_mark(opened):
    long = {"state": "critical", "alerts": [alert(target="/var/lib/containers/storage/overlay", since_unix_ms=1.7e12)]}
    page = opened(viewport={"width": 320, "height": 640}, change=lambda sample: {**sample, **long})
    mark, text, since = (page.locator(f".state {part}").bounding_box() for part in (".mark", "strong", ".since"))
    assert mark["x"] + mark["width"] < text["x"] == pytest.approx(since["x"], abs=1)
    assert text["y"] < mark["y"] + mark["height"]


def test_paper_has_the_colors_of_the_legend(opened):
    """Printers omit backgrounds, and without them a chart has no key."""
    page = opened()
    key = "(one) => getComputedStyle(one, '::before').printColorAdjust"
    keys = page.locator(".legend li").evaluate_all(f"(all) => all.map({key})")
    assert set(keys) == {"exact"}


def test_paper_has_all_alerts_and_covers_no_value(chromium, opened):
    page = opened(viewport={"width": 794, "height": 1123}, change=several)
    page.emulate_media(media="print")
    settled(page)
    others = page.locator(".others li")
    assert others.count() == 2
    # Without a check of Playwright: it counts a box as visible that is not painted.
    assert others.evaluate_all("(all) => all.every((one) => one.checkVisibility({ contentVisibilityAuto: true }))")
    end = max(box["y"] + box["height"] for box in (other.bounding_box() for other in others.all()))
    assert end < page.locator(".tiles").bounding_box()["y"]


def test_an_upright_wall_breaks_no_value(opened):
    page = opened("/?kiosk", viewport={"width": 1080, "height": 1920})
    lines = page.locator(".words .part").evaluate_all(
        "(all) => all.map((one) => one.offsetHeight / parseFloat(getComputedStyle(one).lineHeight))"
    )
    assert len(lines) > 8
    assert max(lines) < 1.5
    mark, text = page.locator(".tile .level svg").first, page.locator(".tile .level").first
    size = float(text.evaluate("(one) => parseFloat(getComputedStyle(one).fontSize)"))
    assert mark.bounding_box()["height"] > 0.6 * size
    picture(page, "kiosk-upright")


def test_labels_of_a_chart_are_whole(opened):
    page = opened()
    for size, kind in itertools.product(("desktop", "wall"), (".plot", ".axis")):
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        settled(page)
        edges = (
            panel(page, "cpu")
            .locator(kind)
            .first.evaluate("""(box) => {
          const { top, bottom } = box.getBoundingClientRect();
          return Array.from(box.querySelectorAll("text"), (label) => {
            const edges = label.getBoundingClientRect();
            return Math.min(edges.top - top, bottom - edges.bottom); }); }""")
        )
        assert len(edges) > 2
        # The box of a text has room above and below its letters.
        assert min(edges) > -3, edges


def test_a_long_status_wraps_beside_its_lamp(opened, backend):
    """The text and its lamp are one line of the header; below the lamp the text looks like another."""
    backend.scene.history_status = 503
    backend.scene.stream_status = 404
    page = opened(trouble=True)
    status = page.locator('[data-testid="status"]')
    page.wait_for_function(
        """() => /earlier minutes/.test(document.querySelector('[data-testid="status"]').textContent)""",
        timeout=NOTICE_MS,
    )
    for width in (320, 375, 1280):
        page.set_viewport_size({"width": width, "height": 640})
        status.evaluate(
            "(box, text) => { box.firstChild.data = text }",
            "Live, earlier minutes are missing: another instance answered",
        )
        settled(page)
        text, lamp = status.bounding_box(), page.locator(".lamp").bounding_box()
        assert text["x"] >= lamp["x"] + lamp["width"], (text, lamp)
        middle = lamp["y"] + lamp["height"] / 2
        assert text["y"] < middle < text["y"] + text["height"], (text, lamp)
        assert page.evaluate(TOO_WIDE) == []
        picture(page, f"status-{width}")
