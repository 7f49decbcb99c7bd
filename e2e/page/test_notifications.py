"""Alerts as notifications of the browser."""

import pytest
from dashboard import NOTICE_MS, WATCH, button, settled, wait_for_sequence, wait_until_live
from fake_samples import alert

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


def memory(level, value=91.4):
    return alert("memory", state=level, value=value, threshold=90)


@pytest.fixture
def tell(backend):
    """`tell(page, alerts…)` sends a sample with these alerts, and gives the notifications that it makes."""

    def tell(page, *alerts):
        def change(sample):
            at = sample["time_unix_ms"]
            told = [{"since_unix_ms": at, **one} for one in alerts]
            return {**sample, "hostname": "web-1", "state": "normal", "since_unix_ms": at, "alerts": told}

        backend.scene.change = change
        backend.show(page)
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


def test_an_alert_that_begins_is_one_notification(opened, tell):
    page = allowed(opened)
    turn_on(page)
    assert tell(page) == []
    told = tell(page, memory("warning"))
    assert words(told) == ["Warning: Memory is 91.4 % used"]
    assert "web-1" in told[0]["body"]
    # It goes on, with another value.
    assert tell(page, memory("warning", value=92.0)) == []
    disk = alert(target="/var", state="warning", value=93.0)
    assert words(tell(page, memory("warning"), disk)) == ["Warning: /var is 93.0 % full"]


def test_a_name_with_a_tab_and_a_line_break_is_one_alert(opened, tell):
    page = allowed(opened)
    turn_on(page)
    tell(page)
    disk = alert(target="/mnt/a\tb\nc", state="warning", value=93.0)
    assert words(tell(page, disk)) == ["Warning: /mnt/a\tb\nc is 93.0 % full"]


def test_a_worse_state_replaces_it_and_a_better_one_takes_it_back(opened, tell):
    page = allowed(opened)
    turn_on(page)
    tell(page)
    first = tell(page, memory("warning"))[0]["tag"]
    worse = tell(page, memory("critical", value=97.0))
    assert worse[0] == {"closed": first}
    assert words(worse) == ["Critical: Memory is 97.0 % used"]
    # A fall is no news.
    assert tell(page, memory("warning")) == [{"closed": worse[1]["tag"]}]
    tell(page)
    again = tell(page, memory("warning"))
    assert [one["tag"] for one in again] == [first], "states that repeat pile up"
    assert tell(page) == [{"closed": first}]


def test_tabs_use_the_same_tag(opened, backend, tell):
    first = allowed(opened)
    turn_on(first)
    second = opened(watch=RECORD, context=first.context)
    for page in (first, second):
        tell(page)
    told = tell(first, memory("critical"))
    wait_for_sequence(second, backend.sequence)
    assert [one["tag"] for one in second.evaluate("calls")] == [one["tag"] for one in told] != []


def test_it_is_off_until_the_viewer_allows_it(opened, tell):
    page = allowed(opened)
    assert tell(page) == tell(page, memory("critical")) == []
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
    assert tell(page, memory("critical")) == []
    button(page, "mute").click()
    tell(page)
    assert tell(page, memory("warning")) == []


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
    assert tell(page, memory("critical")) == []


def test_a_click_leads_to_the_page(opened, tell):
    page = allowed(opened)
    turn_on(page)
    page.evaluate("""() => { const real = Notification;
      window.Notification = class extends real { constructor(...given) { super(...given); window.last = this; } };
      Notification.allowed = true; window.focus = () => calls.push({ focused: true }); }""")
    tell(page)
    tell(page, memory("warning"))
    page.evaluate("last.onclick()")
    assert page.evaluate("calls") == [{"focused": True}]
