"""Every version this repository is built with, in one place.

Three facts have a home of their own and are read from there: the Rust channel
(/rust-toolchain.toml), the version of wasm-bindgen (/Cargo.lock: the command
line tool must match the library exactly) and the Python packages (/pyproject.toml
and /uv.lock).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# The newest Trunk that the pinned Rust channel compiles; 0.22 requires Rust 1.96.1.
TRUNK = "0.21.14"

# The tool that embeds the list of crates into each binary; sbom.py reads it.
CARGO_AUDITABLE = "0.7.7"
# Checks licenses, sources, banned crates and advisories (deny.toml).
CARGO_DENY = "0.20.2"
CARGO_FUZZ = "0.13.1"

# Debian keeps a recent Rust beside its stable one, to be able to build browsers.
DEBIAN_RUST = ("rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy", "rustfmt-web")
# The oldest Rust that compiles this workspace and Trunk.
DEBIAN_RUST_MINIMUM = "1.95.0"
DEBIAN_C_COMPILER = ("gcc", "libc6-dev")
# Of the Python that runs: python3-venv is that of the distribution's own.
DEBIAN_VENV = (f"python3.{sys.version_info[1]}-venv",)
# A browser without a font draws empty boxes, and the screenshots show them.
DEBIAN_CHROMIUM = ("chromium", "fonts-liberation")
DEBIAN_FIREFOX = ("firefox-esr", "fonts-liberation")
DEBIAN_PROMTOOL = "prometheus"
DEBIAN_REGISTRY = "docker-registry"

# The first that reads the top-level `name` of docker-compose.yaml.
COMPOSE_MINIMUM = "2.3.3"

# The crates of std that make a target complete: both panic strategies, macros and `#[test]`.
STD_CRATES = ("std", "panic_abort", "panic_unwind", "proc_macro", "test")


def read(file: Path, pattern: str) -> str:
    """The version that a pattern finds in a file."""
    found = re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{file} has no version: nothing matches {pattern}")
    return found[1]


def rust_channel(root: Path) -> str:
    return read(root / "rust-toolchain.toml", r'^channel\s*=\s*"([^"]+)"')


def workspace(root: Path) -> str:
    return read(root / "Cargo.toml", r'^version = "([^"]+)"')


def aws_provider(root: Path) -> str:
    """The version of Terraform's AWS provider that tf/ pins."""
    return read(root / "tf" / "versions.tf", r'source\s*=\s*"hashicorp/aws"\s*version\s*=\s*"([0-9.]+)"')


def wasm_bindgen(root: Path) -> str:
    """The version of wasm-bindgen in Cargo.lock; Python 3.9 has no TOML parser, and Cargo fixes the file's format."""
    return read(root / "Cargo.lock", r'^name = "wasm-bindgen"\nversion = "([^"]+)"')


def locked_checksums(lock: str) -> dict[tuple[str, str], str]:
    """The SHA-256 of each crate that comes from a registry, by name and version."""
    entry = re.compile(
        r'^name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"', re.MULTILINE
    )
    return {(name, version): checksum for name, version, checksum in entry.findall(lock)}


def dependency_groups(manifest: str) -> dict[str, str]:
    """The text of each dependency group in the text of pyproject.toml, by name.

    Like the lock's, its format is simple enough for Python 3.9: each group begins a line.
    """
    section = manifest.partition("[dependency-groups]\n")[2].partition("\n[")[0]
    return dict(re.findall(r"^([a-z-]+) = \[(.*?)\]$", section, re.MULTILINE | re.DOTALL))


def locked_wheels(lock: str, package: str) -> tuple[str, list[str]]:
    """The version of a package in the text of uv.lock, and the hashes of its wheels."""
    entry = re.search(
        rf'^name = "{re.escape(package)}"\nversion = "([^"]+)"\n(?:[a-z][^\n]*\n)*?wheels = \[\n(.*?)^\]',
        lock,
        re.MULTILINE | re.DOTALL,
    )
    if entry is None:
        raise ValueError(f"uv.lock has no wheels of {package}")
    return entry[1], re.findall(r'hash = "(sha256:[0-9a-f]{64})"', entry[2])


def at_least(version: str, minimum: str) -> bool:
    """Whether a version such as `1.96.0+dfsg1-1` is not older than `1.95.0`."""
    return _numbers(version) >= _numbers(minimum)


def _numbers(version: str) -> tuple[int, ...]:
    upstream = re.match(r"[0-9.]*", version.split(":")[-1])
    return tuple(int(part) for part in upstream[0].split(".") if part) if upstream else ()
