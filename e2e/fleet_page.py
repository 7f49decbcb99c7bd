"""The fleet page in a browser, on a gateway that sends what a test wants: fixtures and helpers."""

from contextlib import ExitStack

import dashboard
import pytest
from conftest import eventually
from dashboard import collect_complaints, settled
from fake_fleet import DIST, FakeFleet, Member

# From navigation to the first rows on a slow machine.
ROWS_MS = 15_000
# When a change must be seen.
CHANGE_MS = 8_000

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
def opened(browser):
    """`opened(fleet, path)` is a page; at the end its console and its policy must have been silent.

    With `trouble` the browser may complain of answers that the test has spoilt.
    """
    contexts, pages, complaints = [], [], []

    def opened(fleet, path="/", trouble=False, context=None, rows=True, **options):
        if context is None:
            context = browser.new_context(**options)
            contexts.append(context)
        page = context.new_page()
        page.add_init_script(WATCH)

        collect_complaints(page, complaints, trouble)
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
    assert complaints == [], complaints
    assert [one for of_page in violations for one in of_page] == []


def names(page):
    return page.locator("tbody .m-name :is(a, b)").all_inner_texts()


def row(page, name):
    return page.locator("tr[data-key]").filter(has=page.get_by_role("link", name=name, exact=True))


def sort_by(page, column):
    page.locator(f'[data-action="sort-{column}"]').click()


def choose(page, field, value):
    page.select_option(f'[data-field="{field}"]', value)


def until(page, condition):
    """The page's policy forbids to wait for a text of program in the page."""
    eventually(lambda: page.evaluate(condition))


def picture(page, name):
    settled(page)
    dashboard.picture(page, name, "fleet")


def five():
    return [
        host(0),
        host(1, state="critical", alert=DISK_FULL),
        host(2, state="warning", cpu=93.4),
        host(3, cpu=None),
        host(4, cpu=30),
    ]


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
