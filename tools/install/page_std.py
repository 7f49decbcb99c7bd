"""A std for the page alone: compiled for size, and a panic stops the program without a word.

The official one brings what writes a panic's message, a sixth of what the page's visitors load.
"""

from __future__ import annotations

import shutil

from tools.common import toolchain
from tools.common.files import identity
from tools.common.toolchain import PAGE_FLAGS, WASM_TARGET
from tools.install import rust, std
from tools.install.progress import Failed, Job

# Also unstable in Cargo: a leaner core, chosen when std itself is compiled.
BUILD_STD = ("-Z", "build-std=std,panic_abort", "-Z", "build-std-features=optimize_for_size")
PROFILE = 'opt-level = "z"\n'


def page_std(job: Job) -> None:
    """Compile it. Where its sources cannot be had the page is built with the ordinary std: it is
    larger, and works as well."""
    shutil.rmtree(toolchain.page_std_root(), ignore_errors=True)
    try:
        if toolchain.route() == "rustup":
            rust.add_sources(job)
        compile_page_std(job)
    except Failed as failure:
        job.say(
            f"SKIPPED: {failure}; the page will be built with the ordinary std, about 10 kB larger."
            " To try again, remove .tools/stamp/page-std"
        )


def page_std_inputs() -> object:
    """Inputs of the step."""
    route = toolchain.expected_route()
    rustc = identity(toolchain.program("rustc", route))
    folder = toolchain.page_std_root()
    return route, toolchain.CHANNEL, rustc, PROFILE, BUILD_STD, PAGE_FLAGS, folder.is_dir()


def compile_page_std(job: Job) -> None:
    """Compile std and put it where `--sysroot` can point."""
    unfinished = toolchain.TOOLS / "page-std.unfinished"
    library = unfinished / "lib" / "rustlib" / WASM_TARGET / "lib"
    route = toolchain.route()
    std.compile_std(job, "page-std", WASM_TARGET, library, BUILD_STD, route=route, flags=PAGE_FLAGS, profile=PROFILE)
    unfinished.rename(toolchain.page_std_root())
    # Cargo does not see that a std was replaced by another, and would mix the two.
    shutil.rmtree(toolchain.PAGE_TARGET, ignore_errors=True)
