"""The fleet page in a browser, on a gateway that sends what a test wants: fixtures and helpers."""

from contextlib import ExitStack

import dashboard
import pytest
from dashboard import settled, until, wait_until_live
from fake_fleet import FakeFleet, Member
from fake_samples import alert

# From navigation to the rows, and until a change must be seen, on a slow machine.
ROWS_MS = CHANGE_MS = 15_000

DISK_FULL = alert(target="/var/log", threshold=95, since_unix_ms=1)


def host(number, **block):
    team, zone = ["web", "db", "batch"][number % 3], ["eu-1", "eu-2"][number % 2]
    told = {"name": f"{team}-{number}", "labels": {"team": team, "az": zone}, "cpu": number % 50, **block}
    return Member(f"10.0.{number // 250}.{number % 250}:8080", **told)


@pytest.fixture
def fleets(frontend):
    """`fleets(member, …)` is a gateway with these members that ticks, by itself unless `still`."""
    with ExitStack() as stack:

        def fleets(*members, still=False):
            fleet = FakeFleet(frontend.port, members)
            stack.callback(fleet.close)
            fleet.tick()
            if not still:
                stack.enter_context(fleet.ticking(0.5))
            return fleet

        yield fleets


@pytest.fixture
def opened(visit):
    """`opened(fleet, path)` is a page of the fleet, with all rows of its table unless `rows` is false."""

    def opened(fleet, path="/", rows=True, **options):
        page = visit(fleet.url + path, **options)
        if rows:
            wait_for_rows(page, len(fleet.members))
            wait_until_live(page)
        return page

    return opened


def wait_for_rows(page, count):
    """Every member comes in an event of its own."""
    page.wait_for_selector(f'.members[aria-rowcount="{count + 1}"] tr[data-key]', timeout=ROWS_MS)


def names(page):
    return page.locator("tbody .m-name :is(a, b)").all_inner_texts()


def row(page, name):
    return page.locator("tr[data-key]").filter(has=page.get_by_role("link", name=name, exact=True))


def sort_by(page, column):
    page.locator(f'[data-action="sort-{column}"]').click()


def choose(page, field, value):
    page.select_option(f'[data-field="{field}"]', value)


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
        members[number].block.update(state="warning", cpu=93.4, alert=alert("cpu", state="warning", value=93.4))
    members[11].become("gone", 240_000)
    members[12].become("silent", 12_000)
    return members
