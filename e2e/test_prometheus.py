"""The rules and the dashboard of docs/prometheus, against the metrics of the real services."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import eventually, request
from prometheus_client.parser import text_string_to_metric_families as text_format

import services

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "prometheus"
METRIC = re.compile(r"\b((?:stats|gateway|node)_[a-z0-9_]+)\b")
# Present only while there is something to report.
ONLY_SOMETIMES = {"stats_alert_state"}
# Of kernels without pressure stall information, and of machines without disks.
OF_THE_MACHINE = ("node_pressure_", "node_disk_")


def promtool(*arguments):
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is missing; `make tools` reports why")
    done = subprocess.run([program, *arguments], capture_output=True, timeout=60, cwd=FOLDER)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_the_rules_are_valid():
    promtool("check", "rules", "rules.yaml")


def test_the_rules_fire_when_they_should_and_only_then():
    promtool("test", "rules", "rules_test.yaml")


@pytest.fixture(scope="module")
def names(request):
    """Names of all series of a stats and a gateway."""
    port = services.free_port()
    with services.stats(request.config, STATS_EXPOSE="mounts") as stats:
        admin = f"127.0.0.1:{port}"
        with services.gateway(request.config, stats.address, stats.address, GATEWAY_ADMIN_LISTEN=admin) as gateway:
            eventually(lambda: gateway.fetch("/stats").status == 200)
            texts = [stats.fetch("/metrics").body, fetch_metrics(admin)]
    series = set()
    for text in texts:
        for family in text_format(text.decode()):
            series.update(sample.name for sample in family.samples)
    return series


def fetch_metrics(address):
    answer = request(f"http://{address}/metrics", "GET", None, None)
    assert answer.status == 200
    return answer.body


@pytest.mark.parametrize("file", ["rules.yaml", "dashboard.json"])
def test_every_metric_that_is_used_exists(names, file):
    text = (FOLDER / file).read_text(encoding="utf-8")
    if file == "dashboard.json":
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for panel in panels for target in panel["targets"])
    else:
        text = re.sub(r"#.*", "", text)
    used = set(METRIC.findall(text)) - ONLY_SOMETIMES
    assert used, "nothing was found to check"
    missing = {name for name in used - names if not name.startswith(OF_THE_MACHINE)}
    assert not missing
