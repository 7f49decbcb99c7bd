"""Whether what was deployed answers, is what was deployed, and passes the black-box tests."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request

from tools.cloud import terraform
from tools.cloud.aws import PYTHON, Aws
from tools.common import progress, toolchain
from tools.common.progress import Failed, say
from tools.common.toolchain import ROOT
from tools.supply.images import commit_of

# The name of a new load balancer takes some minutes to be known everywhere.
REACH_SECONDS = 600
# Once it answers at all, healthy tasks answer at once; the gateway looks up
# names every 2 s.
ANSWER_SECONDS = 30
SMOKE_SECONDS = 600
# A hiccup is over after some seconds; what fails three times, fails.
SMOKE_TRIES = 3
SMOKE_PAUSE_SECONDS = 10
# Pytest's exit code when tests ran and some failed.
PYTEST_FAILED = 1
# Of the suite in e2e/, what needs nothing but a URL; the others start services of their own.
SMOKE_TESTS = ("test_stats.py", "test_gateway.py", "test_page.py")


def prove(aws: Aws, outputs: dict) -> None:
    """See that what was deployed answers, and answers well."""
    if not os.environ.get("URL") and outputs["signs_in"]:
        # The test has no account there; the deployment has already checked that the tasks are healthy.
        signs_in(outputs["url"])
        return
    url = os.environ.get("URL") or outputs["url"]
    answers(url)
    answers_as(url, commit_of(aws, outputs["images"]["gateway"]))
    smoke(url)


def smoke(url: str) -> None:
    """The black-box tests of e2e/, against that URL."""
    answers(url)
    python, options = PYTHON, []
    full = toolchain.PYTHON / "bin" / "python"
    browser = toolchain.browser()
    if browser and toolchain.answer([str(full), "-c", "import pytest, playwright; print('yes')"]):
        python, options = full, ["--browser", browser]
    files = [str(ROOT / "e2e" / name) for name in SMOKE_TESTS]
    # Apart from the developers' own, which may run at the same time.
    options += ["-o", f"cache_dir={terraform.DATA / 'smoke'}"]
    command = [str(python), "-m", "pytest", "-q", "-rs", *files, "--base-url", url, *options]
    # Some tests measure time, and a hiccup of the network must not take a good version back.
    for again in range(1, SMOKE_TRIES + 1):
        more = "--last-failed" if again > 1 else "--cache-clear"
        try:
            progress.run(f"the smoke test of {url}", [*command, more], SMOKE_SECONDS)
            return
        except Failed as failed:
            if failed.code != PYTEST_FAILED or again == SMOKE_TRIES:
                raise
        say(f"what failed is tried again in {SMOKE_PAUSE_SECONDS} s")
        time.sleep(SMOKE_PAUSE_SECONDS)


def answers(url: str) -> None:
    """Wait for the first good answer: name servers have to learn a new load balancer's name."""
    unreached = time.monotonic() + REACH_SECONDS
    reached: float | None = None
    last: Exception
    while True:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/stats", timeout=10) as answer:
                answer.read()
            return
        except urllib.error.HTTPError as error:
            reached = reached or time.monotonic()
            last, deadline = error, reached + ANSWER_SECONDS
        except (OSError, ValueError) as error:
            last, deadline = error, unreached
        if time.monotonic() > deadline:
            raise Failed(f"{url}/stats gave no good answer: {last}")
        time.sleep(1)


def answers_as(url: str, expected: str | None) -> None:
    """Wait until the gateway that answers is the one that was deployed, by its commit."""
    if expected is None:
        say("the gateway's image does not tell its commit, so the answer's is not compared")
        return
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/healthz", timeout=10) as answer:
                commit = json.load(answer).get("commit")
        except (OSError, ValueError, AttributeError) as error:
            commit = f"no health: {error}"
        if commit == expected:
            say(f"{url} answers as {expected[:12]}")
            return
        if time.monotonic() > deadline:
            raise Failed(f"{url}/healthz reports the commit {commit}, and {expected} was deployed")
        time.sleep(1)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        return None


def signs_in(url: str) -> None:
    """Checks that the sign-in is active and rejects requests without an account."""
    deadline = time.monotonic() + REACH_SECONDS
    while True:
        try:
            with urllib.request.build_opener(_NoRedirects).open(f"{url}/stats", timeout=10) as answer:
                raise Failed(f"{url}/stats was answered {answer.status} without a sign-in")
        except urllib.error.HTTPError as error:
            if error.code == 302 and error.headers.get("location", "").startswith("https://"):
                say(f"{url} redirects to the sign-in at {error.headers['location'].split('?')[0]}")
                return
            raise Failed(f"{url}/stats was answered {error.code}, not with a sign-in") from None
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise Failed(f"{url} cannot be reached: {error}") from None
        time.sleep(1)
