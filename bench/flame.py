"""`python3 bench/flame.py SERVICE`: a flame graph of a service's processor time.

Builds the services, this one with symbols, samples it with `perf` 1,000 times a second under full load,
and writes target/bench/SERVICE.svg. Needs `perf` (Debian: linux-perf) and the permission to use it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path

import load_generators
import servers
from processes import ROOT, Failed, NotToBeHad, Server, output_of
from scenario import Bench

from tools.build import build
from tools.common import toolchain

SECONDS = 5
WIDTH, ROW, LEAST = 1200, 16, 0.4
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
            stacks = folded(recorded(bench, server, PATHS[name]))
    except (Failed, NotToBeHad, build.BuildError) as error:
        print(f"flame: {error}", file=sys.stderr)
        return 1
    picture = folder / f"{name}.svg"
    picture.write_text(drawn(f"{name}, GET {PATHS[name]}", stacks), encoding="utf-8")
    print(f"flame: {picture.relative_to(ROOT)} from {sum(stacks.values()):,} samples")
    for function, share in heaviest(stacks):
        print(f"  {share:5.1%}  {function}")
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


def recorded(bench: Bench, server: Server, path: str) -> str:
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
    return output_of(["perf", "script", "-i", str(data), "-F", "ip,sym"], 120)


def folded(script: str) -> Counter:
    """How often each stack was seen, from its first caller on."""
    stacks: Counter = Counter()
    for block in script.split("\n\n"):
        names = [
            re.sub(r"::h[0-9a-f]{16}$", "", line.split(None, 1)[1])
            for line in block.splitlines()
            if len(line.split(None, 1)) == 2
        ]
        if names:
            stacks[tuple(reversed(names))] += 1
    return stacks


def heaviest(stacks: Counter, count: int = 15) -> list[tuple[str, float]]:
    """The functions in which most of the time was spent, without what they call."""
    total, own = sum(stacks.values()), Counter()
    for stack, samples in stacks.items():
        own[stack[-1]] += samples
    return [(function, samples / total) for function, samples in own.most_common(count)]


def drawn(title: str, stacks: Counter) -> str:
    """Callers below, callees above; a box is as wide as it was often seen."""
    total = sum(stacks.values()) or 1
    boxes: list[tuple[int, float, float, str, int]] = []

    def layer(depth: int, left: float, group: list[tuple[tuple[str, ...], int]]) -> None:
        by_name: dict[str, list] = {}
        for stack, samples in group:
            if len(stack) > depth:
                by_name.setdefault(stack[depth], []).append((stack, samples))
        for name in sorted(by_name):
            samples = sum(one for _, one in by_name[name])
            width = samples / total * WIDTH
            if width >= LEAST:
                boxes.append((depth, left, width, name, samples))
                layer(depth + 1, left, by_name[name])
            left += width

    layer(0, 0.0, list(stacks.items()))
    height = (max((box[0] for box in boxes), default=0) + 2) * ROW + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11" style="background:#fff">',
        f'<text x="4" y="14">{escape(title)}: {total:,} samples, 1,000 a second</text>',
    ]
    for depth, left, width, name, samples in boxes:
        y = height - (depth + 1) * ROW
        hue = 20 + sum(map(ord, name)) % 35
        text = escape(name[: int(width / 6.6)]) if width > 30 else ""
        parts.append(
            f'<g><title>{escape(name)} {samples / total:.1%}</title><rect x="{left:.1f}" y="{y}" width="{width:.1f}"'
            f' height="{ROW - 1}" fill="hsl({hue} 80% 65%)"/><text x="{left + 2:.1f}" y="{y + 12}">{text}</text></g>'
        )
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
