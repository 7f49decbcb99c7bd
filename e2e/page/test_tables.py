"""Tables of things, selected text, settings, colors and translation."""

import itertools
import math
import re

import pytest
from conftest import eventually
from dashboard import TOO_WIDE, button, drawn, panel, plot, settled, until, wait_for_sequence
from fake_samples import traffic
from test_states import several


def many_interfaces(sample):
    sample["networks"] = [
        {"name": f"veth{place:03}", "receive": traffic(1000), "transmit": traffic(500)} for place in range(300)
    ]
    sample["networks"][212]["receive"] = traffic(5e8)
    return sample


def names(page, name):
    return panel(page, name).locator(".things tbody th:first-child").all_inner_texts()


def test_the_busiest_of_300_interfaces_is_first_and_the_others_are_searched(opened):
    page = opened(change=many_interfaces)
    assert "veth212" in panel(page, "network").locator(".aside").inner_text()
    button(page, "table-network").click()
    settled(page)
    assert names(page, "network")[0] == "veth212"
    assert len(names(page, "network")) == 20
    panel(page, "network").get_by_role("searchbox").fill("VETH29")
    settled(page)
    assert names(page, "network") == [f"veth29{digit}" for digit in range(10)]
    assert "10 of 300" in panel(page, "network").inner_text()


def test_a_long_mount_hides_no_column(opened, backend):
    long = "/var/lib/containers/storage/overlay/" + "0123456789abcdef" * 8 + "/merged"

    def overlay(sample):
        sample["filesystems"].append({**sample["filesystems"][0], "mount": long})
        return sample

    page = opened(change=overlay)
    for width in (320, 375, 768):
        page.set_viewport_size({"width": width, "height": 800})
        backend.show(page)
        table = panel(page, "filesystems").locator(".scroll")
        assert table.evaluate("(box) => box.scrollWidth <= box.clientWidth + 1"), f"columns are cut at {width}"
        assert table.get_by_title(long).count() == 1
        assert page.evaluate(TOO_WIDE) == [], width


def test_a_table_in_use_stands_still(opened, backend):
    shift = {"by": 0}

    def moving(sample):
        shift["by"] += 1
        sample["disks"] = [
            {
                "name": f"sd{letter}",
                "read_bytes_per_second": 1.0,
                "write_bytes_per_second": 1.0,
                "utilisation": (place * 10 + shift["by"] * 30) % 100,
            }
            for place, letter in enumerate("abcdef")
        ]
        return sample

    page = opened(change=moving)
    button(page, "table-disk").click()
    settled(page)
    table = panel(page, "disk").locator(".things")
    table.scroll_into_view_if_needed()
    table.hover()
    settled(page)
    before = table.inner_text()
    for _ in range(3):
        backend.show(page)
    settled(page)
    assert table.inner_text() == before
    page.mouse.move(1, 1)
    backend.tick()
    eventually(lambda: table.inner_text() != before)


def test_selected_text_stays_selected(opened, backend):
    page = opened()
    page.evaluate("""() => {
      const range = document.createRange();
      range.selectNodeContents(document.querySelector('[data-testid="load"]'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    }""")
    settled(page)
    before = page.evaluate("getSelection().toString()")
    assert re.search(r"\d", before)
    backend.tick(5)
    until(page, "getComputedStyle(document.querySelector('.status'), '::after').content.includes('held')")
    page.wait_for_timeout(500)
    assert page.evaluate("getSelection().toString()") == before
    page.evaluate("getSelection().removeAllRanges()")
    wait_for_sequence(page, backend.sequence)


def test_a_selection_is_left_alone_while_paused(opened, backend):
    page = opened()
    button(page, "pause").click()
    page.evaluate("""() => getSelection().selectAllChildren(
      document.querySelector('[data-panel="load"] .legend b'))""")
    before = page.evaluate("getSelection().toString()")
    backend.tick(3)
    page.wait_for_timeout(300)
    assert page.evaluate("getSelection().toString()") == before != ""


def test_scroll_positions_survive_updates(opened, backend):
    page = opened()
    button(page, "table-load").click()
    box = panel(page, "load").locator(".scroll").first
    box.evaluate("(box) => { box.scrollTop = 50 }")
    backend.show(page, 3)
    assert box.evaluate("(box) => box.scrollTop") == 50


def test_two_tabs_share_their_settings(opened):
    first = opened()
    second = opened(context=first.context)
    # A field of a tab without the focus cannot lose it, which reports the change.
    first.bring_to_front()
    button(first, "settings").click()
    first.locator("[data-threshold]").first.fill("40")
    first.locator("[data-threshold]").first.press("Tab")
    # What is no setting stores none.
    button(second, "pause").click()
    settled(second)
    # A tab gets the other's settings some time later.
    until(second, "localStorage['system-stats']?.includes(' 40 ')")
    button(second, "settings").click()
    eventually(lambda: second.locator("[data-threshold]").first.input_value() == "40")


def test_a_refused_threshold_is_reported_and_the_one_in_force_is_shown(opened):
    page = opened()
    button(page, "settings").click()
    field = page.locator("[data-threshold]").first
    before = field.input_value()
    field.fill("-5")
    field.press("Tab")
    settled(page)
    assert field.input_value() == before
    assert page.get_by_role("alert").is_visible()
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("50")
    field.press("Tab")
    settled(page)
    assert field.get_attribute("aria-invalid") is None
    button(page, "reset").click()
    settled(page)
    assert field.input_value() == before


def test_a_warning_is_never_above_its_critical_threshold(opened):
    page = opened()
    button(page, "settings").click()
    fields = page.locator("[data-threshold]")
    fields.nth(0).fill("97")
    fields.nth(0).press("Tab")
    settled(page)
    assert fields.nth(1).input_value() == "97"


def test_escape_and_a_click_elsewhere_close_the_settings(opened):
    page = opened()
    button(page, "settings").locator("summary").click()
    assert page.locator("details[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("details[open]").count() == 0
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    button(page, "settings").locator("summary").click()
    page.mouse.click(5, 5)
    assert page.locator("details[open]").count() == 0


def test_one_sheet_is_open_and_escape_closes_it(opened):
    page = opened(change=several)
    for name in ("others", "settings"):
        page.locator(f"details.{name} summary").click()
        assert page.locator("details[open]").count() == 1, name
    page.keyboard.press("Escape")
    assert page.locator("details[open]").count() == 0


def test_the_page_is_not_for_translators(opened):
    """A translation replaces text nodes, which would never change again."""
    page = opened()
    assert page.locator("html").get_attribute("translate") == "no"


# Machado, Oliveira and Fernandes 2009, severity 1.
VISIONS = {
    "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
# Delta E (CIE 1976) that two neighboring areas need to be distinct at a glance.
APART = 15


def linear(color):
    scaled = [part / 255 for part in color]
    return [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in scaled]


def lab(color, vision):
    light = linear(color)
    red, green, blue = (min(1, max(0, sum(a * b for a, b in zip(row, light)))) for row in VISIONS[vision])
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    x, y, z = (one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116 for one in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_series_are_distinct_for_every_kind_of_vision(chromium, opened, scheme):
    page = opened(color_scheme=scheme)
    colors = page.evaluate("""() => ["--s0", "--s1", "--s2", "--s3", "--s4", "--s5", "--surface"].map(
      (name) => getComputedStyle(document.documentElement).getPropertyValue(name))""")
    colors = [[int(part) for part in re.findall(r"\d+", color)[:3]] for color in colors]
    assert all(len(color) == 3 for color in colors), colors
    for vision, (one, other) in itertools.product(VISIONS, itertools.combinations(colors, 2)):
        assert math.dist(lab(one, vision), lab(other, vision)) > APART, (vision, one, other)


def test_the_icon_and_the_cores_have_the_colors_of_the_page(opened):
    page = opened(color_scheme="dark", change=lambda sample: {**sample, "cpu": 99.0})
    color = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--critical')").replace(" ", "")
    icon = page.evaluate("decodeURIComponent(document.querySelector('link[rel=icon]').href)")
    assert color in icon.replace(" ", "")
    assert "rgb(" in color
    assert drawn(page, "cores")


def test_forced_colors_show_the_range_and_the_series(chromium, opened):
    page = opened(forced_colors="active")
    current = button(page, "range-10m")
    other = button(page, "range-1h")
    outline = "(one) => getComputedStyle(one).outlineStyle"
    assert current.evaluate(outline) == "solid" != other.evaluate(outline)
    fills = plot(page, "cpu").locator("path.area").evaluate_all("(all) => all.map((one) => getComputedStyle(one).fill)")
    assert len(set(fills)) == 6


def test_a_search_that_filters_is_visible(opened, backend):
    page = opened(change=many_interfaces)
    button(page, "table-network").click()
    search = panel(page, "network").get_by_role("searchbox")
    search.fill("veth29")
    for _ in range(2):
        button(page, "table-network").click()
    settled(page)
    assert (search.input_value(), len(names(page, "network"))) == ("veth29", 10)
    # The search stays where so few interfaces are left that the list has no search of its own.
    page.mouse.move(1, 1)
    backend.scene.change = lambda sample: {**sample, "networks": many_interfaces(sample)["networks"][285:]}
    backend.show(page)
    assert len(names(page, "network")) == 10
    search.fill("")
    settled(page)
    assert len(names(page, "network")) == 15
