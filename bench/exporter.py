"""`make exporter`: what users of node_exporter find in the metrics of stats.

    python3 bench/exporter.py [--binaries FOLDER]

Prometheus scrapes stats and node_exporter side by side while this machine has work to do, and
answers every expression of a public dashboard and of two public sets of alerts for each of them.
Then both are scraped at the same moment, and their series are compared by name, labels and value.
Writes docs/node_exporter.md. Fails when stats has less than BUDGETS. Dashboard and alerts come from
pinned checkouts (see suites/); nothing of them is kept in this repository.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import conformance
import incidents
import servers
from processes import ROOT, Failed, NotToBeHad, started, wait_for_answer
from scenario import Bench
from series import TOLERANCE, Comparison, compared
from suites.suite import Checkout, checkout_of

from tools.build import build
from tools.common import toolchain
from tools.common.ports import free_port
from tools.install import progress, pypi

REPORT = ROOT / "docs" / "node_exporter.md"
TEMPLATE = ROOT / "bench" / "templates" / "node_exporter.txt"
REQUIREMENTS = pypi.requirements("exporter")
PYTHON = toolchain.TOOLS / "exporter-python"
OURS, THEIRS = "stats", "node_exporter"
# Rates over 30 s need some scrapes; the alerts look back five minutes and take what is there.
SCRAPED_SECONDS = 60
EXPOSED = "hostname,mounts,processes"
QUERY_SECONDS = 10
# Variables of Grafana, as its own defaults would fill them.
VARIABLES = {
    "$__rate_interval": "30s",
    "${__rate_interval}": "30s",
    "$__interval": "30s",
    "$__range": "60s",
    "$diskdevices": "[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+",
}
# Those that the dashboard asks for, besides the default ones. Its own way past /proc/net/dev, by netlink,
# would be that of this machine for a recorded one.
COLLECTORS = ("--collector.processes", "--collector.interrupts", "--no-collector.netdev.netlink")


DASHBOARD = Checkout(
    "grafana-dashboards", "https://github.com/rfrail3/grafana-dashboards", "7d61c79619e5749e629758ecd96748c010028120"
)
HOST_ALERTS = Checkout(
    "awesome-prometheus-alerts",
    "https://github.com/samber/awesome-prometheus-alerts",
    "a8533189af0246de5e21a6d8d25bd37816894f07",
)
MIXIN = Checkout(
    "node_exporter", "https://github.com/prometheus/node_exporter", "a7dcc3a01545180d4f2087db70994cbc3abfed13"
)


# What node_exporter answers and stats does not, at most.
BUDGETS = {
    # Interrupts of each device, an unknown speed of an interface, node_exporter's textfile collector.
    "Panels of Node Exporter Full": 3,
    "Alerts of node-mixin": 1,
    "Host alerts of awesome-prometheus-alerts": 2,
}


@dataclass(frozen=True)
class Item:
    """A panel or an alert, with the expressions that must all have an answer."""

    title: str
    expressions: tuple[str, ...]
    # The whole expression of an alert.
    rule: str = ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="exporter.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--binaries", type=Path, help="folder of the finished binaries")
    given = parser.parse_args(arguments)
    progress.end_on_signals()
    try:
        binaries = given.binaries or conformance.built()
        with tempfile.TemporaryDirectory() as folder:
            text, lost = measured(Bench(binaries, Path(folder), seconds=1.0))
    except NotToBeHad as error:
        print(f"exporter: SKIPPED: {error}", file=sys.stderr)
        return 1
    except (Failed, build.BuildError, subprocess.TimeoutExpired) as error:
        print(f"exporter: {error}", file=sys.stderr)
        return 1
    for line in lost:
        print(f"exporter: {line}", file=sys.stderr)
    if not lost:
        REPORT.write_text(text, encoding="utf-8")
        print(f"exporter: wrote {REPORT.relative_to(ROOT)}")
    return 1 if lost else 0


def measured(bench: Bench) -> tuple[str, list[str]]:
    """The report, and what is below its budget."""
    servers.python_with(PYTHON, REQUIREMENTS, "jsonnet for the mixin")
    checkouts = {checkout.name: checkout_of(checkout) for checkout in (DASHBOARD, HOST_ALERTS, MIXIN)}
    sets = {
        "Panels of Node Exporter Full": panels(checkouts[DASHBOARD.name]),
        "Alerts of node-mixin": mixin_alerts(checkouts[MIXIN.name]),
        "Host alerts of awesome-prometheus-alerts": host_alerts(checkouts[HOST_ALERTS.name]),
    }
    answers: dict[str, dict[str, int]] = {OURS: {}, THEIRS: {}}
    with contextlib.ExitStack() as stack:
        ports = exporters(bench, stack)
        stack.enter_context(some_work())
        queries = {name: stack.enter_context(prometheus(bench, name, port)) for name, port in ports.items()}
        print(f"exporter: Prometheus scrapes for {SCRAPED_SECONDS} s", flush=True)
        time.sleep(SCRAPED_SECONDS)
        for name, port in queries.items():
            for items in sets.values():
                for expression in {expression for item in items for expression in item.expressions}:
                    answers[name][expression] = results_of(port, expression)
        live = compared(ports[OURS], ports[THEIRS])
    faults = of_incidents(bench, [item for items in sets.values() for item in items if item.rule])
    trees = {}
    for tree in recorded_trees():
        with of_tree(bench, tree) as (ours, theirs):
            trees[tree.name] = compared(ours, theirs)
    lost = [line for title, items in sets.items() for line in missing(title, items, answers)]
    # What needs a metric that only node_exporter has is in the other budgets.
    known = {name for items in sets.values() for name in unanswered(items, answers)}
    lost += [
        f"incidents: {name} has no result" for name, counts in faults.items() if not counts[OURS] and name not in known
    ]
    return document(bench, sets, answers, live, trees, faults), lost


def exporters(bench: Bench, stack: contextlib.ExitStack) -> dict[str, int]:
    """The ports of stats and node_exporter."""
    return {
        OURS: stack.enter_context(servers.stats(bench, STATS_EXPOSE=EXPOSED)).port,
        THEIRS: stack.enter_context(servers.node_exporter(bench, None, *COLLECTORS)).port,
    }


def of_incidents(bench: Bench, alerts: list[Item]) -> dict[str, dict[str, int]]:
    """The alerts with a result during incidents; fresh servers, so that rates see only those."""
    with contextlib.ExitStack() as stack:
        ports = exporters(bench, stack)
        queries = {name: stack.enter_context(prometheus(bench, name, port)) for name, port in ports.items()}
        return incidents.results(bench, {item.title: item.rule for item in alerts}, queries, results_of)


def panels(checkout: Path) -> list[Item]:
    """The panels that ask Prometheus."""
    dashboard = json.loads((checkout / "prometheus" / "node-exporter-full.json").read_text(encoding="utf-8"))
    found = []

    def walk(panels: list[dict], row: str) -> None:
        for panel in panels:
            if panel["type"] == "row":
                row = panel["title"]
            expressions = tuple(filled(query["expr"]) for query in panel.get("targets", []) if query.get("expr"))
            if expressions:
                found.append(Item(f"{row}: {panel['title']}", expressions))
            walk(panel.get("panels", []), row)

    walk(dashboard["panels"], "")
    return found


def filled(expression: str) -> str:
    """An expression with its variables replaced; there is one job with one instance."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return re.sub(r'"\$(node|job)"', '"node"', expression)


def mixin_alerts(checkout: Path) -> list[Item]:
    """The alerts of node_exporter's own mixin, with its default settings."""
    folder = checkout / "docs" / "node-mixin"
    source = "((import 'config.libsonnet') + (import 'alerts/alerts.libsonnet')).prometheusAlerts"
    code = "import _jsonnet, sys; print(_jsonnet.evaluate_snippet('mixin', sys.argv[1], jpathdir=[sys.argv[2]]))"
    python = PYTHON / "bin" / "python"
    done = subprocess.run([python, "-c", code, source, str(folder)], capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise Failed(f"jsonnet: {done.stderr.decode()[-500:]}")
    groups = json.loads(done.stdout)["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return [Item(rule["alert"], selectors(rule["expr"]), rule["expr"]) for rule in rules]


def host_alerts(checkout: Path) -> list[Item]:
    """The rules for hosts; the file is read line by line, because there is no YAML without a package."""
    path = checkout / "dist" / "rules" / "host-and-hardware" / "node-exporter.yml"
    rules = re.findall(r"- alert: (\w+)\n\s+expr: '(.*)'\n", path.read_text(encoding="utf-8"))
    expressions = {name: expression.replace("''", "'") for name, expression in rules}
    return [Item(name, selectors(expression), expression) for name, expression in expressions.items()]


def selectors(expression: str) -> tuple[str, ...]:
    """The metrics of an alert: it can fire if each of them has a series."""
    found = re.findall(r"\b(node_[a-zA-Z0-9_]+)(\s*\{[^}]*\})?", expression)
    return tuple(dict.fromkeys(name + labels.strip() for name, labels in found))


@contextlib.contextmanager
def prometheus(bench: Bench, name: str, port: int) -> Iterator[int]:
    """A server that scrapes one exporter every second, as the job of the mixin."""
    folder = servers.fresh_folder(bench, f"prometheus-{name}")
    own = free_port()
    target = f"{{job_name: node, static_configs: [{{targets: ['127.0.0.1:{port}'], labels: {{instance: node}}}}]}}"
    configuration = folder / "prometheus.yml"
    configuration.write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs: [{target}]\n")
    program = servers.debian(bench, "prometheus", "usr/bin/prometheus")
    arguments = [f"--config.file={configuration}", f"--storage.tsdb.path={folder}/data"]
    with started([*program, *arguments, f"--web.listen-address=127.0.0.1:{own}"]) as process:
        wait_for_answer(own, "/-/ready", process)
        yield own


@contextlib.contextmanager
def some_work() -> Iterator[None]:
    """Processor time, writes to a disk and traffic on loopback, so that no rate is zero for want of work."""
    code = """
import os, socket, tempfile, threading
server = socket.create_server(("127.0.0.1", 0))
def answer():
    while True:
        connection, _ = server.accept()
        connection.close()
threading.Thread(target=answer, daemon=True).start()
with tempfile.NamedTemporaryFile() as file:
    while True:
        file.seek(0)
        file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
        socket.create_connection(server.getsockname()).close()
"""
    with started([sys.executable, "-c", code]):
        yield


def results_of(port: int, expression: str) -> int:
    """How many series an expression has now."""
    query = urllib.parse.urlencode({"query": expression})
    url = f"http://127.0.0.1:{port}/api/v1/query?{query}"
    try:
        with urllib.request.urlopen(url, timeout=QUERY_SECONDS) as response:
            return len(json.load(response)["data"]["result"])
    except urllib.error.HTTPError as error:
        raise Failed(f"Prometheus cannot evaluate {expression!r}: {error.read().decode()[:300]}") from None


def recorded_trees() -> list[Path]:
    """The recorded machines, in the order of their names."""
    return sorted(path.parent for path in (ROOT / "services" / "stats" / "fixtures").glob("linux-*/proc"))


@contextlib.contextmanager
def of_tree(bench: Bench, tree: Path) -> Iterator[tuple[int, int]]:
    """Both exporters reading a recorded machine."""
    # node_exporter does not start without a sysfs, which not every recorded machine has.
    copy = servers.fresh_folder(bench, f"tree-{tree.name}") / "root"
    shutil.copytree(tree, copy, symlinks=True)
    (copy / "sys").mkdir(exist_ok=True)
    tree = copy
    paths = [f"--path.procfs={tree}/proc", f"--path.sysfs={tree}/sys", f"--path.rootfs={tree}"]
    settings = {"STATS_PROC": f"{tree}/proc", "STATS_ROOT": str(tree), "STATS_EXPOSE": EXPOSED}
    with servers.stats(bench, **settings) as ours:
        with servers.node_exporter(bench, None, *COLLECTORS, *paths) as theirs:
            yield ours.port, theirs.port


def complete(items: list[Item], answered: dict[str, int]) -> set[str]:
    return {item.title for item in items if all(answered[expression] for expression in item.expressions)}


def unanswered(items: list[Item], answers: dict[str, dict[str, int]]) -> dict[str, list[str]]:
    """The items for which node_exporter has more than stats, with these expressions."""
    found = {}
    for item in items:
        lacking = [
            expression
            for expression in item.expressions
            if answers[THEIRS][expression] and not answers[OURS][expression]
        ]
        if lacking:
            found[item.title] = lacking
    return found


def missing(title: str, items: list[Item], answers: dict[str, dict[str, int]]) -> list[str]:
    """The figures below their budgets."""
    lacking = unanswered(items, answers)
    for name, expressions in lacking.items():
        print(f"exporter: {title}: {name}: {expressions}", flush=True)
    if len(lacking) <= BUDGETS[title]:
        return []
    return [f"{title}: {len(lacking)} without an answer, expected at most {BUDGETS[title]}"]


def document(
    bench: Bench,
    sets: dict[str, list[Item]],
    answers: dict[str, dict[str, int]],
    live: Comparison,
    trees: dict[str, Comparison],
    faults: dict[str, dict[str, int]],
) -> str:
    """docs/node_exporter.md."""
    rows, lists = [], []
    for title, items in sets.items():
        figures = [len(complete(items, answers[name])) for name in (OURS, THEIRS)]
        lacking = unanswered(items, answers)
        rows.append(f"| {title} | {figures[0]} | {figures[1]} | {len(items)} | {len(lacking)} |")
        for name, expressions in lacking.items():
            names = sorted({found for expression in expressions for found in re.findall(r"\bnode_\w+", expression)})
            lists.append(f"- {title}: {name} ({', '.join(f'`{one}`' for one in names)})")
    series = []
    for name, comparison in {"this machine, under load": live, **trees}.items():
        others = ", ".join(f"{subject} {count}" for subject, count in comparison.unmatched.items()) or "none"
        different = ", ".join(f"`{metric}`" for metric in sorted(comparison.different)) or "none"
        series.append(f"| {name} | {comparison.total} | {comparison.same} | {others} | {different} |")
    fired = [f"| {name} | {counts[OURS]} | {counts[THEIRS]} |" for name, counts in sorted(faults.items())]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(bench.versions.items()))
    return TEMPLATE.read_text(encoding="utf-8").format(
        versions=versions,
        rows="\n".join(rows),
        only_node_exporter="\n".join(lists) or "Nothing is answered by node_exporter only.",
        incident_seconds=incidents.LASTING_SECONDS,
        fired="\n".join(fired),
        tolerance=f"{TOLERANCE:.0%}",
        series="\n".join(series),
        absent=", ".join(f"`{metric}`" for metric in sorted(live.absent)) or "none",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
