"""Black-box tests of a URL: the same for containers, plain processes and a deployment.

    pytest e2e --base-url http://localhost:3050 --local --browser /usr/bin/chromium

`--local` adds what only makes sense when the service samples the machine that the tests run on.
What an option would need and did not get is skipped, with the reason.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

ARTIFACTS = Path(__file__).parent / "artifacts"
# For catalog.py, the declared services; behind the folders of the tests.
sys.path.append(str(Path(__file__).resolve().parent.parent))

# As root, and in a machine without a GPU.
CHROMIUM_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

# One answer over loopback takes milliseconds; over the internet to a small task a second or two.
ANSWER_SECONDS = 10


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def pytest_addoption(parser):
    parser.addoption("--base-url", default="http://localhost:3050", help="where the gateway is")
    parser.addoption("--local", action="store_true", help="the gateway is on this machine")
    parser.addoption("--browser", default="", help="path of a Chromium or a Firefox")
    parser.addoption("--binaries", default="", help="folder of the release binaries to test")
    parser.addoption("--images", default="", help="tag of the images to test, such as latest")


def pytest_report_header(config):
    return f"system under test: {config.getoption('base_url')}"


@pytest.fixture(scope="session")
def base_url(request):
    return request.config.getoption("base_url").rstrip("/")


@pytest.fixture(scope="session")
def fetch(base_url):
    """`fetch(path, method="GET", headers={})` gives the answer, whatever its status."""

    def fetch(path, method="GET", headers=None, body=None):
        return request(base_url + path, method, headers, body)

    return fetch


def request(url, method="GET", headers=None, body=None):
    outgoing = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(outgoing, timeout=ANSWER_SECONDS) as answer:
            return Answer(answer.status, _lower(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _lower(error.headers), error.read())


def _lower(headers):
    return {name.lower(): value for name, value in headers.items()}


@pytest.fixture(scope="session")
def browser(request):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
    path = request.config.getoption("browser")
    if not path:
        pytest.skip("needs --browser with the path of a Chromium or a Firefox")
    with playwright.sync_playwright() as driver:
        if is_firefox(request.config):
            # WebDriver BiDi, which every Firefox has. Without this name, Playwright needs its own build.
            browser = driver.firefox.launch(executable_path=path, channel="moz-firefox")
        else:
            browser = driver.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def chromium(request, browser):
    """Chromium, for what Playwright cannot do over WebDriver BiDi: downloads, media and developer tools."""
    if is_firefox(request.config):
        pytest.skip("needs Chromium: Playwright has no downloads, media and developer tools in Firefox")
    return browser


def is_firefox(config):
    return "firefox" in Path(config.getoption("browser")).name


@pytest.fixture
def local(request):
    if not request.config.getoption("local"):
        pytest.skip("needs --local: the service must sample this machine")


@pytest.fixture(scope="session")
def binaries(request):
    return folder_of_binaries(request.config)


def folder_of_binaries(config):
    """The folder of the release binaries; skips the test without it."""
    folder = config.getoption("binaries")
    if not folder:
        pytest.skip("needs --binaries with the folder of the release binaries")
    return Path(folder)


def require_namespaces(*unshare, programs=()):
    """Skips the test where unshare(1) cannot make a namespace with these options."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", *programs))):
        pytest.skip(f"needs root and {', '.join(('unshare', *programs))} for namespaces")
    done = subprocess.run(["unshare", *unshare, "true"], capture_output=True, text=True, timeout=10)
    if done.returncode:
        pytest.skip(f"needs the permission to make namespaces: {done.stderr.strip()}")


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def eventually(condition, seconds=3 * ANSWER_SECONDS, every=0.05):
    """The first true value of `condition()`; the last exception or value when time is up.

    Without `seconds`, the time is not part of what is claimed.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := condition():
                return value
            last = value
        except (AssertionError, OSError) as error:
            last = error
        assert time.monotonic() < deadline, f"not within {seconds} s: {last!r}"
        time.sleep(every)


# Fixtures of pages, whose modules import from this one.
from dashboard import backend, frontend, new_context, opened, visit  # noqa: E402
