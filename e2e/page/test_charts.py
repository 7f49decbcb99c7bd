"""Charts: peaks, scales, times, the pointer and the keyboard."""

import datetime
import re
from pathlib import Path

import pytest
from conftest import eventually
from dashboard import CHARTS, button, panel, plot, settled
from dashboard import hover as hover_in_view


def hover(page, name, share):
    plot(page, name).scroll_into_view_if_needed()
    hover_in_view(page, name, share)


def highest(path):
    """The highest point of an area of absolute coordinates: 0 is the top, 1000 the bottom."""
    return min(int(number) for number in re.findall(r"[ML]-?\d+ (-?\d+)", path))


def labels(page, name, kind):
    return panel(page, name).locator(f"svg.{kind} text").all_text_contents()


def test_a_short_peak_is_seen_in_an_hour(opened, backend):
    """Six seconds at the top: the mean of its minute is a tenth of it."""

    def peak(told):
        if told["step_seconds"] > 1:
            series = told["series"]["network_receive_bytes_per_second"]
            series["mean"] = [1e6] * len(series["mean"])
            series["minimum"] = [1e6] * len(series["mean"])
            series["maximum"] = [1e6] * len(series["mean"])
            series["maximum"][30] = 954 * 1024 * 1024
        return told

    backend.scene.change_history = peak
    page = opened("/#range=1h")
    band = plot(page, "network").locator("path.band.s0")
    eventually(lambda: band.get_attribute("d"))
    assert highest(band.get_attribute("d")) < 100, "the peak is not at the top of the scale"
    assert any("GiB/s" in label for label in labels(page, "network", "scale"))


def test_scales_have_three_to_five_round_values(opened):
    page = opened()
    for name in CHARTS:
        found = labels(page, name, "scale")
        assert 3 <= len(found) <= 5, (name, found)
        assert found[0].startswith("0"), (name, found)


def test_decimal_units_have_round_tops(opened):
    page = opened()
    button(page, "units").click()
    settled(page)
    for label in labels(page, "network", "scale"):
        assert re.fullmatch(r"0\s*B/s|(\d{1,3})\s*[kM]B/s", label), label


@pytest.mark.parametrize("hour", [0.5, 2, 4, 12, 23.5])
def test_times_are_round_and_the_day_has_its_date(opened, backend, hour):
    """At any hour of Berlin, which is one ahead of UTC on that day."""
    midnight = datetime.datetime(2026, 11, 27, 23, tzinfo=datetime.timezone.utc)
    backend.set_time(midnight + datetime.timedelta(hours=hour))
    page = opened("/#range=24h", timezone_id="Europe/Berlin", locale="en-GB")
    eventually(lambda: labels(page, "load", "times"))
    found = labels(page, "load", "times")
    assert all(re.fullmatch(r"\d\d:00|.*28 Nov", label) for label in found), found
    found.append(panel(page, "load").locator(".axis span").text_content())
    assert sum("28 Nov" in label for label in found) == 1, found
    hover(page, "load", 0.5)
    told = panel(page, "load").locator(".hovered").inner_text()
    assert re.search(r"GMT|CET|UTC", told), told


@pytest.mark.parametrize("locale", ["ar-EG", "fa-IR", "de-DE"])
def test_one_numbering_system_everywhere(opened, locale):
    page = opened(locale=locale)
    hover(page, "load", 0.5)
    words = page.locator("main").inner_text()
    assert not re.search("[\u0660-\u0669\u06f0-\u06f9]", words)
    assert re.search(r"\d{2}:\d{2}:\d{2}", panel(page, "load").locator(".hovered").inner_text())


def middle(page, name):
    plot(page, name).scroll_into_view_if_needed()
    box = plot(page, name).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box


def window(page):
    return labels(page, "load", "times")


def test_only_the_primary_button_drags(opened):
    page = opened()
    x, y, _ = middle(page, "load")
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 100, y)
    settled(page)
    assert not plot(page, "load").locator(".dragged").get_attribute("d")
    page.mouse.up(button="right")
    assert button(page, "pause").inner_text() == "Pause"


def test_a_drag_that_ends_outside_counts(opened):
    page = opened()
    x, y, box = middle(page, "load")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 50, y - 20)
    page.mouse.move(box["x"] + box["width"] + 5, 3, steps=4)
    page.mouse.up()
    settled(page)
    assert button(page, "pause").inner_text() == "Resume"
    assert not plot(page, "load").locator(".dragged").get_attribute("d")


def test_the_crosshair_leaves_with_the_pointer(opened):
    page = opened()
    hover(page, "load", 0.5)
    cross = plot(page, "load").locator(".cross")
    assert cross.get_attribute("d")
    page.evaluate("""() => document.querySelector('[data-panel="load"] .plot').dispatchEvent(
      new PointerEvent("pointerout", { bubbles: true, pointerType: "mouse", relatedTarget: null }))""")
    settled(page)
    assert not cross.get_attribute("d")
    hover(page, "load", 0.6)
    assert cross.get_attribute("d")
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    settled(page)
    assert not cross.get_attribute("d")


def test_keys_with_a_modifier_are_the_browsers(opened):
    page = opened()
    plot(page, "load").focus()
    press = """(modifier) => !document.activeElement.dispatchEvent(new KeyboardEvent("keydown",
      { key: "ArrowLeft", bubbles: true, cancelable: true, [modifier]: true }))"""
    for modifier in ("altKey", "ctrlKey", "shiftKey", "metaKey"):
        is_taken = page.evaluate(press, modifier)
        settled(page)
        assert not is_taken, modifier
        assert not plot(page, "load").locator(".cross").get_attribute("d"), modifier


def test_zoom_ends_at_seconds_and_leads_back(opened, backend):
    # At midnight, a label would be the date.
    backend.set_time(datetime.datetime(2026, 11, 28, 12, 0, 30, tzinfo=datetime.timezone.utc))
    page = opened()
    plot(page, "load").focus()
    for _ in range(20):
        page.keyboard.press("+")
    settled(page)
    found = window(page)
    assert len(found) >= 2, found
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", label) or "now" in label for label in found), found
    page.keyboard.press("Escape")
    settled(page)
    assert button(page, "pause").inner_text() == "Pause"


def test_a_focused_chart_does_not_speak_every_second(opened, backend):
    page = opened()
    plot(page, "load").focus()
    before = plot(page, "load").get_attribute("aria-valuetext")
    backend.show(page, 5)
    settled(page)
    assert plot(page, "load").get_attribute("aria-valuetext") == before
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert re.search(r"\d", plot(page, "load").get_attribute("aria-valuetext"))


def test_memory_adds_up_to_the_total(opened):
    """The kernel counts shared memory as cache and as used."""
    gib = 1 << 30

    def shared(sample):
        memory = {
            "total_bytes": 24 * gib,
            "used_bytes": 14 * gib,
            "free_bytes": 4 * gib,
            "cached_bytes": 9 * gib,
            "buffers_bytes": 0,
            "slab_reclaimable_bytes": 0,
            "swap_total_bytes": 2 * gib,
            "swap_used_bytes": gib,
        }
        return {**sample, "memory": memory}

    page = opened(change=shared)
    words = panel(page, "memory").locator(".legend").inner_text().replace("\u00a0", " ")
    assert sum(float(number) for number in re.findall(r"([\d.]+) GiB", words)) == 24.0, words
    assert "swap" not in words
    assert "1.0" in panel(page, "swap").locator(".legend").inner_text()
    assert labels(page, "memory", "scale")[0].startswith("0")


def test_events_are_marks_in_every_chart(opened, backend):
    page = opened()

    def killed(sample):
        at = sample["time_unix_ms"]
        event = {"time_unix_ms": at - 300_000, "kind": "oom_kill", "text": "Out of memory: db was killed"}
        return {**sample, "state": "normal", "since_unix_ms": at - 9_000, "alerts": [], "events": [event]}

    backend.scene.change = killed
    backend.show(page)
    for name in ("cpu", "load", "memory"):
        assert plot(page, name).locator("path.event").get_attribute("d"), name
    assert "db was killed" in panel(page, "events").inner_text()
    hover(page, "load", 0.5)
    assert "db was killed" in panel(page, "load").locator(".hovered").inner_text()


def test_a_picture_of_a_chart_is_named_and_stands_alone(chromium, opened):
    page = opened(accept_downloads=True, color_scheme="dark")
    with page.expect_download() as download:
        button(page, "download-svg-load").click()
    assert re.fullmatch(r"system-stats-load-\d{8}T\d{6}Z\.svg", download.value.suggested_filename), (
        download.value.suggested_filename
    )
    with open(download.value.path(), encoding="utf-8") as file:
        text = file.read()
    assert re.search(r"Load, .*\d{2}:\d{2}:\d{2}.*\d{2}:\d{2}:\d{2}", text), text[:400]
    colors = re.findall(r'fill="(rgb\([^)]*\))"', text)
    assert len(colors) >= 2 and colors[0] != colors[1], "a title of the color of its ground"
    assert "var(" not in text and "NaN" not in text


def test_a_screen_reader_reads_the_busiest_core_under_the_crosshair(opened):
    page = opened()
    hover(page, "cores", 0.5)
    told = plot(page, "cores").get_attribute("aria-valuetext")
    busiest = panel(page, "cores").locator(".legend b").inner_text()
    assert told.endswith(busiest) and "core" in busiest, (told, busiest)


def test_a_core_has_its_own_number_where_others_are_offline(opened):
    def offline(sample):
        cores = sample["processors"]["cores"]
        for place, core in enumerate(cores):
            core["id"] = place * 2
        cores[-1]["busy"] = 100.0
        return sample

    page = opened(change=offline)
    assert "core 6" in panel(page, "cores").locator(".legend").inner_text()


def test_the_table_of_a_day_has_dates_and_peaks(opened, backend):
    def peak(told):
        if told["step_seconds"] > 1:
            told["series"]["cpu_user"]["maximum"][30] = 97.5
        return told

    backend.scene.change_history = peak
    # In the last minutes before midnight, all rows would end on one day.
    backend.set_time(datetime.datetime.now().astimezone().replace(hour=12))
    page = opened("/#range=24h")
    button(page, "table-cpu").click()
    rows = panel(page, "cpu").locator(".scroll tbody tr")
    eventually(lambda: rows.count() > 20)
    assert rows.nth(2).inner_text().split("\t")[:2] == ["Maximum", "97.5\xa0%"]
    dates = {rows.nth(place).inner_text().split(",")[0] for place in range(3, rows.count())}
    assert len(dates) == 2, dates


def test_free_memory_is_gray_in_a_picture(chromium, opened):
    page = opened()
    with page.expect_download() as download:
        button(page, "download-svg-memory").click()
    picture = Path(download.value.path()).read_text()
    color = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name)"
    assert page.evaluate(color, "--s1") in picture
    assert page.evaluate(color, "--s2") not in picture
    assert f'fill="{page.evaluate(color, "--muted")}"' in picture
