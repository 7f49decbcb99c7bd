"""The sandbox of the workflows: an account that is prepared, a fake of GitHub, and a repository with branches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

from fake_github import FakeGitHub
from sandbox import Sandbox

REPOSITORY = "acme/system-stats"
# An approval comes after a weekend.
REVIEW_DAYS = 4
# Programs that a job may start only after an action has installed them.
INSTALLED_BY = {"hashicorp/setup-terraform": "terraform"}


class Unexpected(SystemExit):
    """A workflow does something else than it should; the message ends the runner."""


class WorkflowSandbox(Sandbox):
    """A sandbox with GitHub, and a record of what the jobs did there."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        super().__init__(folder, binaries)
        self.github = FakeGitHub()
        self.attested: list[str] = []
        # Names of the jobs that have run.
        self.executed_jobs: set[str] = set()
        # What happens while a job waits for its review.
        self.during_review: Callable[[], None] = lambda: None
        self.origin = folder / "origin.git"

    def build(self) -> None:
        super().build()
        self.environments = {"staging": self.aws}
        self.environments.update({name: self.open_aws(name) for name in ("prod", "pr-7")})
        self.make("bootstrap", 0, "the state is in the bucket now")
        # By hand, once: what previews share.
        self.make("deploy", 0, "previews have a port each", ENV="preview")

    def job_variables(self) -> dict[str, str]:
        """Variables that direct the targets to the fakes; only a role has credentials."""
        excluded = ("ENV", "URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        kept = {k: v for k, v in self.variables.items() if k not in excluded}
        return {k: v for k, v in kept.items() if not k.startswith("GITHUB_")}

    def path(self, installed: set[str]) -> str:
        """PATH without the programs that only an action installs."""
        absent = sorted(set(INSTALLED_BY.values()) - installed)
        folder = self.folder / "-".join(["path", *absent])
        if not folder.exists():
            folder.mkdir()
            for directory in os.environ["PATH"].split(os.pathsep):
                for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
                    if program.name not in absent and not (folder / program.name).is_symlink():
                        (folder / program.name).symlink_to(program)
        return str(folder)

    def url(self, environment: str) -> str:
        return self.environments.get(environment, self.environments["staging"]).url

    def review(self) -> int:
        """The days until a job is approved."""
        self.during_review()
        return REVIEW_DAYS

    def check(self, output: str) -> None:
        if self.account.trouble:
            raise Unexpected(f"{self.account.trouble[:3]}\n{output}")

    def end(self) -> None:
        super().end()
        self.github.end()
