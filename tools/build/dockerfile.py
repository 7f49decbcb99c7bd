"""The images' configuration, read from the final stages of the Dockerfile.

Only the instructions below are accepted there, so that none is silently lost on the way to an image
that is packed without a build.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tools.common.toolchain import ROOT

INSTRUCTIONS = ("FROM", "LABEL", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "COPY")
HEALTHCHECK = re.compile(r"--interval=(\d+)s --timeout=(\d+)s --retries=(\d+) CMD (\[.*\])")
NANOSECONDS = 1_000_000_000


class DockerfileError(Exception):
    """The Dockerfile has no such stage, or an instruction that is not supported."""


@dataclass(frozen=True)
class Stage:
    """One final stage: its instructions by name."""

    name: str
    instructions: dict[str, str]

    def labels(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.instructions["LABEL"].split())

    def config(self) -> dict:
        """The `config` object of an image; `Healthcheck` is Docker's addition to the OCI format."""
        check = HEALTHCHECK.fullmatch(self.instructions["HEALTHCHECK"])
        assert check, "stage() accepts no other"
        interval, timeout, retries, command = check.groups()
        return {
            "User": self.instructions["USER"],
            "Entrypoint": json.loads(self.instructions["ENTRYPOINT"]),
            "ExposedPorts": {f"{self.instructions['EXPOSE']}/tcp": {}},
            "Healthcheck": {
                "Test": ["CMD", *json.loads(command)],
                "Interval": int(interval) * NANOSECONDS,
                "Timeout": int(timeout) * NANOSECONDS,
                "Retries": int(retries),
            },
        }


def stage(name: str, text: str | None = None) -> Stage:
    """The final stage of a service."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8") if text is None else text
    found: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM" and found:
            break
        if word == "FROM" and rest == f"scratch AS {name}":
            found[word] = "scratch"
        elif found and word and not word.startswith("#"):
            if word not in INSTRUCTIONS or word in found:
                raise DockerfileError(f"stage {name}: unsupported instruction {line!r}")
            found[word] = rest.strip()
    if not found:
        raise DockerfileError(f"there is no stage `FROM scratch AS {name}`")
    missing = [word for word in INSTRUCTIONS if word not in found]
    if missing:
        raise DockerfileError(f"stage {name} has no {missing[0]}")
    if not re.fullmatch(rf"--from=\S+ \S+/{name} /{name}", found["COPY"]):
        raise DockerfileError(f"stage {name} must copy one file, the binary")
    if HEALTHCHECK.fullmatch(found["HEALTHCHECK"]) is None:
        raise DockerfileError(f"stage {name}: HEALTHCHECK must match {HEALTHCHECK.pattern}")
    return Stage(name, found)
