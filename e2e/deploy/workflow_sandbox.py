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


class Unexpected(Exception):
    """A workflow does something else than it should."""


class WorkflowSandbox:
    """A sandbox with GitHub, and a record of what the jobs did there."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.base = Sandbox(folder, binaries)
        self.github = FakeGitHub()
        self.attested: list[str] = []
        # Names of the jobs that have run.
        self.executed_jobs: set[str] = set()
        # What happens while a job waits for its review.
        self.during_review: Callable[[], None] = lambda: None
        self.origin = folder / "origin.git"

    def build(self) -> None:
        self.base.build()
        self.environments = {"staging": self.base.aws}
        self.environments.update({name: self.base.open_aws(name) for name in ("prod", "pr-7")})
        self.base.make("bootstrap", 0, "the state is in the bucket now")
        # By hand, once: what previews share.
        self.base.make("deploy", 0, "previews have a port each", ENV="preview")

    def variables(self) -> dict[str, str]:
        """Variables that direct the targets to the fakes; only a role has credentials."""
        excluded = ("ENV", "URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        kept = {k: v for k, v in self.base.variables.items() if k not in excluded}
        return {k: v for k, v in kept.items() if not k.startswith("GITHUB_")}

    def path(self, installed: set[str]) -> str:
        """PATH without the programs that only an action installs."""
        absent = sorted(set(INSTALLED_BY.values()) - installed)
        folder = self.base.folder / "-".join(["path", *absent])
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
        if self.base.account.trouble:
            raise Unexpected(f"{self.base.account.trouble[:3]}\n{output}")

    def push(self, branch: str, message: str) -> None:
        self.base.git("add", "--all")
        self.base.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.base.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")

    def end(self) -> None:
        self.base.end()
        self.github.end()
