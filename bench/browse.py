"""The page in Chromium, from outside: prints what was seen as one line of JSON.

`python browse.py CHROMIUM FRONTEND_PORT SECONDS`, with a Python that has Playwright. The backend is
the fake backend of the browser tests.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from conftest import CHROMIUM_FLAGS
from dashboard import PAINT, PROGRAM, WATCH, frame_ms, wait_for_sequence, wait_until_live
from fake_backend import FakeBackend
from playwright.sync_api import sync_playwright

CORES = 64
LOADS = 3
METRICS = {
    "TaskDuration": "tick_ms",
    "ScriptDuration": "tick_script_ms",
    "LayoutDuration": "tick_layout_ms",
    "RecalcStyleDuration": "tick_style_ms",
}


def main(arguments: list[str]) -> int:
    program, port, seconds = arguments
    backend = FakeBackend(int(port))
    backend.scene.cores = CORES
    backend.tick()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
            opened(browser, backend).close()
            results = {
                "full speed": load(browser, backend, 1),
                "a quarter of the speed": load(browser, backend, 4),
                "program a second late": late(browser, backend),
                "64 processors, ten ticks a second": ticks(browser, backend, float(seconds)),
                "a drag": dragged(browser, backend),
            }
            browser.close()
    finally:
        backend.close()
    print(json.dumps(results))
    return 0


def opened(browser, backend, throttle: int = 1):
    """A page with live figures."""
    page = browser.new_context().new_page()
    page.add_init_script(WATCH)
    if throttle > 1:
        session = page.context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": throttle})
    page.goto(backend.url)
    wait_until_live(page)
    return page


def load(browser, backend, throttle: int) -> dict[str, float]:
    """Medians of some loads: first paint, live figures with history, what has moved."""
    loads = []
    for _ in range(LOADS):
        page = opened(browser, backend, throttle)
        loads.append(page.evaluate(f"[{PAINT}, seen.live, seen.shift]"))
        page.context.close()
    paint, live, shift = (statistics.median(column) for column in zip(*loads))
    return {"first_paint_ms": paint, "interactive_ms": live, "layout_shift": shift}


def late(browser, backend) -> dict[str, float]:
    """First paint before the program has arrived."""
    backend.scene.delays["_bg.wasm"] = 1.0
    page = opened(browser, backend)
    backend.scene.delays.clear()
    paint, program = page.evaluate(f"[{PAINT}, {PROGRAM}]")
    page.context.close()
    return {"first_paint_ms": paint, "program_ms": program, "spare_ms": program - paint}


def ticks(browser, backend, seconds: float) -> dict[str, float]:
    """Main-thread time of a tick with all panels open."""
    page = opened(browser, backend)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def busy() -> dict[str, float]:
        return {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}

    before, first = busy(), backend.sequence
    with backend.ticking(0.1):
        page.wait_for_timeout(seconds * 1000)
    wait_for_sequence(page, backend.sequence)
    after, count = busy(), backend.sequence - first
    page.context.close()
    return {ours: (after[name] - before[name]) * 1000 / count for name, ours in METRICS.items()}


def dragged(browser, backend) -> dict[str, float]:
    page = opened(browser, backend)
    frame = frame_ms(page)
    page.context.close()
    return {"frame_ms": frame}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
