"""`make test-arm64`: the binaries for the other processor, built here and run under an emulator.

Each says its version, starts, answers and ends cleanly. Compiling is done quickly rather than well
(no link-time optimisation): what is tested is that the code and its C parts build for aarch64 and
run there; how fast or small they are is measured elsewhere. `release` as an argument takes the
binaries of `ARCHITECTURE=aarch64 make build` as they are shipped.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tools.build import build
from tools.common import catalog, debian_program, toolchain
from tools.common.ports import free_port
from tools.common.progress import Failed, dispatch

MACHINE = "aarch64"
PACKAGE, EMULATOR = "qemu-user-static", "usr/bin/qemu-aarch64-static"
# Like the release, but compiled and linked in a fraction of the time.
PROFILE = "arm64"
# An emulated processor is ten times slower, on a machine that may do something else too.
ANSWER_SECONDS = 60
STOP_SECONDS = 30
# The gateway runs without upstreams.
UNREACHABLE = catalog.gateway_settings(catalog.ALL.values(), dict.fromkeys(catalog.NAMES, "127.0.0.1:1"))


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
    """One binary, from its version to its end."""
    from tools.supply import oci, sbom

    binary = path.read_bytes()
    if oci.machine(binary) != "ARM64":
        raise Failed(f"{name} is for {oci.machine(binary)}")
    listed = next(package for package in sbom.packages(binary) if package.get("root"))
    version = toolchain.answer([*emulator, str(path), "--version"])
    if not (version or "").startswith(f"{name} {listed['version']}"):
        raise Failed(f"{name} --version said {version!r}")
    service = catalog.ALL[name]
    settings = {**UNREACHABLE, "GATEWAY_ADMIN_LISTEN": "off"} if service.public else {}
    place, expected = ("/readyz", 503) if service.public else (service.route, 200)
    with running(name, path, emulator, settings) as (process, url):
        health = json.loads(answer(f"{url}/healthz", 200, process))
        if health["status"] != "ok" or health["version"] != listed["version"]:
            raise Failed(f"{name} /healthz said {health}")
        body = answer(url + place, expected, process)
        if name == "stats" and not 0 <= json.loads(body)["cpu"] <= 100:
            raise Failed(f"stats said {body!r}")
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{name} had not ended {STOP_SECONDS} s after SIGTERM") from None
        if code:
            raise Failed(f"{name} ended with exit code {code} after SIGTERM")
        took = time.monotonic() - begun
    print(f"arm64: {version}: answers and ends within {took:.1f} s of SIGTERM", flush=True)


@contextmanager
def running(name: str, path: Path, emulator: list[str], settings: dict) -> Iterator[tuple]:
    port = free_port()
    listen = {catalog.ALL[name].listen_setting: f"127.0.0.1:{port}", "LOG_LEVEL": "warn"}
    process = subprocess.Popen([*emulator, str(path)], env={**listen, **settings})
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def answer(url: str, expected: int, process: subprocess.Popen) -> bytes:
    """The answer, once it has the expected status."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answered:
                status, body = answered.status, answered.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        except OSError as error:
            status, body = 0, str(error).encode()
        if status == expected:
            return body
        if process.poll() is not None:
            raise Failed(f"{url}: the service ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"{url} was answered {status} {body[:200]!r}, not {expected}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
