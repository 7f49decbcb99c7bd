"""The images of a commit in the registry: found, or built and pushed. A tag is a commit and a
processor."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Callable, Optional

import build
from aws import Aws, AwsError
from environments import APPLICATION, Refused
from oci import ARCHITECTURES, REVISION, Image, Registry, pack
from toolchain import ROOT

# What Terraform calls a processor, and what compilers call it.
MACHINES = {"ARM64": "aarch64", "X86_64": "x86_64"}


class Images:
    def __init__(self, aws: Aws, revision: str, architecture: str) -> None:
        self.architecture = architecture
        self.tag = f"{revision}-{ARCHITECTURES[architecture]}"
        names = [f"{APPLICATION}/{name}" for name in build.SERVICES]
        try:
            found = aws.call("ecr", "describe-repositories", "--repository-names", *names)[
                "repositories"
            ]
        except AwsError as error:
            if error.code == "RepositoryNotFoundException":
                raise Refused(
                    "the registry has no repositories yet: run `make bootstrap`"
                ) from None
            raise
        self.urls = {
            entry["repositoryName"].split("/", 1)[1]: entry["repositoryUri"] for entry in found
        }
        self.user, self.password = credentials(aws)

    def registry(self, name: str) -> Registry:
        return Registry(self.urls[name], self.user, self.password)

    def found(self) -> dict[str, str]:
        """The images of the commit that are in the registry, by digest."""
        digests = {name: self.registry(name).digest_of(self.tag) for name in build.SERVICES}
        return {name: f"{self.urls[name]}@{digest}" for name, digest in digests.items() if digest}

    def ensure(self, say: Callable[[str], None]) -> dict[str, str]:
        """All three images by digest; what the registry has already is neither built nor pushed."""
        found = self.found()
        missing = [name for name in build.SERVICES if name not in found]
        if not missing:
            say(f"the registry has all three with the tag {self.tag}")
            return found
        binaries = finished_binaries(self.architecture)
        for name in missing:
            image = packed(name, binaries[name], self.architecture)
            say(f"{name}: pushing {image.digest} ({len(image.layer) / 1e6:.2f} MB)")
            self.registry(name).push(image, self.tag)
            found[name] = f"{self.urls[name]}@{image.digest}"
        return {name: found[name] for name in build.SERVICES}


def commit_of(aws: Aws, image: str) -> Optional[str]:
    """The commit that an image in the registry says it is made from, as its binary does."""
    url, _, digest = image.partition("@")
    registry = Registry(url, *credentials(aws))
    manifest = registry.exactly(digest)
    # One for each processor: they are of one commit.
    if "manifests" in manifest:
        manifest = registry.exactly(manifest["manifests"][0]["digest"])
    config = json.loads(registry.blob(manifest["config"]["digest"]))
    return config["config"].get("Labels", {}).get(REVISION)


def packed(name: str, binary: Path, architecture: str) -> Image:
    dockerfile = (ROOT / "services" / name / "Dockerfile").read_text(encoding="utf-8")
    return pack(name, binary.read_bytes(), dockerfile, architecture)


def finished_binaries(architecture: str) -> dict[str, Path]:
    """The three binaries: those in the folder BINARIES, or built now for that processor."""
    folder = os.environ.get("BINARIES")
    if not folder:
        os.environ["ARCHITECTURE"] = MACHINES[architecture]
        return build.build(build.RELEASE)
    paths = {name: Path(folder) / name for name in build.SERVICES}
    for path in paths.values():
        if not path.is_file():
            raise Refused(f"BINARIES is {folder}, but there is no {path.name} in it")
    return paths


def credentials(aws: Aws) -> tuple[str, str]:
    token = aws.call("ecr", "get-authorization-token")["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    return user, password
