"""What a page looks like, in a file. Run by itself it needs Playwright, which `take` sees to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import toolchain

SIZE = {"width": 1280, "height": 1000}
# The page has its first sample within a second; a small task far away takes longer.
PAGE_MILLISECONDS = 20_000
PICTURE_SECONDS = 120


class NoPicture(Exception):
    """The page did not come up; the lines above say why."""


def take(url: str, file: Path) -> None:
    """Write the picture of the page once it shows figures."""
    file.parent.mkdir(parents=True, exist_ok=True)
    python = str(toolchain.PYTHON / "bin" / "python")
    command = [python, str(Path(__file__).resolve()), url, str(file), toolchain.browser() or ""]
    try:
        code = subprocess.run(command, timeout=PICTURE_SECONDS).returncode
    except subprocess.TimeoutExpired:
        raise NoPicture(f"no picture of {url} after {PICTURE_SECONDS} s") from None
    if code:
        raise NoPicture(f"there is no picture of {url}")


def main(url: str, file: str, browser: str) -> int:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-gpu"]
        )
        page = chromium.new_page(viewport=SIZE)
        page.goto(url, timeout=PAGE_MILLISECONDS)
        page.wait_for_selector('[data-state="live"]', timeout=PAGE_MILLISECONDS)
        page.screenshot(path=file)
        chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
