"""The images of a commit in the registry: found, or built and pushed.

A tag is the commit that last changed what the image is made from, so what a commit leaves as it was is found under the
one before; with the processor's name behind it for one of them. Tags cannot be moved: those of what is pushed by hand
end in `-local`, so that they never take the place of what a workflow pushes for the same commit.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from tools.build import build, commit, dockerfile
from tools.cloud.aws import Aws, AwsError
from tools.common.environments import APPLICATION, PATTERN, Environment, Refused
from tools.supply import oci, verify
from tools.supply.oci import ARCHITECTURES, REVISION, Registry, pack

# Architecture names of Terraform, and of compilers.
MACHINES = {"ARM64": "aarch64", "X86_64": "x86_64"}
Say = Callable[[str], None]


# For both, so that a laptop, an environment and its successor on the other processor can run it.
PLATFORMS = tuple(sorted(MACHINES))


@dataclass(frozen=True)
class MultiPlatformImage:
    """An image for both processors, and what it was just made of: for each the digest and the
    binary; nothing where the registry had it."""

    image: str
    parts: dict[str, tuple[str, Path]]


class Images:
    """The images of the commit that is checked out, each under the commit that last changed it."""

    def __init__(self, aws: Aws, environment: Environment, revision: str) -> None:
        self.environment, self.revision = environment, revision
        self.architecture = environment.architecture
        self.aws = aws
        self.attested = environment.attested_by is not None
        self.by_hand = os.environ.get("GITHUB_ACTIONS") != "true"
        self._credentials: tuple[str, str] | None = None
        # Without git's history every service counts as changed.
        self.tags = {name: (commit.made_from(name) or revision).split()[0] for name in build.SERVICES}
        # Images that a pull request did not change come from the repositories of main.
        self.places = [addresses(aws, "repositories", APPLICATION)]
        if environment.preview:
            preview = f"{APPLICATION}/{PATTERN}"
            self.places.append(addresses(aws, "preview_repositories", preview))

    def registry(self, address: str) -> Registry:
        if self._credentials is None:
            self._credentials = credentials(self.aws)
        return Registry(address, *self._credentials)

    def found(self, names: Sequence[str] = build.SERVICES, multi_platform: bool = False) -> dict[str, str]:
        """Those that are in the registry, by digest: for both processors, or else, unless `multi_platform`
        requires both, for the one of the environment."""
        found = {}
        for name in names:
            addresses = [repositories[name] for repositories in self.places]
            for address, tag in itertools.product(addresses, self._tags(name, multi_platform)):
                digest = self.registry(address).digest_of(tag)
                must_be_attested = multi_platform and self.attested
                if digest and not (must_be_attested and lacks_attestation(self.registry(address), digest)):
                    found[name] = f"{address}@{digest}"
                    break
        return found

    def _tags(self, name: str, multi_platform: bool) -> list[str]:
        """Repositories for an image: an environment that requires attestations accepts only a workflow's."""
        if self.attested or not self.by_hand:
            return [self.tags[name]]
        single_platform = [] if multi_platform else [self.tag(name, self.architecture)]
        return [self.tags[name], self.tag(name), *single_platform]

    def tag(self, name: str, architecture: str = "") -> str:
        """The tag that is pushed from here, for one processor or for all."""
        processor = [ARCHITECTURES[architecture]] if architecture else []
        return "-".join([self.tags[name], *processor, *(["local"] if self.by_hand else [])])

    def to_deploy(self, say: Say) -> dict[str, str]:
        """Found, or built and pushed; an environment that requires attestations takes a workflow's alone."""
        wanted = self.environment.attested_by
        if wanted is None:
            return self.ensure(say)
        found = self.found()
        missing = [name for name in build.SERVICES if name not in found]
        if missing:
            raise Refused(
                f"{self.environment.name} takes only images that {wanted} has built and attested, and the registry"
                f" has no {' and no '.join(missing)} of {self.revision[:12]}: let its workflow run first"
            )
        return found

    def ensure(self, say: Say) -> dict[str, str]:
        """All three images by digest; what the registry has already is neither built nor pushed."""
        found = self.found()
        missing = [name for name in build.SERVICES if name not in found]
        if not missing:
            listed = ", ".join(f"{name} of {self.tags[name][:12]}" for name in build.SERVICES)
            say(f"the registry has all three: {listed}")
            return found
        binaries = finished_binaries(missing, self.architecture)
        for name in missing:
            image = self._push(say, name, binaries[name], self.architecture)
            found[name] = f"{self.places[-1][name]}@{image.digest}"
        return {name: found[name] for name in build.SERVICES}

    def ensure_multi_platform(self, say: Say, name: str) -> MultiPlatformImage:
        """The image of one service for both processors under one digest."""
        found = self.found([name], multi_platform=True)
        if found:
            say(f"the registry has {name} of {self.tags[name][:12]}")
            return MultiPlatformImage(found[name], {})
        images, parts = {}, {}
        for architecture in PLATFORMS:
            binary = finished_binaries([name], architecture)[name]
            images[architecture] = image = self._push(say, name, binary, architecture)
            parts[ARCHITECTURES[architecture]] = (image.digest, binary)
        address, index = self.places[-1][name], oci.index(images)
        self.registry(address).name(index, oci.INDEX, self.tag(name))
        return MultiPlatformImage(f"{address}@{oci.digest(index)}", parts)

    def _push(self, say: Say, name: str, binary: Path, architecture: str) -> oci.Image:
        image = packed(name, binary, architecture)
        size = f"{len(image.layer) / 1e6:.2f} MB"
        say(f"{name}: pushing {image.digest} ({size}, {architecture})")
        self.registry(self.places[-1][name]).push(image, self.tag(name, architecture))
        return image

    def size(self, image: str) -> int:
        """The bytes that are fetched of an image for the environment's processor."""
        address, _, digest = image.partition("@")
        return sum(layer["size"] for layer in self.registry(address).manifest(digest, self.architecture)["layers"])


def lacks_attestation(registry: Registry, digest: str) -> bool:
    """Whether an image, or one of its platforms, has no attestation: its push was interrupted before
    that. Made and pushed again it is the same, and gets it."""
    parts = [entry["digest"] for entry in registry.exactly(digest).get("manifests", [])]
    kind, limit = verify.BUNDLE, verify.BUNDLES
    return any(not registry.attached(part, kind, limit) for part in (digest, *parts))


def addresses(aws: Aws, output: str, prefix: str) -> dict[str, str]:
    """Repositories of each service: from ACCOUNT, the outputs of tf/preconfigured, or from AWS."""
    try:
        outputs = json.loads(os.environ.get("ACCOUNT") or "{}").get(output)
    except (ValueError, AttributeError):
        raise Refused("ACCOUNT must be the outputs of tf/preconfigured, as `make output`") from None
    if outputs:
        return outputs
    names = [f"{prefix}/{name}" for name in build.SERVICES]
    try:
        found = aws.call("ecr", "describe_repositories", repositoryNames=names)
    except AwsError as error:
        if error.code == "RepositoryNotFoundException":
            raise Refused(f"the registry has no {', '.join(names)} yet: run `make bootstrap`") from None
        raise
    return {entry["repositoryName"].rsplit("/", 1)[1]: entry["repositoryUri"] for entry in found["repositories"]}


def commit_of(aws: Aws, image: str) -> str | None:
    """The commit in the labels of an image in the registry."""
    url, _, digest = image.partition("@")
    registry = Registry(url, *credentials(aws))
    manifest = registry.exactly(digest)
    # One for each processor: they are of one commit.
    if "manifests" in manifest:
        manifest = registry.exactly(manifest["manifests"][0]["digest"])
    config = json.loads(registry.blob(manifest["config"]["digest"]))
    return config["config"].get("Labels", {}).get(REVISION)


def packed(name: str, binary: Path, architecture: str) -> oci.Image:
    return pack(dockerfile.stage(name), binary.read_bytes(), architecture)


def finished_binaries(names: Sequence[str], architecture: str) -> dict[str, Path]:
    """Binaries for that processor: those in the folder BINARIES, or built now."""
    folder = os.environ.get("BINARIES")
    if not folder:
        os.environ["ARCHITECTURE"] = MACHINES[architecture]
        return build.build(build.RELEASE, names)
    # One folder for both processors has one for each within.
    own = Path(folder) / MACHINES[architecture]
    paths = {name: (own if own.is_dir() else Path(folder)) / name for name in names}
    for path in paths.values():
        if not path.is_file():
            raise Refused(f"BINARIES is {folder}, but there is no {path.name} in it")
    return paths


def credentials(aws: Aws) -> tuple[str, str]:
    data = aws.call("ecr", "get_authorization_token")["authorizationData"]
    token = data[0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    return user, password


def registry_of(image: str) -> Registry:
    """The registry of an image: Amazon's with credentials, any other without."""
    url = verify.split(image)[0]
    region = re.match(r"[0-9]{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.(?:com|com\.cn|eu)/", url)
    return Registry(url, *(credentials(Aws(region[1])) if region else ()))
