"""The metrics as Prometheus and its own tools read them, and the rules and the dashboard of docs/prometheus."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import eventually, request
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format

import services

RULES = Path(__file__).resolve().parent.parent / "docs" / "prometheus"
METRIC = re.compile(r"\b((?:stats|gateway|node)_[a-z0-9_]+)\b")
# Present only while there is something to report.
ONLY_SOMETIMES = {"stats_alert_state"}
# Of kernels without pressure stall information, and of machines without disks.
OF_THE_MACHINE = ("node_pressure_", "node_disk_")
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# The kernel's names of fields and counters, and node_exporter's unit of entropy, stay as they are:
# what reads node_exporter expects them so.
KERNEL_NAME = re.compile(
    r"^node_(memory|netstat|sockstat)_\w+ metric names .* 'snake_case' not 'camelCase'$"
    r"|^node_entropy_\w+_bits use base unit \"bytes\" instead of \"bits\"$"
)
# Counters whose names do not end in _total, which OpenMetrics requires of counters.
UNTYPED = ("node_vmstat_", "node_netstat_")
# The Accept field of Prometheus 2.42.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture(scope="module")
def service(request):
    with services.stats(request.config, STATS_EXPOSE="hostname,mounts,processes") as service:
        yield service


def families(answer):
    parse = open_metrics if answer.headers["content-type"] == OPEN_METRICS else text_format
    return {family.name: family for family in parse(answer.body.decode())}


def promtool(*arguments, metrics=None):
    """The exit code, and the lines of the output."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is missing; `make tools` reports why")
    done = subprocess.run([program, *arguments], input=metrics, capture_output=True, timeout=60, cwd=RULES)
    return done.returncode, (done.stdout + done.stderr).decode().splitlines()


def test_promtool_accepts_the_metrics(service):
    # It reports errors, and also style warnings; with warnings only, the exit code is 3.
    code, lines = promtool("check", "metrics", metrics=service.fetch("/metrics").body)
    objections = [line for line in lines if not KERNEL_NAME.search(line)]
    assert not objections
    assert code == (3 if lines else 0), lines


@pytest.mark.parametrize("what", [("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")])
def test_the_rules_are_valid_and_fire_when_they_should_and_only_then(what):
    code, lines = promtool(*what)
    assert code == 0, lines


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.1", TEXT),
        ("application/openmetrics-text; version=1.0.0", OPEN_METRICS),
        (PROMETHEUS, OPEN_METRICS),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(service, accept, content_type):
    answer = service.fetch("/metrics", headers={"accept": accept} if accept else {})
    assert (answer.status, answer.headers["content-type"]) == (200, content_type)
    assert answer.body.endswith(b"# EOF\n") == (content_type == OPEN_METRICS)
    assert len(families(answer)) > 5


def test_both_formats_have_the_same_values(service):
    def names(accept):
        answer = service.fetch("/metrics", headers={"accept": accept})
        return {
            (sample.name, *sorted(sample.labels.items()))
            for family in families(answer).values()
            for sample in family.samples
            # The labels of a top list change by themselves.
            if "pid" not in sample.labels and not sample.name.endswith("_created")
        }

    # A disk or an interface may come or go between the two.
    eventually(lambda: names("text/plain") == names("application/openmetrics-text"))


def test_every_family_has_a_type_and_a_help_and_no_sample_is_there_twice(service):
    for accept in ("text/plain", "application/openmetrics-text"):
        for family in families(service.fetch("/metrics", headers={"accept": accept})).values():
            is_untyped = family.type in ("unknown", "untyped")
            assert is_untyped == family.name.startswith(UNTYPED), family.name
            assert family.documentation, family.name
            keys = [(sample.name, *sorted(sample.labels.items())) for sample in family.samples]
            assert len(keys) == len(set(keys)), family.name


def test_counters_never_fall(service):
    def counters():
        answer = service.fetch("/metrics", headers={"accept": "application/openmetrics-text"})
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families(answer).values()
            if family.type == "counter"
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    first = counters()
    assert first
    sequence = service.fetch("/stats").json()["sequence"]
    eventually(lambda: service.fetch("/stats").json()["sequence"] >= sequence + 2)
    second = counters()
    # The idle time of a processor may be revised downwards by the kernel (proc(5)).
    fallen = {
        key: (value, second[key])
        for key, value in first.items()
        if second.get(key, value) < value and not {"idle", "iowait"} & label_values(key)
    }
    assert not fallen
    assert any(second.get(key, value) > value for key, value in first.items())


def label_values(key):
    return {value for _, value in key[1:]}


@pytest.fixture(scope="module")
def known(pytestconfig):
    """Names of all series of a stats and a gateway."""
    port = services.free_port()
    with services.stats(pytestconfig, STATS_EXPOSE="mounts") as stats:
        admin = f"127.0.0.1:{port}"
        with services.gateway(pytestconfig, stats.address, stats.address, GATEWAY_ADMIN_LISTEN=admin) as gateway:
            eventually(lambda: gateway.fetch("/stats").status == 200)
            texts = [stats.fetch("/metrics").body, request(f"http://{admin}/metrics").body]
    return {sample.name for text in texts for family in text_format(text.decode()) for sample in family.samples}


@pytest.mark.parametrize("file", ["rules.yaml", "dashboard.json"])
def test_every_metric_that_is_used_exists(known, file):
    text = (RULES / file).read_text(encoding="utf-8")
    if file == "dashboard.json":
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for panel in panels for target in panel["targets"])
    else:
        text = re.sub(r"#.*", "", text)
    used = set(METRIC.findall(text)) - ONLY_SOMETIMES
    assert used, "nothing was found to check"
    missing = {name for name in used - known if not name.startswith(OF_THE_MACHINE)}
    assert not missing
