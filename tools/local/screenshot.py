"""A screenshot of a page. Run by itself it needs Playwright, which `take` provides."""

import sys
from pathlib import Path

from tools.common import progress, toolchain

SIZE = {"width": 1280, "height": 1000}
# The page has its first sample within a second; a small task far away takes longer.
PAGE_MILLISECONDS = 20_000
SCREENSHOT_SECONDS = 120


def take(url: str, file: Path) -> None:
    """Write the screenshot of the page once it shows values."""
    file.parent.mkdir(parents=True, exist_ok=True)
    python = str(toolchain.PYTHON / "bin" / "python")
    command = [python, "-m", "tools.local.screenshot", url, str(file.resolve()), toolchain.browser() or ""]
    progress.run(f"screenshot of {url}", command, SCREENSHOT_SECONDS)


def main(url: str, file: str, browser: str) -> int:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport=SIZE)
        page.goto(url, timeout=PAGE_MILLISECONDS)
        page.wait_for_selector('[data-state="live"]', timeout=PAGE_MILLISECONDS)
        page.screenshot(path=file)
        chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
