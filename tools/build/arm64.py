"""`make test-arm64`: the binaries for the other processor, built here and run under an emulator.

Each prints its version, all together serve the page and the figures, and end cleanly. They are compiled quickly
rather than well (no link-time optimization): the test is whether the code and its C parts build for aarch64 and run
there; how fast or small they are is measured elsewhere. `release` as an argument takes the binaries of
`ARCHITECTURE=aarch64 make build` as they are shipped.
"""

import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from tools.build import build
from tools.common import debian_program, toolchain
from tools.common.progress import Failed, dispatch
from tools.local import processes
from tools.supply import oci, sbom

MACHINE = "aarch64"
PACKAGE, EMULATOR = "qemu-user-static", "usr/bin/qemu-aarch64-static"
# Like the release, but compiled and linked in a fraction of the time.
PROFILE = "arm64"


def main(arguments: list[str]) -> int:
    targets = {"": partial(check_all, release=False), "release": partial(check_all, release=True)}
    return dispatch("arm64", targets, arguments, "FAILED: ")


def check_all(release: bool) -> None:
    begun = time.monotonic()
    os.environ["ARCHITECTURE"] = MACHINE
    binaries = build.build(build.RELEASE) if release else build_quickly()
    installed = shutil.which(Path(EMULATOR).name)
    emulator = [installed] if installed else debian_program.find(PACKAGE, EMULATOR)
    for name, path in binaries.items():
        check(name, path, emulator)
    with processes.beside(build.RELEASE if release else PROFILE, "arm64", emulator) as system:
        children = {**system.children}
    if codes := {name: child.returncode for name, child in children.items() if child.returncode}:
        raise Failed(f"exit codes after SIGTERM: {codes}")
    print(f"arm64: all good after {time.monotonic() - begun:.0f} s")


def build_quickly() -> dict[str, Path]:
    """All three at once, with the page that is there."""
    build.ensure_tools("build")
    if not (build.PAGE / "dist" / "index.html").is_file():
        build.build_page(build.RELEASE)
    target = toolchain.musl_target()
    packages = [word for name in build.SERVICES for word in ("--package", name)]
    command = ["cargo", "auditable", "zigbuild", "--locked", "--profile", PROFILE, "--target", target, *packages]
    build.run("binaries for arm64", command, variables=toolchain.own_flags(target))
    return {name: build.TARGET / target / PROFILE / name for name in build.SERVICES}


def check(name: str, path: Path, emulator: list[str]) -> None:
    """The processor and the version of one binary."""
    binary = path.read_bytes()
    if oci.machine(binary) != "ARM64":
        raise Failed(f"{name} is for {oci.machine(binary)}")
    listed = next(package for package in sbom.packages(binary) if package.get("root"))
    version = toolchain.answer([*emulator, str(path), "--version"]) or ""
    if not version.startswith(f"{name} {listed['version']}"):
        raise Failed(f"{name} --version printed {version!r}")
    print(f"arm64: {version}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
