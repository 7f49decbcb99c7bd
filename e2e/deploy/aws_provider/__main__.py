"""Runs a command for which Terraform's AWS provider is the fake one.

    python e2e/deploy/aws_provider [--types-of FOLDER] COMMAND [ARGUMENT...]

With `--types-of`, only the types of resources and data sources that FOLDER's Terraform files name
exist: Terraform needs a second of processor time per command to read the whole schema. The schema is
what the installer has recovered beside the packages of this Python.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

# The server has no part in the command, so gRPC need not prepare for the fork and report it.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from server import load, serve, types_in

SCHEMA = Path(sys.prefix) / "schema.pb"
PROVIDER = "hashicorp/aws"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="aws_provider")
    parser.add_argument("--types-of", metavar="FOLDER", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    command: list[str] = chosen.command
    if not command:
        parser.print_usage(sys.stderr)
        return 64
    server, port = serve(load(SCHEMA, types_in(chosen.types_of) if chosen.types_of else None))
    # The terminal interrupts the command as well, which ends in its own time.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(command, env=environment(port))
    except OSError as error:
        print(f"aws_provider: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    code = process.wait()
    server.stop(grace=None)
    # As a shell reports the end by a signal.
    return code if code >= 0 else 128 - code


def environment(port: int) -> dict[str, str]:
    """The environment in which Terraform uses this process, and in which nothing finds real credentials."""
    address = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
    about = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}
    ours = ("AWS_", "GRPC_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **variables,
        "AWS_ACCESS_KEY_ID": "fake",
        "AWS_SECRET_ACCESS_KEY": "fake",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
        "CHECKPOINT_DISABLE": "1",
        "TF_REATTACH_PROVIDERS": json.dumps({PROVIDER: about}),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
