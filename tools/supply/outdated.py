"""`make outdated`: which pins are behind: crates, wheels, the compiler and the build image.

It changes nothing. What is behind is listed and is no failure; what cannot be asked is.
"""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from collections.abc import Callable

from tools.build import build
from tools.ci import github
from tools.common import toolchain
from tools.common.progress import Failed, TargetError, exit_code, output
from tools.common.toolchain import ROOT
from tools.supply import oci

QUERY_SECONDS = 300
# The manifest of Rust's stable channel, below rustup's server or its mirror.
RUST, STABLE = "https://static.rust-lang.org", "/dist/channel-rust-stable.toml"
# uv's variables for the way to an index; its others are for other projects.
WAY = re.compile(r"UV_(INDEX_.*|KEYRING_PROVIDER|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|HTTP_.*)")
# Colors would be parts of the words that are looked for.
PLAIN = {
    "CARGO_TERM_COLOR": "never",
    "CARGO_TERM_QUIET": "false",
    "NO_COLOR": "1",
    "FORCE_COLOR": "",
    "CLICOLOR_FORCE": "",
}
PINNED_IMAGE = re.compile(r"^ARG RUST_IMAGE=rust:(\S+)@(sha256:[0-9a-f]{64})$", re.MULTILINE)


def main() -> int:
    return exit_code("outdated", report)


def report() -> None:
    build.ensure_tools("build")
    lines: list[str] = []
    unknown: list[str] = []
    for part, ask in PARTS.items():
        try:
            lines += [f"{part}: {line}" for line in ask() or ["up to date"]]
        except (OSError, TargetError) as error:
            lines.append(f"{part}: unknown: {error}")
            unknown.append(part)
    print("\n".join(lines))
    github.summary("\n".join(["```", *lines, "```"]))
    if unknown:
        raise Failed(f"no answer about {', '.join(unknown)}: the lines above have the reasons")


def crates() -> list[str]:
    """Updates within the version ranges of the manifests, and newer versions beyond them."""
    text = output(["cargo", "update", "--dry-run", "--verbose"], QUERY_SECONDS, with_errors=True, variables=PLAIN)
    return [line.strip() for line in text.splitlines() if re.match(r"\s*(Updating \S+ v|Unchanged .*available)", line)]


def wheels() -> list[str]:
    """Packages of uv.lock with versions that are newer, and at least a week old."""
    command = [str(toolchain.TOOLS / "uv" / "bin" / "uv"), "lock", "--upgrade", "--dry-run"]
    way = {name: value for name, value in os.environ.items() if WAY.fullmatch(name)}
    variables = {**PLAIN, **way, **({"UV_DEFAULT_INDEX": mirror} if (mirror := index()) else {})}
    text = output(command, QUERY_SECONDS, with_errors=True, variables=variables)
    return [line for line in text.splitlines() if line.startswith(("Update ", "Add ", "Remove "))]


def index() -> str | None:
    """The mirror of PyPI that uv or pip is configured with. uv.lock is read with PyPI's own name."""
    given = (os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"))
    pip = [str(toolchain.PYTHON / "bin" / "python"), "-m", "pip", "config", "get", "global.index-url"]
    return next(filter(None, given), None) or toolchain.answer(pip)


def compiler() -> list[str]:
    manifest = f"{os.environ.get('RUSTUP_DIST_SERVER') or RUST}{STABLE}"
    with urllib.request.urlopen(manifest, timeout=60) as answer:
        text = answer.read().decode("utf-8")
    newest = re.search(r'^\[pkg\.rustc\]\nversion = "([0-9.]+)', text, re.MULTILINE)
    if newest is None:
        raise OSError(f"{manifest} does not name a compiler")
    behind = newest[1] != toolchain.CHANNEL
    return [f"Rust {toolchain.CHANNEL} -> {newest[1]}"] if behind else []


def build_image() -> list[str]:
    """Whether the tag of the Dockerfile's build image has a newer digest than the pinned one."""
    tag, pinned = pinned_image((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    newest = oci.Registry("registry-1.docker.io/library/rust").digest_of(tag)
    return [f"rust:{tag} {pinned} -> {newest or 'gone'}"] if newest != pinned else []


def pinned_image(text: str) -> tuple[str, str]:
    """The tag and the digest of the image that the Dockerfile compiles in."""
    found = PINNED_IMAGE.search(text)
    if found is None:
        raise build.BuildError("the Dockerfile pins no Rust image by tag and digest")
    return found[1], found[2]


PARTS: dict[str, Callable[[], list[str]]] = {
    "crates": crates,
    "wheels": wheels,
    "compiler": compiler,
    "the build image": build_image,
}

if __name__ == "__main__":
    sys.exit(main())
