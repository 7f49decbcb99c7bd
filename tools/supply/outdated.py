"""`make outdated`: which pins are behind: crates, wheels, the compiler and the build image.

It changes nothing. What is behind is listed and is no failure; what cannot be asked is.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request

from tools.build import build
from tools.ci import github
from tools.common import toolchain
from tools.common.progress import exit_code, output
from tools.common.toolchain import ROOT

QUERY_SECONDS = 300
# The manifest of Rust's stable channel.
RUST = "https://static.rust-lang.org/dist/channel-rust-stable.toml"
# Docker Hub: an anonymous token, and what a tag means now.
TOKEN = "https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/rust:pull"
MANIFEST = "https://registry-1.docker.io/v2/library/rust/manifests/"
INDEXES = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
PINNED_IMAGE = re.compile(r"^ARG RUST_IMAGE=rust:(\S+)@(sha256:[0-9a-f]{64})$", re.MULTILINE)


def main() -> int:
    return exit_code("outdated", report)


def report() -> None:
    build.ensure_tools("build")
    parts = {"crates": crates(), "wheels": wheels(), "compiler": compiler(), "the build image": build_image()}
    lines = [f"{part}: {line}" for part, found in parts.items() for line in found or ["up to date"]]
    print("\n".join(lines))
    github.summary("\n".join(["```", *lines, "```"]))


def crates() -> list[str]:
    """Updates within the version ranges of the manifests, and newer versions beyond them."""
    text = output(["cargo", "update", "--dry-run", "--verbose"], QUERY_SECONDS, with_errors=True)
    return [line.strip() for line in text.splitlines() if re.match(r"\s*(Updating \S+ v|Unchanged .*available)", line)]


def wheels() -> list[str]:
    """Packages of uv.lock with versions that are newer, and at least a week old."""
    command = [str(toolchain.TOOLS / "uv" / "bin" / "uv"), "lock", "--upgrade", "--dry-run"]
    text = output(command, QUERY_SECONDS, with_errors=True)
    return [line for line in text.splitlines() if line.startswith(("Update ", "Add ", "Remove "))]


def compiler() -> list[str]:
    with urllib.request.urlopen(RUST, timeout=60) as answer:
        text = answer.read().decode("utf-8")
    newest = re.search(r'^\[pkg\.rustc\]\nversion = "([0-9.]+)', text, re.MULTILINE)
    if newest is None:
        raise OSError(f"{RUST} does not name a compiler")
    behind = newest[1] != toolchain.CHANNEL
    return [f"Rust {toolchain.CHANNEL} -> {newest[1]}"] if behind else []


def build_image() -> list[str]:
    """Whether the tag of the Dockerfile's build image has a newer digest than the pinned one."""
    tag, pinned = pinned_image((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    with urllib.request.urlopen(TOKEN, timeout=60) as answer:
        token = json.load(answer)["token"]
    headers = {"authorization": f"Bearer {token}", "accept": INDEXES}
    request = urllib.request.Request(MANIFEST + tag, method="HEAD", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        newest = answer.headers["docker-content-digest"]
    return [f"rust:{tag} {pinned} -> {newest}"] if newest != pinned else []


def pinned_image(text: str) -> tuple[str, str]:
    """The tag and the digest of the image that the Dockerfile compiles in."""
    found = PINNED_IMAGE.search(text)
    if found is None:
        raise build.BuildError("the Dockerfile pins no Rust image by tag and digest")
    return found[1], found[2]


if __name__ == "__main__":
    sys.exit(main())
