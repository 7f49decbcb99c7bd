"""Missing fields, absurd samples and histories, and a browser without WebAssembly."""

import re

import pytest
from conftest import eventually
from dashboard import NONSENSE, NOTICE_MS, TOO_WIDE, button, panel, settled, wait_until_live

MISSING = {
    "pressure": ("pressure", "pressure_"),
    "disks": ("disk", "disk_"),
    "networks": ("network", "network_"),
    "load": ("load", "load_"),
    "memory": ("memory", ("memory_", "swap_")),
    "processors": ("cores", "cpu_"),
}


@pytest.mark.parametrize("field", MISSING)
def test_a_panel_without_figures_says_why(opened, backend, field):
    name, prefix = MISSING[field]

    def without(told):
        return {key: value for key, value in told.items() if key != field}

    def past_without(told):
        kept = {key: one for key, one in told["series"].items() if not key.startswith(prefix)}
        return {**told, "series": kept}

    backend.scene.change = without
    backend.scene.change_history = past_without
    page = opened()
    backend.show(page)
    said = panel(page, name).inner_text()
    assert re.search(r"\b(no|not|without|older|unknown|does)\b", said, re.IGNORECASE), said
    assert page.evaluate(NONSENSE) == []


def absurd(path, value):
    """Puts a value into a sample, at a path such as `memory.total_bytes`."""

    def change(sample):
        place, *names = sample, *path.split(".")
        for name in names[:-1]:
            place = place[int(name)] if isinstance(place, list) else place[name]
        last = names[-1]
        place[int(last) if isinstance(place, list) else last] = value
        return sample

    return change


ABSURD = [
    (path, value)
    for path in (
        *("cpu", "ram", "load", "load.0", "uptime_seconds", "time_unix_ms", "interval_ms", "sequence", "instance"),
        *("scope", "scope.kind", "processors", "processors.cores", "processors.cores.0.busy", "processors.online"),
        *("processors.total.user", "memory", "memory.total_bytes", "memory.used_bytes", "pressure.cpu"),
        *("pressure.cpu.some.avg10", "disks", "disks.0", "disks.0.read_bytes_per_second", "networks.0.receive"),
        *("networks.0.receive.bytes_per_second", "filesystems", "filesystems.0.mount", "processes.total"),
    )
    for value in ("much", -1, 1e308, -1e308, 2**64, 0, None, True, [], {}, [[1]], "<b>x</b>" * 50)
]
TEXTS = ["", "null", "[]", "{}", "12", "{", '"text"', '{"cpu":NaN}', "\u0000", "x" * 100_000]


def test_absurd_samples_never_break_the_page(opened, backend):
    page = opened(clock="")
    for path, value in ABSURD:
        backend.scene.change = absurd(path, value)
        backend.tick()
        settled(page)
        assert page.evaluate(NONSENSE) == [], (path, value)
        assert page.evaluate(TOO_WIDE) == [], (path, value)
    for text in TEXTS:
        backend.scene.change = lambda _, text=text: text
        backend.tick()
        settled(page)
        assert page.evaluate(NONSENSE) == [], text[:40]
    # The absurd times are the newest by far. A new instance does not have them.
    backend.scene.change = lambda sample: sample
    backend.restart("00000000000000aa")
    eventually(lambda: button(page, "instance").inner_text() == "00000000000000aa")
    wait_until_live(page)
    assert page.get_by_text("x", exact=True).count() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda history: "nonsense",
        lambda history: {**history, "series": []},
        lambda history: {**history, "time_unix_ms": "now"},
        lambda history: {**history, "time_unix_ms": history["time_unix_ms"][:7]},
        lambda history: {**history, "time_unix_ms": history["time_unix_ms"][::-1]},
        lambda history: {**history, "time_unix_ms": [-1, 0, 1e308, None, "x"]},
        lambda history: {**history, "step_seconds": -1},
        lambda history: {**history, "series": {"cpu": {"mean": ["NaN", -1, 1e308, None, {}]}}},
        lambda history: {**history, "series": {"cpu": None, "load_1": {"mean": 3}}},
    ],
)
def test_absurd_histories_never_break_the_page(opened, backend, change):
    backend.scene.change_history = change
    page = opened()
    backend.show(page)
    assert page.evaluate(NONSENSE) == []
    assert page.evaluate(TOO_WIDE) == []


def test_without_webassembly_it_says_where_the_numbers_are(new_context, backend):
    page = new_context().new_page()
    page.add_init_script("delete window.WebAssembly")
    page.goto(backend.url)
    words = page.get_by_text("WebAssembly").filter(visible=True).first
    words.wait_for(state="visible", timeout=NOTICE_MS)
    assert page.locator('a[href="/stats"]').filter(visible=True).count() > 0
