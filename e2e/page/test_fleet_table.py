"""The table of the fleet page: order, search, groups, members that are gone or silent, and its size."""

import csv
import io
import re

from dashboard import WATCH, settled, wait_until_live
from fake_fleet import Member
from fleet_page import CHANGE_MS, DISK_FULL, choose, five, fleets, host, names, opened, row, sort_by, until


def test_rows_are_sorted_by_severity_with_state_in_word_and_shape(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet)
    assert names(page)[:2] == ["db-1", "batch-2"]
    critical = row(page, "db-1")
    assert critical.locator(".m-state").inner_text().replace("\xa0", " ").split("\n") == [
        "Critical", "/var/log is 99.3 % full",
    ]  # fmt: skip
    shapes = {one.get_attribute("d") for one in page.locator("tr .mark path").all()}
    assert len(shapes) == 3
    assert critical.locator(".m-name .sub").inner_text().split() == ["team=db", "az=eu-2"]
    assert critical.locator(".m-version").inner_text() == "1.2.3"
    assert critical.locator(".minute path").get_attribute("d").startswith("M")
    assert page.title() == "◆ 1 critical, 1 warning, of 5"
    assert "M6%200%2012%206" in page.locator("link[rel=icon]").get_attribute("href"), "a diamond"


def test_columns_are_sorted_by_mouse_and_keyboard(fleets, opened):
    page = opened(fleets(*five()))
    sort_by(page, "cpu")
    assert names(page) == ["batch-2", "db-4", "db-1", "web-0", "web-3"]
    assert page.locator("thead th.m-cpu").get_attribute("aria-sort") == "descending"
    assert page.locator("th[aria-sort]").count() == 1
    page.locator('[data-action="sort-cpu"]').focus()
    page.keyboard.press("Enter")
    assert names(page) == ["web-0", "db-1", "db-4", "batch-2", "web-3"], "unknown stays last"
    assert page.locator("thead th.m-cpu").get_attribute("aria-sort") == "ascending"
    sort_by(page, "name")
    assert names(page) == sorted(names(page))


def test_rows_are_searched_and_filtered(fleets, opened):
    page = opened(fleets(*five()))
    page.locator('[data-field="search"]').fill("WEB")
    assert sorted(names(page)) == ["web-0", "web-3"]
    page.locator('[data-field="search"]').fill("var/log")
    assert names(page) == ["db-1"]
    page.locator('[data-field="search"]').fill("")
    page.get_by_role("button", name="1 warning").click()
    assert names(page) == ["batch-2"]
    assert page.get_by_test_id("shown").inner_text() == "Shows 1"
    page.get_by_role("button", name="1 critical").click()
    assert names(page) == ["db-1", "batch-2"]
    choose(page, "label", "team=batch")
    assert names(page) == ["batch-2"]
    page.locator('[data-field="search"]').fill("nothing")
    assert page.get_by_text("No member matches.").is_visible()


def test_groups_have_counts_and_sums(fleets, opened):
    page = opened(fleets(*five()))
    choose(page, "group", "team")
    assert names(page) == ["team db", "db-1", "db-4", "team batch", "batch-2", "team web", "web-0", "web-3"]
    group = page.locator("tr.group").first
    assert "2 members" in group.inner_text() and "1 critical, 1 normal" in group.inner_text()
    text = {name: group.locator(f".m-{name}").inner_text().replace("\xa0", " ") for name in ("cpu", "network")}
    # The mean of 1 and 30 percent of 4 processors each, and twice 1.5 MB.
    assert text == {"cpu": "15.5 %", "network": "2.9 MiB/s"}


def test_figures_move_and_nothing_else_is_read_out(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet)
    fleet["10.0.0.0:8080"].block["cpu"] = 44
    fleet.tick()
    page.get_by_text("44.0").wait_for(timeout=CHANGE_MS)
    live = page.get_by_test_id("change")
    assert live.inner_text() == ""
    fleet["10.0.0.0:8080"].block.update(state="critical", alert=DISK_FULL)
    fleet.tick()
    until(page, "document.querySelector('[data-testid=change]').textContent.includes('web-0 is now critical')")
    assert page.title() == "◆ 2 critical, 1 warning, of 5"


def test_csv_has_the_rows_that_are_shown(chromium, fleets, opened):
    page = opened(fleets(*five()))
    choose(page, "label", "team=db")
    with page.expect_download() as download:
        page.locator('[data-action="download-csv"]').click()
    assert download.value.suggested_filename == "fleet.csv"
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8"))))
    assert [one["name"] for one in rows] == ["db-1", "db-4"]
    assert [one["state"] for one in rows] == ["critical", "normal"]
    assert (rows[0]["member"], rows[0]["cpu"]) == ("10.0.0.1:8080", "1")


def test_gone_and_silent_members_stay_with_their_time(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet)
    fleet.merge(fleet["10.0.0.0:8080"].become("gone", 240_000))
    fleet.merge(fleet["10.0.0.4:8080"].become("silent", 12_000))
    page.wait_for_selector('tr[data-status="gone"]', timeout=CHANGE_MS)
    page.wait_for_selector('tr[data-status="silent"]', timeout=CHANGE_MS)
    gone, silent = row(page, "web-0"), row(page, "db-4")
    assert re.search(r"since \d", gone.locator(".m-state").inner_text())
    assert gone.locator(".m-since").inner_text() == "4\xa0min"
    assert re.search(r"no data for [1-5]\d\ss", silent.locator(".m-state").inner_text())
    live, old = (
        row(page, name).locator(".m-cpu .value").evaluate("box => getComputedStyle(box).color")
        for name in ("db-1", "db-4")
    )
    assert live != old, "old figures are grey"
    assert page.title() == "◆ 1 critical, 1 warning, 1 gone, 1 silent, of 5"
    page.get_by_role("button", name="1 gone").click()
    assert names(page) == ["web-0"]
    # One that returns is live at once.
    page.get_by_role("button", name="1 gone").click()
    fleet.merge(fleet["10.0.0.0:8080"].become("up"))
    page.wait_for_selector('tr[data-status="gone"]', state="detached", timeout=CHANGE_MS)


# The gateway says how long ago it was, and some seconds may go by until the page hears it.
TIMES = """(time) => Array.from({ length: 10 }, (_, second) =>
  new Date(time + second * 1000).toLocaleTimeString("en-GB"))"""


def test_the_time_of_gone_members_is_the_viewers(fleets, opened):
    fleet = fleets(*five())
    fleet["10.0.0.0:8080"].become("gone", 60_000)
    page = opened(fleet)
    lost = fleet["10.0.0.0:8080"].lost
    told = page.evaluate(TIMES, lost)
    shown = row(page, "web-0").locator(".m-state").inner_text()
    assert any(f"since {time}" in shown for time in told), (told, shown)


def test_a_fast_clock_of_the_viewer_hides_no_gone_member_and_changes_no_age(chromium, fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet, watch=WATCH + "{ const now = Date.now; Date.now = () => now() + 7_200_000; }")
    fleet.merge(fleet["10.0.0.0:8080"].become("gone", 5_000))
    fleet.merge(fleet["10.0.0.4:8080"].become("silent", 12_000))
    page.wait_for_selector('tr[data-status="gone"]', timeout=CHANGE_MS)
    page.wait_for_selector('tr[data-status="silent"]', timeout=CHANGE_MS)
    assert "web-0" in names(page)
    assert re.search(r"no data for [1-5]\d\ss", row(page, "db-4").locator(".m-state").inner_text())


def test_only_rows_in_the_window_are_elements(fleets, opened):
    fleet = fleets(*(host(number) for number in range(1000)))
    page = opened(fleet)
    until(page, "document.querySelector('.members').getAttribute('aria-rowcount') === '1001'")
    sort_by(page, "name")
    first = page.locator("tr[data-key]").first.get_attribute("aria-rowindex")
    assert first == "2"
    assert page.locator("tr[data-key]").count() < 40
    page.keyboard.press("End")
    until(page, "[...document.querySelectorAll('[aria-rowindex]')].at(-1).ariaRowIndex === '1001'")
    assert page.locator("tr[data-key]").count() < 40
    height = page.locator("tbody").evaluate("body => body.getBoundingClientRect().height")
    one = page.locator("tr[data-key]").last.evaluate("row => row.getBoundingClientRect().height")
    assert abs(height - 1000 * one) < 4


def test_a_changed_height_of_the_window_moves_no_row(fleets, opened):
    """A phone changes it whenever the bar of its browser appears."""
    page = opened(fleets(*(host(number) for number in range(400))), viewport={"width": 390, "height": 664})
    page.evaluate("scrollTo(0, 6000)")
    until(page, "document.querySelector('tr[data-key]').ariaRowIndex > 30")
    for height in (720, 664):
        page.set_viewport_size({"width": 390, "height": height})
        until(page, f"innerHeight === {height}")
        settled(page)
        assert page.evaluate("scrollY") == 6000


def test_hostile_blocks_are_text_and_bounded(fleets, opened):
    evil = "<img src=x onerror=window.hit=1>"
    labels = {f"k{number}": "x" * 10_000 for number in range(50)}
    fleet = fleets(
        Member("10.0.0.1:8080", name=evil, labels={"team": evil}, version=evil, cpu=1e300, ram=-5),
        Member("10.0.0.2:8080", labels=labels, cpu="much", uptime_seconds=1e308, since_unix_ms=-1),
        Member("10.0.0.3:8080", name="x\u202ey" * 9_000, alert={"subject": evil, "value": 1e300, "unit": "percent"}),
    )
    page = opened(fleet)
    fleet.merge("garbage", "a b c", "10.0.0.1:8080 summary {", "\x00 member {}", "10.0.0.9:1 member []")
    fleet.tick()
    settled(page)
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0
    assert page.locator("tbody").get_by_text(evil).first.is_visible()
    text = page.locator("body").inner_text()
    assert not re.search(r"NaN|undefined|Infinity|\[object|\d[eE]\+?\d", text), text
    assert len(text) < 10_000
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_focus_stays_on_a_row_that_moves(fleets, opened):
    members = [host(number) for number in range(8)]
    page = opened(fleets(*members))
    sort_by(page, "cpu")
    last = names(page)[-1]
    row(page, last).get_by_role("link").focus()
    members[0].block["cpu"] = 99.0
    until(page, f"document.querySelector('tbody .m-name a').textContent == '{last}'")
    assert page.evaluate("document.activeElement.textContent") == last


def test_paper_has_all_rows(fleets, opened):
    page = opened(fleets(*(host(number) for number in range(60))))
    shown = page.locator("tr[data-key]").count()
    assert shown < 60
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("tr[data-key]").count() == 60
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("tr[data-key]").count() < 60


def test_settings_of_another_tab_stay(chromium, fleets, opened):
    fleet = fleets(*five())
    table = opened(fleet)
    member = opened(fleet, "/?member=10.0.0.0:8080", context=table.context, rows=False)
    wait_until_live(member)
    member.locator("details.settings summary").click()
    member.locator('[data-action="units"]').click()
    # A tab gets the other's settings some time later.
    until(table, "localStorage['system-stats']?.includes('decimal')")
    settled(table)
    table.locator('[data-action="theme"]').click()
    settled(table)
    assert table.evaluate("localStorage['system-stats']").startswith("light decimal")


def test_texts_that_are_cut_have_a_title(fleets, opened):
    alert = {**DISK_FULL, "target": "/var/lib/containers/storage/overlay/merged"}
    name = "ip-10-0-12-34.eu-central-1.compute.internal"
    page = opened(fleets(host(0), host(1, name=name, state="critical", alert=alert)))
    critical = row(page, name)
    assert critical.locator("a").get_attribute("title") == name
    assert critical.locator(".m-name .sub").get_attribute("title") == "team=db  az=eu-2"
    assert alert["target"] in critical.locator(".m-state .sub").get_attribute("title")
