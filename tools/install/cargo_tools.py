"""Programs that Cargo compiles, unless their release can be downloaded: Trunk, wasm-bindgen, cargo-deny and so on.

Releases are those of the projects at GitHub, each pinned by the SHA-256 of its archive. They save the first start three
minutes of compiling. Where a version has no pin for this processor, or the download fails, it is compiled from source.
"""

import hashlib
import http.client
import io
import os
import platform
import shutil
import tarfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tools.common import toolchain
from tools.install.progress import COMPILE, Job

# Tools that run for seconds a day: compile them quickly rather than well.
QUICK_PROFILE = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_DEBUG": "false",
    "CARGO_PROFILE_RELEASE_STRIP": "true",
}
# A server that is not there must not hold up the first start; 10 MB take ten seconds at 8 Mbit/s.
SILENCE_SECONDS = 10
# Ten times the largest archive; an answer without an end must not fill the memory.
ARCHIVE_BYTES = 100_000_000


# By program, version and processor: an archive and its SHA-256, which the project publishes beside it.
RELEASES = {
    ("trunk", "0.21.14", "x86_64"): (
        "https://github.com/trunk-rs/trunk/releases/download/v0.21.14/trunk-x86_64-unknown-linux-gnu.tar.gz",
        "f2b4680cd239693a646a2795e4633c625328d7b2a044fbe749fa3a2fe9e7036b",
    ),
    ("trunk", "0.21.14", "aarch64"): (
        "https://github.com/trunk-rs/trunk/releases/download/v0.21.14/trunk-aarch64-unknown-linux-gnu.tar.gz",
        "b1d8e60e454f7fc182d9a4d95d1506ffbae947d8ba90f8f6f02da93b60f980f9",
    ),
    ("cargo-deny", "0.20.2", "x86_64"): (
        "https://github.com/EmbarkStudios/cargo-deny/releases/download/0.20.2/cargo-deny-0.20.2-x86_64-unknown-linux-musl.tar.gz",
        "9f12ed4c49936e09b48bf862b595cde2fe64fcbd9d74dfacac6131ca824c8d5f",
    ),
    ("wasm-bindgen", "0.2.129", "x86_64"): (
        "https://github.com/wasm-bindgen/wasm-bindgen/releases/download/0.2.129/wasm-bindgen-0.2.129-x86_64-unknown-linux-musl.tar.gz",
        "82d12bb940e2d4e72e0d5605387fc1b8ca179044e012b620f0ce4e7440e8320e",
    ),
    ("wasm-bindgen", "0.2.129", "aarch64"): (
        "https://github.com/wasm-bindgen/wasm-bindgen/releases/download/0.2.129/wasm-bindgen-0.2.129-aarch64-unknown-linux-musl.tar.gz",
        "2ed4351c35dd9440308bbb02767d47ea278efe851a52465300f3c94f5b6c2a87",
    ),
}


def cargo_install(job: Job, binary: str, version: str, options: Sequence[str], crate: str) -> None:
    """Provide exactly this version: from PATH, from a pinned release, or compiled."""
    found = toolchain.program(binary)
    if found and version in (toolchain.answer([found, "--version"]) or "").split()[:2]:
        job.say(f"{found} is {version} already")
        return
    if download_release(job, binary, version):
        return
    folder = toolchain.TOOLS / "build" / crate
    place = ["--root", str(toolchain.TOOLS), "--force"]
    job.run(
        # A company may have another default, for what its employees publish.
        ["cargo", "install", crate, "--version", version, "--locked", "--registry", "crates-io", *place, *options],
        COMPILE,
        # A user's `build.target` is for other projects.
        variables={**toolchain.cargo_folders(folder), "CARGO_BUILD_TARGET": "host-tuple", **QUICK_PROFILE},
    )
    shutil.rmtree(folder)


def download_release(job: Job, program: str, version: str) -> bool:
    """Put a program of a release into `.tools/bin`; False, with the reason in the log, where that fails."""
    if program not in {name for name, _version, _processor in RELEASES}:
        return False
    release = RELEASES.get((program, version, platform.machine()))
    if release is None:
        job.say(f"no prebuilt {program} {version} is pinned for {platform.machine()}; compiling it")
        return False
    try:
        binary = extracted(program, *release)
    except (OSError, ValueError, tarfile.TarError, http.client.HTTPException) as error:
        job.say(f"the prebuilt {program} cannot be used ({error}); compiling it")
        return False
    place = toolchain.BIN / program
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f"{program}.unfinished")
    unfinished.write_bytes(binary)
    unfinished.chmod(0o755)
    # A program for a newer C library than this machine's starts with an error.
    if version not in (toolchain.answer([str(unfinished), "--version"]) or "").split():
        unfinished.unlink()
        job.say(f"the prebuilt {program} does not start here; compiling it")
        return False
    os.replace(unfinished, place)
    job.say(f"{program} {version} is the project's own release")
    return True


def extracted(program: str, url: str, sha256: str) -> bytes:
    """The program inside an archive whose digest is the pinned one."""
    with urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as answer:
        archive = answer.read(ARCHIVE_BYTES)
    found = hashlib.sha256(archive).hexdigest()
    if found != sha256:
        raise ValueError(f"SHA-256 {found} instead of {sha256}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            if member.isfile() and Path(member.name).name == program and (file := files.extractfile(member)):
                return file.read()
    raise ValueError(f"it has no {program}")
