"""The fleet page as a user sees it, on a gateway that sends what the test wants."""

import csv
import io
import re
from contextlib import ExitStack, contextmanager

import pytest
from conftest import ARTIFACTS, eventually
from fake_fleet import DIST, FakeFleet, Member, now_ms

# From navigation to the first rows on a slow machine.
ROWS_MS = 15_000
# When a change must be seen.
CHANGE_MS = 8_000
# The main thread's own time for a tick of 1,000 members with 40 rows in the window: program,
# styles and layout. On two cores without a GPU it is 10; the aim is 8.
TICK_MS = 8
# A machine that also runs other tests may be this much slower.
NOISE = 2.5

SIZES = {"phone": (375, 740), "narrow": (320, 640), "desktop": (1280, 800), "wall": (3840, 2160)}

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  violations.push(`${event.violatedDirective} ${event.sample}`));
"""

DISK_FULL = {"subject": "filesystem", "target": "/var/log", "state": "critical", "value": 99.3}
DISK_FULL |= {"unit": "percent", "threshold": 95, "since_unix_ms": 1}


def host(number, **block):
    team, zone = ["web", "db", "batch"][number % 3], ["eu-1", "eu-2"][number % 2]
    told = {"name": f"{team}-{number}", "labels": {"team": team, "az": zone}, "cpu": number % 50, **block}
    return Member(f"10.0.{number // 250}.{number % 250}:8080", **told)


@pytest.fixture
def fleets():
    """`fleets(member, …)` is a gateway with these members that ticks, by itself unless `still`."""
    if not (DIST / "index.html").exists():
        pytest.skip("needs the built page: make build")
    with ExitStack() as stack:

        def fleets(*members, still=False):
            fleet = FakeFleet(members)
            stack.callback(fleet.close)
            fleet.tick()
            if not still:
                stack.enter_context(fleet.ticking(0.5))
            return fleet

        yield fleets


@pytest.fixture
def opened(chromium):
    """`opened(fleet, path)` is a page; at the end its console and its policy must have been silent.

    With `trouble` the browser may complain of answers that the test has spoilt.
    """
    contexts, pages, complaints = [], [], []

    def opened(fleet, path="/", trouble=False, context=None, rows=True, **options):
        if context is None:
            context = chromium.new_context(**options)
            contexts.append(context)
        page = context.new_page()
        page.add_init_script(WATCH)

        def complain(text):
            if not (trouble and re.search(r"Failed to load resource|net::ERR", text)):
                complaints.append(text)

        page.on("console", lambda said: said.type in ("error", "warning") and complain(said.text))
        page.on("pageerror", lambda error: complain(str(error)))
        page.goto(fleet.url + path)
        if rows:
            page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
            page.wait_for_selector('.page[data-state="live"]', timeout=ROWS_MS)
        pages.append(page)
        return page

    yield opened
    violations = [page.evaluate("window.violations ?? []") for page in pages if not page.is_closed()]
    for context in contexts:
        context.close()
    assert complaints == []
    assert [one for of_page in violations for one in of_page] == []


def names(page):
    return page.locator("tbody .m-name :is(a, b)").all_inner_texts()


def row(page, name):
    return page.locator("tr[data-key]").filter(has=page.get_by_role("link", name=name, exact=True))


def sort_by(page, column):
    page.locator(f'[data-action="sort-{column}"]').click()


def choose(page, field, value):
    page.select_option(f'[data-field="{field}"]', value)


def settled(page):
    page.evaluate("() => new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))")


def until(page, condition):
    """The page's policy forbids to wait for a text of program in the page."""
    eventually(lambda: page.evaluate(condition))


def picture(page, name):
    ARTIFACTS.mkdir(exist_ok=True)
    settled(page)
    page.screenshot(path=ARTIFACTS / f"fleet-{name}.png")


def five():
    return [
        host(0),
        host(1, state="critical", alert=DISK_FULL),
        host(2, state="warning", cpu=93.4),
        host(3, cpu=None),
        host(4, cpu=30),
    ]


# One member, or none


@pytest.mark.parametrize("status", [200, 404, 500])
def test_one_member_or_no_fleet_is_the_page_of_one_service(fleets, opened, status):
    fleet = fleets(host(0))
    fleet.status = status
    page = opened(fleet, rows=False, trouble=status != 200)
    page.wait_for_selector('.page[data-state="live"]', timeout=ROWS_MS)
    assert page.locator(".members").count() == 0
    assert page.locator("[data-place]").count() == 0
    assert fleet.asked.count("/fleet") == 1
    assert "/fleet/stream" not in fleet.asked
    assert "/stats/stream" in fleet.asked
    assert not [path for path in fleet.asked if path.startswith("/fleet-")], "the table's program was loaded"


def test_a_table_whose_program_does_not_come_is_offered_by_a_link(fleets, opened, chromium):
    fleet = fleets(host(0), host(1))
    context = chromium.new_context()
    context.route("**/fleet-*", lambda route: route.abort())
    try:
        page = opened(fleet, rows=False, trouble=True, context=context)
        page.wait_for_selector('.page[data-state="live"]', timeout=ROWS_MS)
        link = page.get_by_role("link", name="Fleet of 2 members")
        link.wait_for(timeout=CHANGE_MS)
        context.unroute("**/fleet-*")
        link.click()
        page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    finally:
        context.close()


def test_a_second_member_that_comes_later_is_offered_by_a_link(fleets, opened, chromium):
    fleet = fleets(host(0))
    context = chromium.new_context()
    context.add_init_script("""
      window.skip = 0;
      const now = performance.now.bind(performance);
      performance.now = () => now() + window.skip;
    """)
    try:
        page = opened(fleet, rows=False, context=context)
        page.wait_for_selector('.page[data-state="live"]', timeout=ROWS_MS)
        fleet.members["10.9.9.9:8080"] = Member("10.9.9.9:8080")
        # A minute later it asks again.
        page.evaluate("window.skip = 61_000")
        page.get_by_role("link", name="Fleet of 2 members").click(timeout=CHANGE_MS)
        page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    finally:
        context.close()


# The table


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


def test_csv_has_the_rows_that_are_shown(fleets, opened):
    page = opened(fleets(*five()))
    choose(page, "label", "team=db")
    with page.expect_download() as download:
        page.locator('[data-action="download-csv"]').click()
    assert download.value.suggested_filename == "fleet.csv"
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8"))))
    assert [one["name"] for one in rows] == ["db-1", "db-4"]
    assert [one["state"] for one in rows] == ["critical", "normal"]
    assert (rows[0]["member"], rows[0]["cpu"]) == ("10.0.0.1:8080", "1")


# Gone and silent


def test_gone_and_silent_members_stay_with_their_time(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet)
    fleet.send(fleet["10.0.0.0:8080"].become("gone", 240_000))
    fleet.send(fleet["10.0.0.4:8080"].become("silent", 12_000))
    page.wait_for_selector('tr[data-status="gone"]', timeout=CHANGE_MS)
    page.wait_for_selector('tr[data-status="silent"]', timeout=CHANGE_MS)
    gone, silent = row(page, "web-0"), row(page, "db-4")
    assert re.search(r"since \d", gone.locator(".m-state").inner_text())
    assert gone.locator(".m-since").inner_text() == "4\xa0min"
    assert re.search(r"no data for 1\d\ss", silent.locator(".m-state").inner_text())
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
    fleet.send(fleet["10.0.0.0:8080"].become("up"))
    page.wait_for_selector('tr[data-status="gone"]', state="detached", timeout=CHANGE_MS)


def test_a_stream_that_ends_greys_everything_and_comes_back(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet, trouble=True)
    fleet.stream_status = 503
    fleet.cut()
    page.wait_for_selector('.page[data-state="reconnecting"]', timeout=CHANGE_MS)
    assert page.title() == "Reconnecting…"
    fleet.stream_status = 200
    page.wait_for_selector('.page[data-state="live"]', timeout=30_000)
    assert page.title().startswith("◆")


# A member's own page, and back


def test_a_member_opens_and_back_keeps_position_sort_and_filter(fleets, opened):
    fleet = fleets(*(host(number) for number in range(200)))
    page = opened(fleet)
    sort_by(page, "name")
    choose(page, "label", "az=eu-1")
    page.locator('[data-field="search"]').fill("-")
    page.mouse.wheel(0, 1500)
    until(page, "scrollY > 1000")
    settled(page)
    before = page.evaluate("scrollY")
    link = page.locator("tbody .m-name a").nth(10)
    name, shown = link.inner_text(), names(page)
    link.click()
    page.wait_for_selector('[data-tile="cpu"]', timeout=ROWS_MS)
    page.wait_for_selector('.page[data-state="live"]', timeout=ROWS_MS)
    assert re.search(r"\?member=10\.0\.0\.\d+:8080$", page.url)
    assert page.locator("header").get_by_text(name, exact=True).is_visible()
    address = page.url.rpartition("=")[2]
    assert f"/fleet/{address}/stats/stream" in fleet.asked
    eventually(lambda: fleet.viewers == 0)
    page.locator(".ranges a").nth(1).click()
    page.go_back()
    page.go_back()
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    until(page, f"Math.abs(scrollY - {before}) < 3")
    settled(page)
    assert shown[8:12] == [one for one in names(page) if one in shown[8:12]]
    assert page.locator("thead th.m-name").get_attribute("aria-sort") == "ascending"
    assert page.locator('[data-field="label"]').input_value() == "az=eu-1"
    assert page.locator('[data-field="search"]').input_value() == "-"
    # A reload keeps them too.
    page.reload()
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    assert page.locator("thead th.m-name").get_attribute("aria-sort") == "ascending"


def test_the_page_of_a_member_has_a_link_to_the_table(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet, "/?member=10.0.0.1:8080", rows=False)
    page.wait_for_selector('.page[data-state="live"]', timeout=ROWS_MS)
    assert "/fleet" not in fleet.asked and "/stats/stream" not in fleet.asked
    assert page.locator("footer a").get_attribute("href") == "/fleet/10.0.0.1:8080/stats"
    page.get_by_role("link", name="All members").click()
    page.wait_for_selector("tr[data-key]", timeout=ROWS_MS)
    assert len(names(page)) == 5


@pytest.mark.parametrize("member", ["..", "../../stats", "a/b", "<b>", "%2e%2e"])
def test_a_strange_member_in_the_address_is_no_path(fleets, opened, member):
    fleet = fleets(*five())
    opened(fleet, f"/?member={member}")
    assert [one for one in fleet.asked if one.startswith("/fleet/") and one != "/fleet/stream"] == []


# Many members, many tabs


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


def test_a_tick_of_a_thousand_members_is_cheap_and_memory_flat(fleets, opened):
    fleet = fleets(*(host(number) for number in range(1000)), still=True)
    # 40 rows.
    page = opened(fleet, viewport={"width": 1280, "height": 2000})
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def metrics():
        told = devtools.send("Performance.getMetrics")["metrics"]
        return {one["name"]: one["value"] for one in told}

    def ticks(count):
        for _ in range(count):
            for number, member in enumerate(fleet.members.values()):
                member.block["cpu"] = (number * 7 + member.sequence * 13) % 97 + 0.5
                member.block["ram"] = (number * 3 + member.sequence * 5) % 89 + 0.5
            fleet.tick()
            shown = fleet["10.0.0.0:8080"].block["cpu"]
            page.locator("tbody").get_by_text(f"{shown}\xa0%").first.wait_for(timeout=CHANGE_MS)
            settled(page)

    ticks(5)
    devtools.send("HeapProfiler.collectGarbage")
    before = metrics()
    ticks(10)
    devtools.send("HeapProfiler.collectGarbage")
    after = metrics()
    parts = ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration")
    used = {name: (after[name] - before[name]) * 100 for name in parts}
    print(f"a tick costs {', '.join(f'{name} {value:.1f} ms' for name, value in used.items())}")
    assert sum(used[name] for name in parts[:3]) < TICK_MS * NOISE
    grown = after["JSHeapUsedSize"] - before["JSHeapUsedSize"]
    assert grown < 1_000_000, f"{grown} bytes"
    assert after["Nodes"] - before["Nodes"] < 100


@contextmanager
def tabs(opened, chromium, fleet, count):
    context = chromium.new_context()
    try:
        yield [opened(fleet, context=context) for _ in range(count)]
    finally:
        context.close()


def test_seven_tabs_share_one_stream(fleets, opened, chromium):
    fleet = fleets(*five())
    with tabs(opened, chromium, fleet, 7) as pages:
        eventually(lambda: fleet.viewers == 1)
        fleet["10.0.0.0:8080"].block["cpu"] = 44
        for page in pages:
            page.get_by_text("44.0").first.wait_for(timeout=CHANGE_MS)
        # The tab that holds the stream is closed: another takes over.
        for page in pages[:3]:
            page.close()
        fleet["10.0.0.0:8080"].block["cpu"] = 45
        for page in pages[3:]:
            page.get_by_text("45.0").first.wait_for(timeout=CHANGE_MS)
        eventually(lambda: fleet.viewers == 1)


def test_a_hidden_tab_closes_its_stream(fleets, opened):
    fleet = fleets(*five())
    page = opened(fleet)
    eventually(lambda: fleet.viewers == 1)
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    eventually(lambda: fleet.viewers == 0)
    until(page, "document.title === 'Paused'")
    page.evaluate(hide, False)
    eventually(lambda: fleet.viewers == 1)
    until(page, "document.title.startsWith('◆')")


# What comes from outside


def test_hostile_blocks_are_text_and_bounded(fleets, opened):
    evil = "<img src=x onerror=window.hit=1>"
    labels = {f"k{number}": "x" * 10_000 for number in range(50)}
    fleet = fleets(
        Member("10.0.0.1:8080", name=evil, labels={"team": evil}, version=evil, cpu=1e300, ram=-5),
        Member("10.0.0.2:8080", labels=labels, cpu="much", uptime_seconds=1e308, since_unix_ms=-1),
        Member("10.0.0.3:8080", name="x\u202ey" * 9_000, alert={"subject": evil, "value": 1e300, "unit": "percent"}),
    )
    page = opened(fleet)
    fleet.send("garbage", "a b c", "10.0.0.1:8080 summary {", "\x00 member {}", "10.0.0.9:1 member []")
    fleet.tick()
    settled(page)
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0
    assert page.locator("tbody").get_by_text(evil).first.is_visible()
    text = page.locator("body").inner_text()
    assert not re.search(r"NaN|undefined|Infinity|\[object|\d[eE]\+?\d", text), text
    assert len(text) < 10_000
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# Looks


def mixed():
    members = [host(number) for number in range(60)]
    for number in (4, 9, 17):
        members[number].block.update(state="critical", alert=DISK_FULL)
    for number in (7, 8, 22, 30, 31):
        cpu = {"subject": "cpu", "state": "warning", "value": 93.4, "unit": "percent"}
        members[number].block.update(state="warning", cpu=93.4, alert=cpu)
    members[11].become("gone", 240_000)
    members[12].become("silent", 12_000)
    return members


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_leaves_a_picture(fleets, opened, size, scheme):
    width, height = SIZES[size]
    path = "/?kiosk=1" if size == "wall" else "/"
    fleet = fleets(*mixed())
    page = opened(fleet, path, viewport={"width": width, "height": height}, color_scheme=scheme)
    fleet.tick()
    picture(page, f"{size}-{scheme}")
    for letters in ("100%", "200%"):
        page.evaluate("(size) => { document.documentElement.style.fontSize = size }", letters)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), letters
    page.evaluate("document.documentElement.style.fontSize = ''")
    heights = page.locator("tr[data-key]").evaluate_all("rows => rows.map((row) => row.offsetHeight)")
    assert len(set(heights)) == 1, "rows have one height"
    if size == "wall":
        assert page.locator(".controls").is_hidden()
    else:
        choose(page, "group", "team")
        picture(page, f"{size}-{scheme}-groups")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_it_is_accessible(fleets, opened, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    width, height = SIZES[size]
    page = opened(fleets(*mixed()), viewport={"width": width, "height": height}, color_scheme=scheme)
    choose(page, "group", "team")
    settled(page)
    result = axe.Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


def test_the_time_of_gone_members_is_the_viewers(fleets, opened):
    fleet = fleets(*five())
    fleet["10.0.0.0:8080"].become("gone", 60_000)
    page = opened(fleet)
    told = page.evaluate("(time) => new Date(time).toLocaleTimeString('en-GB')", now_ms() - 60_000)
    shown = row(page, "web-0").locator(".m-state").inner_text()
    assert re.search(rf"since {told[:2]}:\d\d:\d\d", shown), (told, shown)
