"""Alerts as notifications of the browser."""

import pytest
from dashboard import NOTICE_MS, WATCH, backend, button, frontend, opened, settled, wait_for_sequence, wait_until_live
from test_states import calm, incident

# Records notifications instead of showing them, in a browser whose viewer looks elsewhere.
RECORD = (
    WATCH
    + """
window.calls = [];
document.hasFocus = () => false;
{
  const real = Notification;
  window.Notification = class {
    static get permission() { return window.allowed ?? real.permission; }
    static requestPermission() {
      calls.push({ asked: true });
      window.allowed = window.answer ?? "granted";
      return Promise.resolve(window.allowed);
    }
    constructor(title, { tag, body }) { calls.push({ title, tag, body }); this.tag = tag; }
    close() { calls.push({ closed: this.tag }); }
  };
}
"""
)
ASKS = RECORD + 'window.allowed = "default";'


def alert(level, **fields):
    found = {"subject": "memory", "target": "", "state": level, "value": 91.4, "unit": "percent", "threshold": 90}
    return {**found, **fields}


@pytest.fixture
def tell(backend):
    """`tell(page, alerts…)` sends a sample with these alerts, and gives the notifications that it makes."""

    def tell(page, *alerts):
        def change(sample):
            at = sample["time_unix_ms"]
            told = [{"since_unix_ms": at, **one} for one in alerts]
            return {**sample, "hostname": "web-1", "state": "normal", "since_unix_ms": at, "alerts": told}

        backend.scene.change = change
        backend.tick()
        wait_for_sequence(page, backend.sequence)
        return page.evaluate("calls.splice(0)")

    return tell


def allowed(opened, watch=RECORD):
    return opened(permissions=["notifications"], watch=watch)


def turn_on(page):
    button(page, "notify").click()
    button(page, "mute").wait_for(state="attached")
    page.evaluate("calls.splice(0)")


def words(told):
    return [one["title"].replace("\u00a0", " ") for one in told if "title" in one]


def test_an_alert_that_begins_is_one_notification(opened, backend, tell):
    page = allowed(opened)
    turn_on(page)
    assert tell(page) == []
    told = tell(page, alert("warning"))
    assert words(told) == ["Warning: Memory is 91.4 % used"]
    assert "web-1" in told[0]["body"]
    # It goes on, with another value.
    assert tell(page, alert("warning", value=92.0)) == []
    disk = alert("warning", subject="filesystem", target="/var", value=93.0)
    assert words(tell(page, alert("warning"), disk)) == ["Warning: /var is 93.0 % full"]


def test_a_name_with_a_tab_and_a_line_break_is_one_alert(opened, tell):
    page = allowed(opened)
    turn_on(page)
    tell(page)
    disk = alert("warning", subject="filesystem", target="/mnt/a\tb\nc", value=93.0)
    assert words(tell(page, disk)) == ["Warning: /mnt/a\tb\nc is 93.0 % full"]


def test_a_worse_state_replaces_it_and_a_better_one_takes_it_back(opened, backend, tell):
    page = allowed(opened)
    turn_on(page)
    tell(page)
    first = tell(page, alert("warning"))[0]["tag"]
    worse = tell(page, alert("critical", value=97.0))
    assert worse[0] == {"closed": first}
    assert words(worse) == ["Critical: Memory is 97.0 % used"]
    # A fall is no news.
    assert tell(page, alert("warning")) == [{"closed": worse[1]["tag"]}]
    tell(page)
    again = tell(page, alert("warning"))
    assert [one["tag"] for one in again] == [first], "states that repeat pile up"
    assert tell(page) == [{"closed": first}]


def test_tabs_use_the_same_tag(opened, backend, tell):
    first = allowed(opened)
    turn_on(first)
    second = first.context.new_page()
    second.add_init_script(RECORD)
    second.goto(backend.url)
    wait_until_live(second)
    for page in (first, second):
        tell(page)
    told = tell(first, alert("critical"))
    wait_for_sequence(second, backend.sequence)
    assert [one["tag"] for one in second.evaluate("calls")] == [one["tag"] for one in told] != []


def test_it_is_off_until_the_viewer_allows_it(opened, backend, tell):
    page = allowed(opened)
    assert tell(page) == tell(page, alert("critical")) == []
    found = button(page, "notify")
    assert found.inner_text() == "Notifications: off"
    # By the keyboard.
    found.focus()
    page.keyboard.press("Enter")
    assert button(page, "mute").inner_text() == "Notifications: on"
    page.reload()
    wait_until_live(page)
    assert button(page, "mute").inner_text() == "Notifications: on"
    # An alert of before the page was opened is no news.
    assert tell(page, alert("critical")) == []
    button(page, "mute").click()
    tell(page)
    assert tell(page, alert("warning")) == []


def test_the_viewer_is_asked_by_the_click_alone(opened, tell):
    page = opened(watch=ASKS)
    assert tell(page) == []
    button(page, "notify").click()
    button(page, "mute").wait_for(state="attached", timeout=NOTICE_MS)
    assert page.evaluate("calls") == [{"asked": True}]


@pytest.mark.parametrize("answer", ["denied", "default"])
def test_a_refusal_is_kept_to(opened, tell, answer):
    """A denial ends the offer; a question that was closed may be asked again."""
    page = opened(watch=ASKS + f"window.answer = {answer!r};")
    tell(page)
    button(page, "notify").click()
    settled(page)
    assert page.locator('[data-action="mute"]').count() == 0
    assert page.locator('[data-action="notify"]').count() == (answer == "default")


@pytest.mark.parametrize("script", [WATCH + "delete window.Notification;", RECORD + 'window.allowed = "denied";'])
def test_a_browser_without_them_has_no_button(opened, script):
    page = opened(watch=script)
    assert page.locator('[data-action="theme"]').count() == 1
    assert page.locator('[data-action="notify"], [data-action="mute"]').count() == 0


def test_a_viewer_who_looks_at_the_page_sees_no_notification(opened, tell):
    page = allowed(opened, RECORD + "document.hasFocus = () => true;")
    turn_on(page)
    tell(page)
    assert tell(page, alert("critical")) == []


def test_a_click_leads_to_the_page(opened, tell):
    page = allowed(opened)
    turn_on(page)
    page.evaluate("""() => { const real = Notification;
      window.Notification = class extends real { constructor(...given) { super(...given); window.last = this; } };
      Notification.allowed = true; window.focus = () => calls.push({ focused: true }); }""")
    tell(page)
    tell(page, alert("warning"))
    page.evaluate("last.onclick()")
    assert page.evaluate("calls") == [{"focused": True}]
