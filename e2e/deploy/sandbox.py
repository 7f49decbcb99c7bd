"""The sandbox of a rehearsal: a registry, a fake AWS account, and a clone of this work tree.

The make targets run in the clone and reach only these. AWS is fake_aws.py, the registry is Debian's.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# This one puts the root on the path.
from fake_aws import ACCOUNT, HERE, REGION, Account, Environment

from tools.build import commit
from tools.common import catalog, toolchain
from tools.common.ports import free_port
from tools.common.toolchain import ROOT
from tools.supply import oci
from tools.supply.images import MACHINES

BUCKET = f"system-stats-state-{ACCOUNT}-{REGION}"
# One target takes 10 to 60 s; a rollback takes twice that.
TARGET_SECONDS = 240
START_SECONDS = 60
# As `make` starts the commands; this one has packages that they must not need.
PYTHON = shutil.which("python3") or sys.executable
# Commands that workflows need besides those of deploy.py.
CI_COMMANDS = ("apply", "drift", "run")


class Sandbox:
    """The processes, folders and settings of one rehearsal, and the make targets that run with them."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self.repository = folder / "system-stats"
        self.binaries = binaries
        self.servers: list[subprocess.Popen] = []
        self.account: Account | None = None
        self.passed = 0

    def build(self) -> None:
        registry = free_port()
        settings = self.folder / "registry.yaml"
        settings.write_text(
            "version: 0.1\nlog: {level: error}\nstorage:\n"
            f"  filesystem: {{rootdirectory: {self.folder / 'registry'}}}\nhttp: {{addr: '127.0.0.1:{registry}'}}\n"
        )
        program = toolchain.program("docker-registry") or "docker-registry"
        self.serve("registry", [program, "serve", str(settings)], registry)
        self.clone()
        self.networks = random.sample(range(10, 250), 9)
        self.registry = f"127.0.0.1:{registry}"
        self.account = Account(self.registry)
        self.aws = self.open_aws("staging")
        self.variables = {
            **{
                name: value
                for name, value in os.environ.items()
                if name not in ("ENV", "URL", "CONFIRM", "AWS_PROFILE", "MAKEFLAGS")
            },
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.account.url,
            # Terraform's backend has variables of its own for these.
            **{f"AWS_ENDPOINT_URL_{service}": self.account.url for service in ("S3", "STS", "IAM")},
            "AWS_CONFIG_FILE": str(self.folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "none"),
            "BINARIES": str(self.stamp_binaries()),
            "ENV": "staging",
            "URL": self.aws.url,
        }

    def open_aws(self, name: str) -> Environment:
        """An environment of the account, which follows its state."""
        folder = self.folder / f"aws-{name}"
        folder.mkdir()
        local_state = self.repository / "tf" / "preconfigured" / "terraform.tfstate"
        return Environment(self.account, name, folder, BUCKET, local_state, f"127.{self.networks.pop()}")

    def serve(self, name: str, command: list[str], port: int) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.servers.append(process)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    log_end = (self.folder / f"{name}.log").read_text()[-500:]
                    raise SystemExit(f"rehearsal: {name} does not start: {log_end}") from None
                time.sleep(0.1)

    def clone(self) -> None:
        """This work tree as a commit of a repository of its own, with a remote to push to."""
        origin = self.folder / "origin.git"
        run(["git", "init", "--quiet", "--bare", str(origin)])
        run(["git", "init", "--quiet", "--initial-branch=main", str(self.repository)])
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        for name in filter(None, names.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.repository / name)
        link_tools(self.repository)
        for variables in (self.repository / "tf" / "environments").glob("*/terraform.tfvars"):
            variables.write_text(variables.read_text() + f'\narchitecture = "{HERE}"\n')
        self.git("remote", "add", "origin", str(origin))
        self.commit("the first version")

    def stamp_binaries(self) -> Path:
        """The binaries, as if they had been built in the clone: each contains its commit there. For the
        other processor there are copies that are labeled for it and never started."""
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="binaries-"))
        self.attestable = True
        for name in commit.INPUTS:
            content = (self.binaries / name).read_bytes()
            found, here = oci.MADE_FROM.search(content), commit.made_from(name, self.repository)
            if found and len(found[0]) == len(here):
                content = content.replace(found[0], here.encode())
            else:
                self.attestable = False
            for number, architecture in oci.MACHINES.items():
                file = folder / MACHINES[architecture] / name
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(content[:18] + number.to_bytes(2, "little") + content[20:])
                file.chmod(0o755)
        return folder

    def git(self, *arguments: str) -> str:
        settings = ("user.name=rehearsal", "user.email=rehearsal@example.org", "commit.gpgsign=false")
        identity = [word for setting in settings for word in ("-c", setting)]
        return run(["git", *identity, *arguments], cwd=self.repository)

    def touch(self, service: str) -> None:
        """A change of what a service's image is made from; its binary is not compiled here."""
        with (self.repository / catalog.ALL[service].crate / "Cargo.toml").open("a") as file:
            file.write("# Another one.\n")

    def commit(self, message: str, branch: str = "main") -> str:
        """Commits the work tree and pushes it to a branch; the hash."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD").strip()

    def end(self) -> None:
        if self.account:
            self.account.end()
        for process in self.servers:
            process.terminate()
            process.wait(timeout=20)

    def make(self, target: str, expect: int, *needles: str, until: str = "", **variables: str) -> str:
        """Runs one target to its end, or until a text appears; checks its exit code and output."""
        environment = {**self.variables, **variables}
        environment = {name: value for name, value in environment.items() if value != ""}
        process = subprocess.Popen(
            [PYTHON, "-m", f"tools.{'ci.ci' if target in CI_COMMANDS else 'cloud.deploy'}", target],
            cwd=self.repository,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        begun, lines = time.monotonic(), []
        bound = threading.Timer(TARGET_SECONDS, lambda: os.killpg(process.pid, signal.SIGKILL))
        bound.start()
        for line in process.stdout:
            lines.append(line)
            if until and until in line:
                # As Ctrl-C on a terminal does: all of them get it.
                os.killpg(process.pid, signal.SIGINT)
                until = ""
        code = process.wait(timeout=30)
        bound.cancel()
        text = "".join(lines)
        missing = [needle for needle in needles if needle not in text]
        if code != expect or missing or self.account.trouble:
            print(text)
            print(
                f"rehearsal: {target} ended with {code}, expected {expect};"
                f" missing: {missing}; trouble: {self.account.trouble[:3]}"
            )
            raise SystemExit(1)
        self.passed += 1
        spent = f"{time.monotonic() - begun:5.1f} s"
        print(f"rehearsal: {target:<9} exit code {code:>3} after {spent}: {' | '.join(needles)}", flush=True)
        return text

    def outputs(self) -> dict:
        """Terraform's outputs of staging."""
        outputs = json.loads(self.aws.state())["outputs"]
        return {name: output["value"] for name, output in outputs.items()}

    def expect_stats(self) -> None:
        """Checks that /stats of staging has status 200."""
        with urllib.request.urlopen(f"{self.aws.url}/stats", timeout=10) as response:
            assert response.status == 200, response.status


AnySandbox = TypeVar("AnySandbox", bound=Sandbox)


def main(kind: type[AnySandbox], rehearse: Callable[[AnySandbox], None]) -> None:
    """Runs a rehearsal in a sandbox; the argument of the command line is the folder of the binaries."""
    program = Path(sys.argv[0]).name
    if len(sys.argv) != 2:
        print(f"usage: {program} BINARIES", file=sys.stderr)
        sys.exit(64)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=program) as folder:
        sandbox = kind(Path(folder), Path(sys.argv[1]).resolve())
        try:
            sandbox.build()
            rehearse(sandbox)
        finally:
            sandbox.end()
    print(f"{program}: {sandbox.passed} targets passed after {time.monotonic() - begun:.0f} s")


def link_tools(clone: Path) -> None:
    """Tools for deployments and the crate lists, without the browser, whose tests would take minutes each time."""
    (clone / ".tools").mkdir()
    for name in ("aws", "bin", "requirements", "route", "sigstore", "stamp", "uv"):
        (clone / ".tools" / name).symlink_to((toolchain.TOOLS / name).resolve())


def run(command: list[str], cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"rehearsal: {' '.join(command)}: {done.stdout}")
    return done.stdout
