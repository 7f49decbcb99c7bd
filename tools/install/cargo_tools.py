"""Programs that Cargo compiles, unless their release can be downloaded: Trunk, wasm-bindgen, cargo-deny and so on."""

import shutil

from tools.common import toolchain, versions
from tools.common.toolchain import ROOT
from tools.install import prebuilt
from tools.install.progress import COMPILE, Failed, Job

# Tools that run for seconds a day: compile them quickly rather than well.
QUICK_PROFILE = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_DEBUG": "false",
    "CARGO_PROFILE_RELEASE_STRIP": "true",
}


def wasm_bindgen(job: Job) -> None:
    version = versions.wasm_bindgen(ROOT)
    if version is None:
        raise Failed("Cargo.lock names no wasm-bindgen; `tools/with cargo update -w` writes one")
    # Without its default features: they are for the test runner's downloads.
    cargo_install(job, "wasm-bindgen", version, "--no-default-features", crate="wasm-bindgen-cli")


def already(job: Job, binary: str, version: str) -> bool:
    """Whether exactly this version is on PATH."""
    found = toolchain.program(binary)
    if not found or version not in (toolchain.answer([found, "--version"]) or "").split()[:2]:
        return False
    job.say(f"{found} is {version} already")
    return True


def cargo_install(job: Job, binary: str, version: str, *options: str, crate: str = "") -> None:
    """Provide exactly this version: from PATH, from a pinned release, or compiled."""
    if already(job, binary, version) or prebuilt.install(job, binary, version):
        return
    crate = crate or binary
    folder = toolchain.TOOLS / "build" / crate
    place = ["--root", str(toolchain.TOOLS), "--force"]
    job.run(
        ["cargo", "install", crate, "--version", version, *place, *options],
        COMPILE,
        # A user's `build.target` is for other projects.
        variables={**toolchain.cargo_folders(folder), "CARGO_BUILD_TARGET": "host-tuple", **QUICK_PROFILE},
    )
    shutil.rmtree(folder)
