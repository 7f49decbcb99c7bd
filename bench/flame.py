"""`python3 bench/flame.py SERVICE`: a profile of a service's processor time.

Builds the services, this one with symbols, samples it with `perf` 1,000 times a second under full load, and prints the
functions that take most. Writes target/bench/SERVICE.perf, which speedscope.app and profiler.firefox.com show as a
flame graph. Needs `perf` (Debian: linux-perf) and the permission to use it.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import load_generators
import servers
from processes import ROOT, Failed, NotToBeHad, Server, output_of
from scenario import Bench

from tools.build import build
from tools.common import toolchain

SECONDS = 5
# Each function without those that it calls.
TABLE = ("--stdio", "--no-children", "-g", "none", "--sort", "symbol", "--percent-limit", "1")
PATHS = {"stats": "/stats", "frontend": "/", "gateway": "/stats"}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PATHS:
        print(f"usage: flame.py {'|'.join(PATHS)}", file=sys.stderr)
        return 64
    name = arguments[0]
    folder = ROOT / "target" / "bench"
    try:
        bench = Bench(with_symbols(name, folder / "flame"), folder / "flame", SECONDS)
        with service(bench, name) as server:
            data = recorded(bench, server, PATHS[name])
        print(output_of(["perf", "report", "-i", data, *TABLE], 120))
        stacks = folder / f"{name}.perf"
        stacks.write_text(output_of(["perf", "script", "-i", data], 120), encoding="utf-8")
    except (Failed, NotToBeHad, build.BuildError) as error:
        print(f"flame: {error}", file=sys.stderr)
        return 1
    print(f"flame: wrote {stacks.relative_to(ROOT)}")
    return 0


def with_symbols(name: str, folder: Path) -> Path:
    """The release binaries, the profiled one with symbols and frame pointers."""
    binaries = build.build(build.RELEASE)
    target = toolchain.musl_target()
    variable = f"CARGO_TARGET_{target.upper().replace('-', '_')}_RUSTFLAGS"
    variables = {
        # Its other flags must not make the release be compiled again.
        **toolchain.cargo_folders(ROOT / "target" / "symbols"),
        "CARGO_PROFILE_RELEASE_STRIP": "none",
        # Where there is no debug information, Cargo strips it, and zig all symbols with it.
        "CARGO_PROFILE_RELEASE_DEBUG": "line-tables-only",
        variable: f"{toolchain.environment().get(variable, '')} -C force-frame-pointers=yes",
    }
    command = ["cargo", "zigbuild", "--locked", "--release", "--target", target, "--package", name]
    build.run(f"{name} with symbols", command, variables=variables)
    binaries[name] = ROOT / "target" / "symbols" / target / "release" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for one, path in binaries.items():
        (folder / one).symlink_to(path)
    return folder


@contextlib.contextmanager
def service(bench: Bench, name: str) -> Iterator[Server]:
    if name != "gateway":
        with getattr(servers, name)(bench) as server:
            yield server
        return
    with servers.upstreams_of(bench) as upstreams, servers.gateway(bench, upstreams, False) as server:
        yield server


def recorded(bench: Bench, server: Server, path: str) -> Path:
    """Samples of perf of the server under load."""
    data = bench.folder / "perf.data"
    command = ["perf", "record", "-q", "-F", "1000", "-g", "-o", str(data), "-p", str(server.pid)]
    try:
        perf = subprocess.Popen([*command, "--", "sleep", str(SECONDS)], stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        raise NotToBeHad("perf is missing; on Debian it is in linux-perf") from None
    try:
        load_generators.closed(bench, server, path, servers.COMPRESSED, 64, None)
        perf.wait(timeout=30)
    finally:
        perf.kill()
        perf.wait()
    if not data.exists():
        raise NotToBeHad("perf is not permitted to profile processes here")
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
