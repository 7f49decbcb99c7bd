"""Terraform, one command at a time, with a state in the account's bucket."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.progress import TargetError
from tools.common.signals import deferred
from tools.common.versions import at_least

MINIMUM = "1.11"
INIT_SECONDS = 600
# A load balancer takes 3 minutes, a certificate's proof can take 30, a namespace 2.
APPLY_SECONDS = 3600
QUICK_SECONDS = 300
# An interrupted Terraform cancels the calls that run, writes the state and frees its lock.
STOP_SECONDS = 600
# Programs that Terraform has started may keep its output open.
OUTPUT_SECONDS = 10
# A request to end, and the end of a terminal.
ENDS = (signal.SIGTERM, signal.SIGHUP)
# Where Terraform keeps the provider and its notes, apart for every state.
DATA = toolchain.ROOT / "target" / "terraform"


# Checksums of the provider, beside the configuration; `make provider-lock` writes those that are committed.
LOCK = ".terraform.lock.hcl"


# Settings for another project, such as a name or a workspace.
FOREIGN = re.compile(r"TF_VAR_.*|TF_WORKSPACE|TF_CLI_ARGS(_.*)?")


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class TerraformError(TargetError):
    """A command failed; its own output has said why."""


def check() -> str:
    """Terraform's version; Refused where it is missing or too old."""
    how = f"install Terraform {MINIMUM} or later (developer.hashicorp.com/terraform/install) and put it on PATH"
    if shutil.which("terraform") is None:
        raise Refused(f"terraform is missing: {how}")
    text = toolchain.answer(["terraform", "version", "-json"], environment()) or "{}"
    try:
        version = json.loads(text).get("terraform_version", "")
    except ValueError:
        version = ""
    if not version or not at_least(version, MINIMUM):
        raise Refused(f"terraform is {version or 'broken'}, which is too old: {how}")
    return version


def environment() -> dict[str, str]:
    own = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    variables = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    variables.update(own)
    # A setting that points nowhere only makes every command warn.
    if not os.path.exists(variables.get("TF_CLI_CONFIG_FILE", "/")):
        del variables["TF_CLI_CONFIG_FILE"]
    return variables


def committed(file: Path) -> bool:
    """Whether a file is part of the repository; Terraform writes a lock file by itself where there is none."""
    command = ["git", "-C", str(file.parent), "ls-files", "--error-unmatch", file.name]
    return file.is_file() and toolchain.answer(command) is not None


def end_in_order() -> None:
    """Let the signals in ENDS do what Ctrl-C does, so that Terraform writes its state and frees its lock."""
    for number in ENDS:
        # `nohup` ignores the end of its terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def interrupt(_number: int, _frame: object) -> None:
    # `timeout` and `make` both pass a signal on, and once is enough.
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def relay(stream: IO[bytes], kept: list[str] | None) -> None:
    """Print or keep Terraform's output. A pipe whose reader is gone (`make deploy | tee log` and a lost connection)
    would end Terraform itself in the middle of a change."""
    with stream:
        for line in stream:
            text = line.decode("utf-8", "replace")
            if kept is not None:
                kept.append(text)
                continue
            with contextlib.suppress(OSError, ValueError):
                print(text, end="", flush=True)


def stop(process: subprocess.Popen, reader: threading.Thread, subcommand: str) -> None:
    """Interrupt Terraform and wait for it; a second Ctrl-C is passed on, which ends it at once."""
    deadline = time.monotonic() + STOP_SECONDS
    try:
        # All of its group, as Ctrl-C does: `terraform` may be a script that starts it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS)
        # Such a script may end before Terraform, which has its output as long as it runs.
        reader.join(timeout=max(0, deadline - time.monotonic()))
    except KeyboardInterrupt:
        stop(process, reader, subcommand)
    if reader.is_alive():
        late = f"terraform {subcommand} (process {process.pid}) still runs {STOP_SECONDS} s after its interruption"
        print(f"{late}, and holds the lock of the state until it ends", file=sys.stderr)


class Terraform:
    def __init__(self, folder: Path, name: str, region: str, profile: str | None, role: str | None = None) -> None:
        """With a role, the state is read as that role; the provider has a variable for it."""
        self.role = role
        # Arguments of every plan.
        self.settings: list[str] = []
        self.folder = folder
        self.name = name
        self.data = DATA / name
        self.data.mkdir(parents=True, exist_ok=True)
        self.variables = {**environment(), "TF_DATA_DIR": str(self.data), "AWS_REGION": region}
        if profile:
            self.variables["AWS_PROFILE"] = profile
            # boto3 takes the profile that it is given. Terraform would take these, perhaps of another account.
            for key in KEYS:
                self.variables.pop(key, None)

    def init(self, *arguments: str) -> None:
        # Checksums of the repository are verified, and never extended by what was just downloaded.
        verify = ["-lockfile=readonly"] if committed(self.folder / LOCK) else []
        self._run("init", "-no-color", *verify, *arguments, bound=INIT_SECONDS, quiet=True)

    def init_s3(self, bucket: str, key: str, region: str, *arguments: str) -> None:
        """Use the state in the bucket; its lock is a file beside it."""
        settings = {
            "bucket": bucket,
            "key": key,
            "region": region,
            "use_lockfile": "true",
            # The bucket encrypts with the account's key. `encrypt` without a key of its own would request AES256.
            "encrypt": "false",
        }
        if "AWS_ENDPOINT_URL_S3" in self.variables:
            # Another S3 than AWS's own seldom has a host name for each bucket.
            settings["use_path_style"] = "true"
        if self.role:
            settings["assume_role"] = f'{{role_arn="{self.role}"}}'
        pairs = [f"-backend-config={name}={value}" for name, value in settings.items()]
        self.init(*(arguments or ("-reconfigure",)), *pairs)

    def plan(self, *arguments: str, lock: bool = True) -> bool:
        """Show a plan and keep it; whether it changes anything."""
        options = [
            "-no-color",
            "-detailed-exitcode",
            f"-lock={str(lock).lower()}",
            "-lock-timeout=5m",
            f"-out={self.plan_file}",
        ]
        code = self._run("plan", *options, *self.settings, *arguments, allowed=(0, 2))
        return code == 2

    @property
    def plan_file(self) -> Path:
        return self.own("plan")

    def own(self, name: str) -> Path:
        """A file of this process alone, until its end: another command may plan the same environment, and its plan must
        not be the one that is applied here."""
        file = self.data / f"{os.getpid()}-{name}"
        atexit.register(file.unlink, missing_ok=True)
        return file

    def apply(self) -> None:
        """Carry out the plan that was made last."""
        self._run("apply", "-no-color", "-lock-timeout=5m", str(self.plan_file), bound=APPLY_SECONDS)

    def destroy(self, *arguments: str) -> None:
        self._run("destroy", "-no-color", "-auto-approve", "-lock-timeout=5m", *arguments, bound=APPLY_SECONDS)

    def output(self) -> dict[str, Any]:
        """The outputs of what was applied last; empty before the first apply."""
        text = self._read("output", "-json")
        return {name: entry["value"] for name, entry in json.loads(text).items()}

    def show(self, *arguments: str) -> dict[str, Any]:
        """The state, or a plan's file, as a structure."""
        return json.loads(self._read("show", "-json", *arguments))

    def _run(
        self,
        subcommand: str,
        *arguments: str,
        bound: int = APPLY_SECONDS,
        allowed: tuple[int, ...] = (0,),
        quiet: bool = False,
    ) -> int:
        kept: list[str] | None = [] if quiet else None
        process = reader = None
        try:
            with deferred():
                process = subprocess.Popen(
                    ["terraform", subcommand, *arguments],
                    cwd=self.folder,
                    env=self.variables,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C and the end of a terminal would reach it there as well: the second interrupt and SIGHUP end
                    # it without a state.
                    start_new_session=True,
                )
                reader = threading.Thread(target=relay, args=(process.stdout, kept), daemon=True)
                reader.start()
            process.wait(timeout=bound)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
            if process and reader:
                stop(process, reader, subcommand)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise TerraformError(f"terraform {subcommand}: not done after {bound} s") from None
        reader.join(timeout=OUTPUT_SECONDS)
        if process.returncode not in allowed:
            if kept:
                print("".join(kept), end="", flush=True)
            raise TerraformError(
                f"terraform {subcommand} of {self.name} failed with exit code {process.returncode}; the"
                " lines above say why"
            )
        return process.returncode

    def _read(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ["terraform", *arguments],
                cwd=self.folder,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=QUICK_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise TerraformError(f"terraform {arguments[0]} of {self.name}: not done after {QUICK_SECONDS} s") from None
        if done.returncode:
            raise TerraformError(
                f"terraform {arguments[0]} of {self.name}: {done.stderr.decode('utf-8', 'replace').strip()}"
            )
        return done.stdout.decode("utf-8")
