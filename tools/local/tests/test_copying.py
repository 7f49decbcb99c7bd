"""The commands of docs/copying.md: a copy with changes of its own takes over a newer version."""

import contextlib
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from unittest import mock

from tools.common import catalog
from tools.common.tests.case import IDENTITY, Case, git
from tools.common.toolchain import ROOT
from tools.local import new_service
from tools.local.tests.test_new_service import copy_repository

TEXT = (ROOT / "docs/copying.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    """The shell blocks of a section."""
    section = TEXT[TEXT.index(f"## {heading}\n") :].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


class AnUpdate(Case):
    def setUp(self) -> None:
        self.place = self.temporary_folder()
        self.upstream, self.copy = self.place / "upstream", self.place / "my-system"
        copy_repository(self.upstream)
        self.release("1.0.0")
        git(self.place, "init", "--quiet", "--bare", "--initial-branch=main", "origin")
        self.enter(mock.patch.dict(os.environ, {"TRY": "no"}), contextlib.redirect_stdout(io.StringIO()))
        self.clone, self.once = commands("Create a copy")
        (self.update,) = commands("Update the copy")

    def commit(self, root: Path, message: str) -> None:
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", message)

    def release(self, version: str) -> None:
        self.commit(self.upstream, version)
        git(self.upstream, "tag", f"v{version}")

    def run_block(self, block: str, folder: Path) -> None:
        """Run the git commands of a block; the make commands need a whole copy with its tools."""
        block = block.replace("https://github.com/OWNER/system-stats", str(self.upstream))
        block = block.replace("https://github.com/OWNER/my-system", str(self.place / "origin"))
        block = re.sub(r"^make .*$", "", block, flags=re.MULTILINE)
        environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(["sh", "-euc", block], cwd=folder, env=environment, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr).decode())

    def edit(self, root: Path, path: str, old: str, new: str) -> None:
        text = (root / path).read_text(encoding="utf-8")
        self.assertIn(old, text, path)
        (root / path).write_text(text.replace(old, new, 1), encoding="utf-8")

    def change_the_copy(self) -> None:
        """A service with code of its own, an environment with other sizes, another title."""
        self.make("new", "hello", self.copy)
        self.edit(self.copy, "services/hello/src/routes.rs", '"greeting"', '"text"')
        self.edit(self.copy, "tf/environments/staging/terraform.tfvars", "replicas = 2", "replicas = 3")
        self.edit(self.copy, "README.md", "# system-stats", "# my system")
        self.commit(self.copy, "our changes")

    def change_upstream(self) -> None:
        """Changes beside those of the copy, in the same files."""
        self.edit(self.upstream, "docker-compose.yaml", "mem_limit: 32m", "mem_limit: 48m")
        self.edit(self.upstream, "services.json", '"compose_memory_mib": 32', '"compose_memory_mib": 48')
        self.edit(self.upstream, "README.md", "## Develop", "## Development")
        self.edit(self.upstream, "Dockerfile", "# The workspace with empty crates", "# Empty crates")
        row = "| `GATEWAY_LISTEN` |"
        self.edit(self.upstream, "docs/settings.md", row, f"| `GATEWAY_NEW` | `0` | new |\n{row}")
        (self.upstream / "services/stats/src/new.rs").write_text("//! New.\n")
        self.release("1.1.0")

    def check_the_result(self) -> None:
        self.assertEqual(git(self.copy, "status", "--porcelain"), "")
        for path, ours, theirs in (
            ("README.md", "# my system", "## Development"),
            ("services.json", '"hello": {', '"compose_memory_mib": 48'),
            ("docker-compose.yaml", "GATEWAY_ROUTES: /hello hello:", "mem_limit: 48m"),
            ("Dockerfile", "FROM scratch AS hello", "# Empty crates"),
            ("docs/settings.md", "HELLO_GREETING", "GATEWAY_NEW"),
        ):
            text = (self.copy / path).read_text(encoding="utf-8")
            self.assertIn(ours, text, path)
            self.assertIn(theirs, text, path)
        self.assertIn('"text"', (self.copy / "services/hello/src/routes.rs").read_text())
        self.assertTrue((self.copy / "services/stats/src/new.rs").is_file())
        self.assertEqual(tuple(catalog.read(self.copy)), ("stats", "frontend", "hello", "gateway"))
        # The service can still be removed without a trace.
        self.make("remove", "hello", self.copy)
        git(self.copy, "add", "--all")
        changed = git(self.copy, "diff", "--cached", "--name-only", "upstream/v1.1.0").split()
        self.assertEqual(changed, ["README.md", "tf/environments/staging/terraform.tfvars"])

    def test_a_clone_merges_the_next_version(self) -> None:
        self.run_block(self.clone, self.place)
        self.assertEqual(git(self.copy, "tag").split(), ["upstream/v1.0.0"])
        self.change_the_copy()
        self.change_upstream()
        self.run_block(self.update, self.copy)
        self.check_the_result()

    def test_services_of_both_sides_are_merged_one_after_the_other(self) -> None:
        self.run_block(self.clone, self.place)
        self.change_the_copy()
        self.make("new", "world", self.upstream)
        self.release("1.1.0")
        git(self.copy, "fetch", "--quiet", "upstream")
        with self.assertRaises(subprocess.CalledProcessError):
            git(self.copy, "merge", "--no-edit", "upstream/v1.1.0")
        (block,) = commands("Services of both sides")
        before, merge, after = re.split(r"^make .*$", block, flags=re.MULTILINE)
        self.run_block(before, self.copy)
        self.make("remove", "hello", self.copy)
        self.run_block(merge, self.copy)
        self.make("new", "hello", self.copy)
        self.run_block(after, self.copy)
        services = catalog.read(self.copy)
        self.assertEqual(tuple(services), ("stats", "frontend", "world", "hello", "gateway"))
        self.assertEqual(len({service.port for service in services.values()}), 5)
        self.assertIn('"text"', (self.copy / "services/hello/src/routes.rs").read_text())

    def make(self, command: str, name: str, root: Path) -> None:
        self.assertEqual(new_service.main([command, name], root), 0)

    def test_a_copy_without_history_names_its_version_once(self) -> None:
        git(self.upstream, "worktree", "add", "--quiet", "--detach", str(self.place / "archive"))
        shutil.copytree(self.place / "archive", self.copy, ignore=shutil.ignore_patterns(".git"))
        git(self.copy, "init", "--quiet", "--initial-branch=main")
        self.commit(self.copy, "from the template")
        self.change_the_copy()
        git(self.copy, "remote", "add", "upstream", str(self.upstream))
        configuration = [line for line in self.clone.splitlines() if line.startswith(("git config", "git fetch"))]
        self.assertEqual(len(configuration), 3)
        self.run_block("\n".join([*configuration, self.once]), self.copy)
        self.change_upstream()
        self.run_block(self.update, self.copy)
        self.check_the_result()
