"""A configuration in a folder of its own, and Terraform run on it with the fake provider; for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# One command takes a second where nothing else runs.
SECONDS = 120

HEAD = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
"""
PROVIDER = """
provider "aws" {
  default_tags {
    tags = { owner = "tests" }
  }
}
"""


class Trial:
    def __init__(self, folder: Path, text: str, provider: str = PROVIDER) -> None:
        self.folder = folder
        self.provider = provider
        self.write(text)
        self.terraform("init")

    def write(self, text: str) -> None:
        (self.folder / "main.tf").write_text(HEAD + self.provider + text, encoding="utf-8")

    def terraform(self, subcommand: str, *options: str, expect: int = 0) -> str:
        """The output; an error if the exit code is not the expected one."""
        command = ["terraform", f"-chdir={self.folder}", subcommand, *options, "-no-color"]
        variables = {**os.environ, "TF_INPUT": "0", "TF_IN_AUTOMATION": "1"}
        for name in ("TF_CLI_CONFIG_FILE", "TF_DATA_DIR", "TF_REATTACH_PROVIDERS"):
            variables.pop(name, None)
        done = subprocess.run(
            [sys.executable, str(HERE), "--types-of", str(self.folder), *command],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            text=True,
        )
        if done.returncode != expect:
            raise AssertionError(f"{subcommand}: exit code {done.returncode}, expected {expect}\n{done.stdout}")
        # Terraform breaks and frames its messages.
        return done.stdout if "-json" in options else re.sub(r"\s*[│╷╵\n]\s*", " ", done.stdout)
