"""`make check`: formatting, lints, documents, workflows, the Dockerfile, dependency rules, licenses and sources.

`make audit` checks the crates of Cargo.lock against RustSec's database.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tools.build import build
from tools.ci import modules
from tools.common import catalog, toolchain
from tools.common.progress import dispatch, output
from tools.common.toolchain import ROOT

LINT_SECONDS = 1200
METADATA_SECONDS = 120
# Folders of Python.
SCRIPTS = ("tools", "e2e", "bench")

CRATES = {"wire", "http-semantics", "service", "server", "testing"}
SERVICES = {*catalog.NAMES, "app"}
# Crates that every service may depend on; stats also on `wire`.
SHARED = {"http-semantics", "service", "server"}

# docs/architecture.md, "Dependency rules": for each member the members it may depend on. Who may name
# which crate from outside is in deny.toml.
ALLOWED = {
    **{name: set() for name in (*CRATES, "bench")},
    **dict.fromkeys(catalog.NAMES, SHARED),
    "stats": {"wire", *SHARED},
    "app": {"wire"},
}
# In tests only.
ALLOWED_IN_TESTS = {"testing"}
# Folders and files whose code must not name these things.
INPUT_OUTPUT = (
    r"\b(std::(fs|io|net|env|process)|tokio|hyper|yew|web_sys)\b"
    # `core::net` has addresses only.
    r"|(?<!core::)\b(fs|File|net|env)::|\bstd::\{.*\b(fs|io|net|env|process)\b"
    r"|::current(_with_system_info)?\("
)
CLOCK = r"\b(Instant|SystemTime)\b"
SILENT = {
    "crates/wire/src": INPUT_OUTPUT,
    "crates/http-semantics/src": f"{INPUT_OUTPUT}|{CLOCK}",
    "services/stats/src/collect": f"{INPUT_OUTPUT}|{CLOCK}",
    **{
        f"services/stats/src/{place}": f"{INPUT_OUTPUT}|{CLOCK}"
        for place in (
            *("rates.rs", "rates", "reading.rs", "rounding.rs", "scope.rs"),
            *("history.rs", "history/metrics.rs", "history/format.rs"),
            *("exposition.rs", "metrics.rs", "metrics", "replay_buffer.rs", "query.rs"),
            *("alerts.rs", "alerts", "alertmanager.rs", "alertmanager", "emf.rs"),
            *("monitor.rs", "monitor", "recorder.rs", "recorder"),
            *("glob.rs", "labels.rs", "summary.rs"),
        )
    },
    "crates/server/src": r"\b(std::env|env::var|tokio::signal|signal::)\b",
}


def main(arguments: list[str]) -> int:
    return dispatch("check", {"": check, "audit": audit}, arguments)


def check() -> int:
    begun = time.monotonic()
    build.ensure_tools("build", "check")
    steps = {
        "format": ["cargo", "fmt", "--all", "--check"],
        "lints": [*clippy("--workspace", "--exclude", "app", "--all-targets")],
        "lints of the development server": clippy("--package", "frontend", "--features", "dev"),
        "lints of the page": clippy("--package", "app", "--target", toolchain.WASM_TARGET),
        "lock of the Python packages": [
            *(str(toolchain.TOOLS / "uv" / "bin" / "uv"), "lock", "--check", "--offline", "--quiet")
        ],
        "licenses and sources": deny("licenses", "bans", "sources"),
        "workflows": workflows(ROOT),
        "security of the workflows": [*(lint("zizmor"), "--offline", "--persona", "pedantic", "--quiet", ".github")],
        "rules of the workflows": [lint("python"), "-m", "tools.ci.workflows.rules"],
        "Dockerfile": [lint("hadolint"), "Dockerfile"],
        "lints of the scripts": [lint("ruff"), "check", "--quiet", *SCRIPTS],
        "format of the scripts": [lint("ruff"), "format", "--check", "--quiet", *SCRIPTS],
        "types of the scripts": [lint("mypy"), "--no-error-summary", "tools"],
        "documents": [sys.executable, "-m", "tools.ci.documents"],
        "wording of comments": [sys.executable, "-m", "tools.ci.comments"],
        "spelling": [lint("typos")],
    }
    failed = [title for title, command in steps.items() if not passes(title, command)]
    broken = list(broken_rules(metadata(), ROOT))
    for sentence in broken:
        print(f"check: {sentence}", file=sys.stderr)
    if failed or broken:
        print(f"check: failed: {', '.join([*failed, *(['dependency rules'] if broken else [])])}")
        return 1
    print(f"check: all good after {time.monotonic() - begun:.0f} s", flush=True)
    return 0


def lint(program: str) -> str:
    return str(toolchain.TOOLS / "lint" / "bin" / program)


def workflows(root: Path) -> list[str]:
    """actionlint with all workflows by name: it finds them only beside .git, not in a folder of another repository."""
    return [lint("actionlint"), "-shellcheck=", "-pyflakes=", *map(str, root.glob(".github/workflows/*.yaml"))]


def clippy(*selection: str) -> list[str]:
    return ["cargo", "clippy", "--quiet", "--locked", *selection, "--", "--deny", "warnings"]


def deny(*checks: str) -> list[str]:
    """cargo-deny with deny.toml, without its warnings."""
    options = ["--hide-inclusion-graph", "--deny", "unmatched-skip"]
    return ["cargo", "deny", "--locked", "--log-level", "error", "check", *options, *checks]


def audit() -> int:
    """Known vulnerabilities, withdrawn versions and unmaintained crates."""
    build.ensure_tools("check")
    if not passes("advisories", deny("advisories")):
        print(
            "check: failed: advisories. The lines above say which crate, or that RustSec's database"
            " (github.com/rustsec/advisory-db) cannot be reached: then nothing was checked"
        )
        return 1
    print("check: no advisory affects the used crates")
    return 0


def passes(title: str, command: list[str]) -> bool:
    print(f"check: {title}", flush=True)
    environment = toolchain.environment()
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=LINT_SECONDS).returncode == 0


def metadata() -> dict:
    return json.loads(output(["cargo", "metadata", "--locked", "--format-version", "1", "--no-deps"], METADATA_SECONDS))


def broken_rules(workspace: dict, root: Path) -> Iterator[str]:
    """A message for each dependency or name that docs/architecture.md does not allow."""
    for package in workspace["packages"]:
        name = package["name"]
        if name not in ALLOWED:
            yield f"{name} is new: add its dependencies to tools/ci/check.py and docs/architecture.md"
            continue
        for dependency in package["dependencies"]:
            other = dependency["name"]
            allowed = ALLOWED[name]
            if dependency["kind"] == "dev":
                allowed = allowed | ALLOWED_IN_TESTS
            if other in CRATES | SERVICES and other not in allowed:
                yield f"{name} must not depend on {other}"
    for source in sorted((*root.glob("crates/*/src"), *root.glob("services/**/src"))):
        for cycle in modules.cycles(source):
            yield f"{source.relative_to(root)}: {cycle}"
    for place, forbidden in SILENT.items():
        for file in sorted((root / place).rglob("*.rs")) or [root / place]:
            for number, line in enumerate(code_lines(file.read_text(encoding="utf-8")), 1):
                if found := re.search(forbidden, line):
                    yield f"{file.relative_to(root)}:{number} must not name {found.group(0)}"


def code_lines(text: str) -> Iterator[str]:
    """The lines of a source file; comments are emptied, and the tests at its end left out."""
    for line in text.splitlines():
        if line.strip() in ("#[cfg(test)]", "#![cfg(test)]"):
            return
        yield "" if line.lstrip().startswith("//") else line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
