"""`make provider-lock`: the checksums of Terraform's provider, for every processor that deploys.

They come from Terraform's registry alone, so that this needs a network that reaches it. The user commits the
files. From then on Terraform only verifies against them.
"""

import subprocess
import sys
from pathlib import Path

from tools.cloud import terraform
from tools.common import toolchain
from tools.common.environments import TF
from tools.common.progress import dispatch, step

# Workflows and laptops.
PLATFORMS = ("linux_amd64", "linux_arm64", "darwin_arm64")
FOLDERS = (TF, TF / "preconfigured", TF / "previews")
# The provider has 700 MB for each platform.
LOCK_SECONDS = 1800


def main(arguments: list[str]) -> int:
    return dispatch("provider-lock", {"": lock_all}, arguments, "FAILED: ")


def lock_all() -> None:
    terraform.check()
    for folder in FOLDERS:
        with step(f"lock the provider of {folder.relative_to(toolchain.ROOT)}"):
            create(folder)
    names = " ".join(str(folder.relative_to(toolchain.ROOT) / terraform.LOCK) for folder in FOLDERS)
    print(f"commit them: git add --force {names}")


def create(folder: Path) -> None:
    command = ["terraform", f"-chdir={folder}", "providers", "lock"]
    command += [f"-platform={platform}" for platform in PLATFORMS]
    done = subprocess.run(
        command, env=terraform.environment(), stdin=subprocess.DEVNULL, timeout=LOCK_SECONDS, check=False
    )
    if done.returncode:
        raise terraform.TerraformError(
            f"terraform providers lock ended with {done.returncode}; the lines above say why. It needs a network that"
            " reaches Terraform's registry"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
