"""Programs that Cargo compiles, unless their release can be downloaded: Trunk, wasm-bindgen, cargo-deny and so on.

Releases are those of the projects at GitHub, each pinned by the SHA-256 of its archive. They save the first start three
minutes of compiling. Where a version has no pin for this processor, or the download fails, it is compiled from source.
"""

import hashlib
import io
import os
import platform
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import NamedTuple

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


class Release(NamedTuple):
    """An archive of a release: where it is, its digest, and the program's path inside."""

    url: str
    sha256: str
    member: str


# By program, version and processor. The digests are those that the projects publish beside their archives.
RELEASES = {
    ("trunk", "0.21.14", "x86_64"): Release(
        "https://github.com/trunk-rs/trunk/releases/download/v0.21.14/trunk-x86_64-unknown-linux-gnu.tar.gz",
        "f2b4680cd239693a646a2795e4633c625328d7b2a044fbe749fa3a2fe9e7036b",
        "trunk",
    ),
    ("trunk", "0.21.14", "aarch64"): Release(
        "https://github.com/trunk-rs/trunk/releases/download/v0.21.14/trunk-aarch64-unknown-linux-gnu.tar.gz",
        "b1d8e60e454f7fc182d9a4d95d1506ffbae947d8ba90f8f6f02da93b60f980f9",
        "trunk",
    ),
    ("cargo-deny", "0.20.2", "x86_64"): Release(
        "https://github.com/EmbarkStudios/cargo-deny/releases/download/0.20.2/cargo-deny-0.20.2-x86_64-unknown-linux-musl.tar.gz",
        "9f12ed4c49936e09b48bf862b595cde2fe64fcbd9d74dfacac6131ca824c8d5f",
        "cargo-deny-0.20.2-x86_64-unknown-linux-musl/cargo-deny",
    ),
    ("wasm-bindgen", "0.2.129", "x86_64"): Release(
        "https://github.com/wasm-bindgen/wasm-bindgen/releases/download/0.2.129/wasm-bindgen-0.2.129-x86_64-unknown-linux-musl.tar.gz",
        "82d12bb940e2d4e72e0d5605387fc1b8ca179044e012b620f0ce4e7440e8320e",
        "wasm-bindgen-0.2.129-x86_64-unknown-linux-musl/wasm-bindgen",
    ),
    ("wasm-bindgen", "0.2.129", "aarch64"): Release(
        "https://github.com/wasm-bindgen/wasm-bindgen/releases/download/0.2.129/wasm-bindgen-0.2.129-aarch64-unknown-linux-musl.tar.gz",
        "2ed4351c35dd9440308bbb02767d47ea278efe851a52465300f3c94f5b6c2a87",
        "wasm-bindgen-0.2.129-aarch64-unknown-linux-musl/wasm-bindgen",
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
        ["cargo", "install", crate, "--version", version, "--locked", *place, *options],
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
        binary = extract(download(release.url), release)
    except Unusable as error:
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


class Unusable(Exception):
    """An archive did not arrive, or is not the one that was pinned."""


def download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as answer:
            content = answer.read(ARCHIVE_BYTES + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise Unusable(str(error)) from None
    if len(content) > ARCHIVE_BYTES:
        raise Unusable(f"more than {ARCHIVE_BYTES} bytes")
    return content


def extract(archive: bytes, release: Release) -> bytes:
    """The program inside an archive whose digest is the pinned one."""
    found = hashlib.sha256(archive).hexdigest()
    if found != release.sha256:
        raise Unusable(f"SHA-256 {found} instead of {release.sha256}")
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
            member: io.BufferedReader | None = files.extractfile(release.member)  # type: ignore[assignment]
            if member is None:
                raise Unusable(f"{release.member} is not a file")
            return member.read()
    except (tarfile.TarError, KeyError, OSError) as error:
        raise Unusable(f"{release.member}: {error}") from None
