"""Incidents staged on a machine made of files: stats, gateway and page name place, cause and beginning."""

import re
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from conftest import eventually
from dashboard import TOO_WIDE, button, panel, picture, settled, state
from staged_machine import Machine, Process

import services

CLOCK = ""
# Those of the service without their durations, so that a test need not wait for minutes.
RULES = """
    cpu > 90 critical; memory > 90 critical; pressure_io > 60 critical; steal > 30 critical;
    filesystem /var/log > 95 critical; throttling > 50 critical; oom > 0 warning;
    interface > 100 critical; forks > 1000 critical
"""
# From its beginning to the state that the service reports, where the machine of files is not late.
BEGINNING_MS = 3_000
# Processes are looked at every five seconds, and a rate needs two looks.
SEEN_SECONDS = 20


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path / "root")
    yield machine
    machine.close()


@pytest.fixture
def backend(request, machine, frontend):
    """The real services, behind the gateway."""
    settings = {
        "STATS_PROC": str(machine.folder / "proc"),
        "STATS_ROOT": str(machine.folder),
        "STATS_SCOPE": "host",
        "STATS_EXPOSE": "processes,mounts",
        "STATS_ALERTS": " ".join(RULES.split()),
    }
    with services.stats(request.config, **settings) as stats:
        addresses = (f"{one.host}:{one.port}" for one in (stats, frontend))
        with services.gateway(request.config, *addresses) as gateway:
            yield SimpleNamespace(url=gateway.url, stats=stats)


# The load, the sentence, the cause where there is one, and the panel that a click opens.
INCIDENTS = {
    "hog": (
        {"user": 2.0, "processes": {812: Process("xmrig", cores=1.9, state="R")}},
        *(r"CPU is (9\d|100)(\.\d+)? % busy", "xmrig (812)", "cpu"),
    ),
    "leak": (
        {"available_kib": 160_000, "processes": {900: Process("leaky", resident_pages=1_800_000)}},
        *(r"Memory is 98(\.\d+)? % used", "leaky (900)", "memory"),
    ),
    "oom-kill": (
        {"oom_kills": 1, "processes": {900: Process("leaky", resident_pages=1_500_000)}},
        *(r"A process was killed: out of memory", "leaky (900)", "container"),
    ),
    "io-stall": ({"io_stalled": 0.9}, r"Disk pressure is [89]\d(\.\d+)? %", None, "pressure"),
    "steal": ({"steal": 1.2}, r"CPU steal is [56]\d(\.\d+)? %", None, "cpu"),
    "throttled": ({"throttled": 0.9}, r"Container is throttled (8|9|100)\d?(\.\d+)? % of the time", None, "container"),
    "lossy-network": ({"errors": 400.0}, r"Interface eth0 has [34]\d\d(\.\d+)? faults/s", None, "network"),
    "fork-storm": ({"forks": 3_000.0}, r"[23],?\d\d\d(\.\d+)? processes start per second", None, "load"),
}


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_is_named_with_its_place_cause_and_beginning(opened, backend, machine, name):
    load, sentence, cause, place = INCIDENTS[name]
    page = opened()
    wait_until_shown(page, "^All normal")
    staged_ms = time.time() * 1000
    machine.load = replace(machine.load, **load)
    wait_until_shown(page, rf"(?s){sentence}.*since \d{{2}}:\d{{2}}")
    if cause:
        wait_until_shown(page, re.escape(cause))
    assert -1000 < since_ms(backend) - staged_ms < BEGINNING_MS + machine.late_ms
    assert page.evaluate(TOO_WIDE) == []
    picture(page, f"incident-{name}")
    button(page, "state").get_by_role("link").click()
    page.wait_for_function(f"location.hash.includes('panel={place}')")
    settled(page)
    box = panel(page, place).bounding_box()
    assert -1 <= box["y"] < page.viewport_size["height"]


def test_a_filesystem_that_fills_up_is_named(opened, backend, machine):
    mounted = machine.folder / "var" / "log"
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    if subprocess.run(mount, capture_output=True, timeout=10).returncode:
        pytest.skip("mounting a small filesystem needs root")
    try:
        page = opened()
        staged_ms = time.time() * 1000
        (mounted / "file").write_bytes(bytes(1020 * 1024))
        wait_until_shown(page, r"/var/log is 99\.6 % full")
        assert since_ms(backend) - staged_ms < BEGINNING_MS + machine.late_ms
        picture(page, "incident-full-disk")
        (mounted / "file").unlink()
        wait_until_shown(page, "^All normal")
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True, timeout=10)


def since_ms(backend):
    return eventually(lambda: backend.stats.fetch("/stats").json()["alerts"])[0]["since_unix_ms"]


def wait_until_shown(page, pattern):
    def is_shown():
        text = state(page)
        assert re.search(pattern, text), text
        return True

    eventually(is_shown, SEEN_SECONDS)
