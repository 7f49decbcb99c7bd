"""The first screen: what is wrong, where, and since when."""

import re

import pytest
from conftest import eventually
from dashboard import NONSENSE, TOO_WIDE, assert_accessible, button, panel, picture, schemes, settled, state
from fake_samples import alert

GIB = 1 << 30


def incident(sample):
    """A full filesystem, reported by the service."""
    at = sample["time_unix_ms"]
    sizes = {"total_bytes": 20 * GIB, "available_bytes": GIB // 7, "used_bytes": 20 * GIB - GIB // 7}
    sample["filesystems"].append({"mount": "/var/log", "kind": "ext4", **sizes})
    full = alert(target="/var/log", threshold=95, since_unix_ms=at - 19 * 60_000, cause="postgres (812)")
    core = alert("core", "3", "warning", 97.2, threshold=95, since_unix_ms=at - 180_000)
    return {**sample, "state": "critical", "since_unix_ms": at - 19 * 60_000, "alerts": [full, core]}


def several(sample):
    """Three full filesystems."""
    return {
        **sample,
        "state": "warning",
        "alerts": [alert(target=name, state="warning") for name in ("/a", "/b", "/c")],
    }


def calm(sample):
    return {**sample, "state": "normal", "since_unix_ms": sample["time_unix_ms"] - 60_000, "alerts": []}


@pytest.mark.parametrize("size", [(320, 640), (375, 812), (1280, 800), (2560, 1440)], ids=str)
def test_the_first_screen_names_place_beginning_and_cause(opened, backend, size):
    backend.scene.change = incident
    width, height = size
    page = opened(viewport={"width": width, "height": height})
    backend.show(page)
    told = state(page)
    assert "/var/log is 99.3 % full" in told
    assert re.search(r"since \d{2}:\d{2}", told), told
    assert "postgres (812)" in told
    box = button(page, "state").bounding_box()
    assert box["y"] + box["height"] < height / 2
    assert page.title().replace("\u00a0", " ") == "\u25c6 /var/log is 99.3 % full"
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(NONSENSE) == []
    for scheme in schemes(page):
        picture(page, f"incident-{scheme}-{width}")


def test_tiles_name_their_cause_and_keep_their_figure(opened):
    page = opened(change=incident)
    disk = page.locator('[data-tile="disk"]')
    assert disk.get_attribute("data-level") == "critical"
    assert re.search(r"/var/log is .* full\s*since \d{2}:\d{2}\s*postgres", disk.inner_text())
    assert page.locator('[data-tile="cpu"]').get_attribute("data-level") == "warning"
    assert page.locator('[data-tile="load"]').get_attribute("data-level") == "normal"
    # The throughput is not what is wrong.
    # Colors change within a third of a second.
    page.wait_for_function("""() => {
      const color = (id) =>
        getComputedStyle(document.querySelector(`[data-tile="${id}"] .figure`)).color;
      return color("disk") === color("load");
    }""")


def test_the_other_states_are_behind_their_count(opened):
    page = opened(change=incident)
    page.get_by_text("and 1 more").click()
    assert "Core 3 is 97.2" in button(page, "others").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("details[open]").count() == 0


def test_a_state_leads_to_its_panel_at_its_time(opened):
    page = opened(change=incident)
    button(page, "state").get_by_role("link").click()
    page.wait_for_function("location.hash === '#range=1h&panel=filesystems'")
    settled(page)
    box = panel(page, "filesystems").bounding_box()
    assert -1 <= box["y"] < page.viewport_size["height"]
    assert panel(page, "filesystems").locator(".fill.critical").count() == 1


def test_all_normal_is_said(opened):
    page = opened(change=calm)
    assert re.match(r"All normal\s+since \d{2}:\d{2}", state(page)), state(page)
    for tile in page.locator("[data-tile]").all():
        assert tile.get_attribute("data-level") == "normal"


def test_the_service_judges_alone(opened):
    """One second over a threshold is no state of the service."""
    page = opened(change=lambda sample: calm({**sample, "cpu": 99.0}))
    assert page.locator('[data-tile="cpu"]').get_attribute("data-level") == "normal"
    button(page, "settings").click()
    assert page.locator("[data-threshold]").count() == 0


def test_an_older_service_leaves_it_to_the_page(opened):
    def full(sample):
        sample["filesystems"][0].update(used_bytes=99 * GIB, available_bytes=GIB)
        return {**sample, "cpu": 5.0, "pressure": {}}

    page = opened(change=full)
    assert "/ is 99.0 % full" in state(page)
    assert "99" in page.title()


def test_an_oom_kill_is_marked_by_an_older_service_too(opened, backend):
    backend.scene.scope = "container"
    page = opened()

    def killed(sample):
        sample["container"]["oom_kills"] = 3
        return sample

    backend.scene.change = killed
    backend.show(page)
    assert "Out of memory" in panel(page, "events").inner_text()


def test_events_of_the_past_are_fetched(opened, backend):
    backend.scene.change = calm
    at = backend._time_unix_ms - 200_000
    backend.scene.events = [{"time_unix_ms": at, "kind": "deploy", "text": "Deployed 1.2.3"}]
    page = opened()
    eventually(lambda: "Deployed 1.2.3" in panel(page, "events").inner_text())


def test_what_does_not_exist_has_no_panel(opened):
    def bare(sample):
        sample["memory"].update(swap_total_bytes=0, swap_used_bytes=0)
        return sample

    page = opened(change=bare)
    for name in ("container", "task", "swap", "events", "processes"):
        assert panel(page, name).count() == 0, name


def test_the_worst_panel_comes_first_on_a_phone(opened):
    page = opened(viewport={"width": 375, "height": 812}, change=incident)
    tops = page.locator("section.panel").evaluate_all(
        "(all) => all.map((one) => [one.getBoundingClientRect().top, one.dataset.panel]).sort((a, b) => a[0] - b[0])"
    )
    assert tops[0][1] == "filesystems", tops


def test_a_screen_reader_hears_changes_alone(opened, backend):
    page = opened(change=incident)
    spoken = page.locator(".summary [role=status]")
    for _ in range(2):
        assert spoken.text_content() == "Critical: filesystem /var/log"
        backend.show(page, 3)
    backend.scene.change = calm
    backend.show(page)
    assert spoken.text_content() == "All normal"


def test_in_a_container_every_panel_names_its_scope(opened, backend):
    def small(sample):
        return {**sample, "cpu": 63.9, "ram": 50.0}

    backend.scene.scope = "container"
    page = opened(change=small)
    tags = {
        one.get_attribute("data-panel"): one.locator(".tag").inner_text()
        for one in page.locator("section.panel:has(.tag)").all()
    }
    assert tags["cpu"] == tags["memory"] == tags["container"] == "Container"
    assert tags["load"] == tags["disk"] == tags["pressure"] == tags["cores"] == "Host"
    # The chart shows what the tile shows.
    assert "63.9" in panel(page, "cpu").locator(".legend").inner_text()
    assert "50.0" in panel(page, "memory").locator(".legend").inner_text()
    tile = page.locator('[data-tile="cpu"]').inner_text()
    assert "system" not in tile and "63.9" in tile


def test_an_incident_is_readable_for_everybody(opened):
    page = opened(change=incident)
    page.get_by_text("and 1 more").click()
    assert_accessible(page)


def test_a_wall_of_any_size_fits(opened):
    page = opened("/?kiosk", change=incident)
    for width, height in ((800, 480), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        settled(page)
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), width
    assert page.locator("[data-panel]").count() == 0, "panels are made and hidden"


def test_a_wall_can_be_declined(opened):
    page = opened("/?kiosk=0")
    assert panel(page, "cpu").is_visible()
