"""The standard libraries of a release: one for the page, one for the services.

The official one brings what a release cannot use: backtraces need the unwinding tables that are left
out, and a visitor of the page never sees a panic's message.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.common import toolchain
from tools.common.files import identity
from tools.common.toolchain import NO_TABLES, PAGE_FLAGS, WASM_TARGET
from tools.install import rust
from tools.install.progress import Failed, Job

# Also unstable in Cargo: a leaner core, chosen when std itself is compiled. No other feature is
# enabled, so backtraces are left out.
BUILD_STD = ("-Z", "build-std=std,panic_abort", "-Z", "build-std-features=optimize_for_size")


@dataclass(frozen=True)
class SmallStd:
    """A std for one target."""

    target: str
    flags: tuple[str, ...]
    level: str | int
    # Built files that contain the std that is replaced.
    outdated: Path
    # Text about builds without it.
    loss: str

    @classmethod
    def of(cls, target: str) -> SmallStd:
        if target == WASM_TARGET:
            return cls(target, PAGE_FLAGS, "z", toolchain.PAGE_TARGET, "the page will be about 10 kB larger")
        release = toolchain.TARGET / target / "release"
        flags = ("-Cpanic=abort", NO_TABLES)
        return cls(target, flags, 2, release, "each service will be about 300 kB larger")

    @property
    def root(self) -> Path:
        return toolchain.small_std_root(self.target)

    @property
    def name(self) -> str:
        """Name of the step."""
        return self.root.name

    def inputs(self) -> object:
        """Inputs of the step."""
        route = toolchain.expected_route()
        rustc = identity(toolchain.program("rustc", route))
        return route, toolchain.CHANNEL, rustc, self.level, BUILD_STD, self.flags, self.root.is_dir()

    def install(self, job: Job) -> None:
        """Compile it. Without its sources, releases are built with the ordinary std: they are larger and
        work as well."""
        shutil.rmtree(self.root, ignore_errors=True)
        try:
            if toolchain.route() == "rustup":
                command = ["rustup", "component", "add", "--toolchain", toolchain.CHANNEL, "rust-src"]
                job.run(command, rust.RUSTUP, route="rustup")
            self.compile(job)
        except Failed as failure:
            job.say(
                f"SKIPPED: {failure}; with the ordinary std, {self.loss}. To try again, remove .tools/stamp/{self.name}"
            )

    def compile(self, job: Job) -> None:
        """Compile std and put it where `--sysroot` can point."""
        unfinished = self.root.with_name(f"{self.name}.unfinished")
        library = unfinished / "lib" / "rustlib" / self.target / "lib"
        route, profile = toolchain.route(), f"opt-level = {json.dumps(self.level)}\n"
        rust.compile_std(
            job, self.name, self.target, library, BUILD_STD, route=route, flags=self.flags, profile=profile
        )
        unfinished.rename(self.root)
        # Cargo does not see that a std was replaced by another, and would mix the two.
        shutil.rmtree(self.outdated, ignore_errors=True)
