"""What is asked of AWS besides Terraform: the pinned command line of AWS, one call at a time.

Credentials come from its standard chain: the environment, a profile, SSO, a workflow's token.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any, Optional

import toolchain
from environments import Refused

# One call is one answer of AWS, with its own retries.
CALL_SECONDS = 120
PROGRAM = toolchain.TOOLS / "aws" / "bin" / "aws"


class AwsError(Exception):
    """AWS has refused a call; `code` is its own word for why."""

    def __init__(self, call: str, code: str, text: str) -> None:
        super().__init__(f"aws {call}: {text}")
        self.code = code


class Aws:
    def __init__(self, region: str, profile: Optional[str] = None) -> None:
        self.region = region
        self.variables = {
            **os.environ,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_PAGER": "",
            "AWS_RETRY_MODE": "standard",
            "AWS_MAX_ATTEMPTS": "5",
        }
        if profile:
            self.variables["AWS_PROFILE"] = profile

    def call(self, *arguments: str) -> Any:
        """One call; gives what AWS answers, or None where it answers nothing."""
        text = self.text(*arguments, "--output", "json")
        return json.loads(text) if text.strip() else None

    def text(self, *arguments: str) -> str:
        name = " ".join(arguments[:2])
        try:
            done = subprocess.run(
                [str(PROGRAM), *arguments],
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=CALL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise AwsError(name, "Timeout", f"no answer within {CALL_SECONDS} s") from None
        if done.returncode:
            raise failure(name, done.stderr.decode("utf-8", "replace"))
        return done.stdout.decode("utf-8", "replace")

    def account(self) -> str:
        """Whose credentials these are; Refused when there are none, or none that work."""
        try:
            return self.call("sts", "get-caller-identity")["Account"]
        except AwsError as error:
            raise Refused(
                f"no usable AWS credentials ({error}): set AWS_PROFILE, run `aws sso login`, or "
                "put a profile into the environment's backend.hcl and terraform.tfvars"
            ) from None


def failure(call: str, text: str) -> AwsError:
    """The error that the command line has printed, as one sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "it failed and said nothing"
    found = re.match(
        r"(?:aws: \[ERROR\]: )?An error occurred \(([^)]+)\) when calling .*?: (.*)", last
    )
    return (
        AwsError(call, found.group(1), f"{found.group(2)} ({found.group(1)})")
        if found
        else AwsError(call, "", last)
    )
