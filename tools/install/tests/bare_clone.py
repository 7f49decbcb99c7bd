"""The place where the installer's tests run: they touch no network and compile nothing."""

import contextlib
import io
import os
from collections.abc import Callable
from unittest import mock

from tools.common import toolchain
from tools.common.tests.case import Case
from tools.install.progress import Failed, Job


class BareClone(Case):
    """A temporary folder for the tools, and a PATH that holds only what a test puts there."""

    def setUp(self) -> None:
        self.place = self.temporary_folder()
        self.path = self.place / "path"
        self.path.mkdir()
        self.stderr = io.StringIO()
        tools = self.place / "tools"
        folders = {name.upper(): tools / name for name in ("bin", "python", "debian")}
        environment = {
            "PATH": str(self.path),
            "HOME": str(self.place),
            "CARGO_HOME": str(self.place / "cargo"),
            "RUSTUP_HOME": str(self.place / "rustup"),
        }
        self.enter(
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.multiple(
                toolchain, TOOLS=tools, TARGET=self.place / "target", PAGE_TARGET=self.place / "page", **folders
            ),
            contextlib.redirect_stderr(self.stderr),
        )

    def provide(self, name: str, script: str) -> None:
        """An executable on PATH; its arguments go to `calls`."""
        program = self.path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.place}/calls\n{script}\n')
        program.chmod(0o755)

    def failure_of(self, action: Callable[[Job], object]) -> str:
        """Runs the action of a step; the text of its failure, or nothing."""
        try:
            with Job.open("step", "step") as job:
                action(job)
        except Failed as failure:
            return str(failure)
        return ""

    def calls(self) -> str:
        try:
            return (self.place / "calls").read_text()
        except FileNotFoundError:
            return ""
