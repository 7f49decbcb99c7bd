"""The standard libraries of a release: one for the page, one for the services.

The official one brings what a release cannot use: backtraces need the unwinding tables that are left
out, and a visitor of the page never sees a panic's message.
"""

from __future__ import annotations

import json
import shutil

from tools.common import toolchain
from tools.common.files import identity
from tools.common.toolchain import NO_TABLES, PAGE_FLAGS, WASM_TARGET
from tools.install import rust
from tools.install.progress import Failed, Job
from tools.install.step import Step

# Also unstable in Cargo: a leaner core, chosen when std itself is compiled. No other feature is
# enabled, so backtraces are left out.
BUILD_STD = ("-Z", "build-std=std,panic_abort", "-Z", "build-std-features=optimize_for_size")


def small_std(target: str) -> Step:
    """The step of a std for releases. `outdated` has what was built with the std that is replaced."""
    level: str | int = "z"
    root, outdated = toolchain.small_std_root(target), toolchain.PAGE_TARGET
    what, flags, loss = "the page", PAGE_FLAGS, "the page will be about 10 kB larger"
    if target != WASM_TARGET:
        level, outdated = 2, toolchain.TARGET / target / "release"
        what, flags, loss = "the services", ("-Cpanic=abort", NO_TABLES), "each service will be about 300 kB larger"

    def inputs() -> object:
        route = toolchain.expected_route()
        rustc = identity(toolchain.program("rustc", route))
        return route, toolchain.CHANNEL, rustc, level, BUILD_STD, flags, root.is_dir()

    def install(job: Job) -> None:
        """Without its sources, releases are built with the ordinary std: they are larger and work as well."""
        shutil.rmtree(root, ignore_errors=True)
        unfinished = root.with_name(f"{root.name}.unfinished")
        library = unfinished / "lib" / "rustlib" / target / "lib"
        route, profile = toolchain.route(), f"opt-level = {json.dumps(level)}\n"
        try:
            if route == "rustup":
                command = ["rustup", "component", "add", "--toolchain", toolchain.CHANNEL, "rust-src"]
                job.run(command, rust.RUSTUP, route="rustup")
            rust.compile_std(job, root.name, target, library, BUILD_STD, route=route, flags=flags, profile=profile)
        except Failed as failure:
            job.say(f"SKIPPED: {failure}; with the ordinary std, {loss}. To try again, remove .tools/stamp/{root.name}")
            return
        unfinished.rename(root)
        # Cargo does not see that a std was replaced by another, and would mix the two.
        shutil.rmtree(outdated, ignore_errors=True)

    return Step(root.name, f"a small std for {what}", "about 1 min", inputs, install)
