"""Provenance of an image, for `make verify` and before every apply.

An image is accepted when the repository's own workflow has attested, in the registry beside the
image, that it built this digest (SLSA provenance) and what is in it (CycloneDX); when the bill fits
the binary; and when the commit in the binary is the commit of the workflow's run. An attacker who
may only push to the registry cannot forge that. attestation.py checks the signatures.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
import zlib
from dataclasses import dataclass
from typing import Callable

from tools.build import commit
from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.progress import TargetError
from tools.supply import oci, sbom
from tools.supply.oci import Registry

PROGRAM = toolchain.TOOLS / "sigstore" / "bin" / "python"
PROVENANCE = "https://slsa.dev/provenance/v1"
BILL = "https://cyclonedx.org/bom"
BUNDLE = "application/vnd.dev.sigstore.bundle"
# A digest that was built again has some of each kind; thousands would be an attack.
BUNDLES = 50
# Fetching whom to trust takes some seconds, each signature milliseconds.
ANSWER_SECONDS = 120
# Ours have at most 8 MB.
BINARY_BYTES = 64 << 20
REPOSITORY = re.compile(r"([A-Za-z0-9-]+/[A-Za-z0-9._-]+)(?:@(refs/[^\s@]+))?")


class NotVerified(TargetError):
    """An image is rejected; the message has the reason."""


@dataclass(frozen=True)
class Builder:
    """The required builder: a repository of GitHub, and optionally the branch or tag."""

    repository: str
    ref: str

    @classmethod
    def parse(cls, text: str) -> Builder:
        found = REPOSITORY.fullmatch(text)
        if found is None:
            raise Refused(
                f"whose workflow must have built it? REPOSITORY is {text!r}, and must be OWNER/NAME, or"
                " OWNER/NAME@refs/heads/main for that branch alone"
            )
        return cls(found[1], found[2] or "")


def split(image: str) -> tuple[str, str]:
    """The repository and the digest of an image."""
    url, _, digest = image.partition("@")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or "/" not in url:
        raise Refused(f"IMAGE is {image!r}, and must be REGISTRY/NAME@sha256:DIGEST: a tag can be moved")
    return url, digest


def verify(
    image: str,
    builder: Builder,
    registry: Registry,
    expected: str | None,
    say: Callable[[str], None],
    preview: bool = False,
) -> None:
    """Ends in NotVerified unless all of it is true; `expected` is the commit that the service must
    have, or none for any that the workflow's run had."""
    url, digest = split(image)
    service = url.rsplit("/", 1)[1]
    manifest = registry.exactly(digest)
    provenance = attested(registry, digest, builder, PROVENANCE)
    for platform in platforms(manifest, digest):
        bill = attested(registry, platform, builder, BILL)
        binary, labeled = content(registry, platform, service)
        check_bill(service, bill["predicate"], binary)
        check_commit(service, binary, labeled, provenance, expected, preview)
    say(
        f"{service} {digest[:19]} is of {(labeled or '')[:12]}, built by {builder.repository} at"
        f" {provenance['commit'][:12]} ({provenance['ref']}) in {provenance['run']}"
    )


def platforms(manifest: dict, digest: str) -> list[str]:
    """The images behind a digest: itself, or one for each processor."""
    if "manifests" not in manifest:
        return [digest]
    found = [entry["digest"] for entry in manifest["manifests"]]
    if not found:
        raise NotVerified(f"{digest} is a list of no images")
    return found


def attested(registry: Registry, digest: str, builder: Builder, kind: str) -> dict:
    """The first attestation of that kind that counts."""
    bundles = registry.attached(digest, BUNDLE, BUNDLES)
    if not bundles:
        raise NotVerified(f"{registry.repository}@{digest} has no attestation in the registry")
    question = {"bundles": bundles, "digest": digest, "repository": builder.repository, "ref": builder.ref}
    answers = verify_bundles(question)
    good = [answer for answer in answers if answer.get("type") == kind]
    if good:
        return good[0]
    reasons = sorted({answer.get("error") or f"it is of the kind {answer['type']}" for answer in answers})
    raise NotVerified(
        f"{registry.repository}@{digest} has no attestation {kind} by {builder.repository}"
        f"{builder.ref and f' at {builder.ref}'}: {'; '.join(reasons)}"
    )


def verify_bundles(question: dict) -> list[dict]:
    """attestation.py's answers."""
    question["trusted_root"] = os.environ.get("TRUSTED_ROOT", "")
    try:
        done = subprocess.run(
            [str(PROGRAM), "-m", "tools.supply.attestation"],
            cwd=toolchain.ROOT,
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=ANSWER_SECONDS,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise NotVerified(f"attestations cannot be verified here: {error}") from None
    if "attestations" not in answer:
        reason = answer.get("error") or done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise NotVerified(f"attestations cannot be verified here: {reason}")
    return answer["attestations"]


def content(registry: Registry, digest: str, service: str) -> tuple[bytes, str | None]:
    """The only file of an image, and the commit in the image's labels."""
    manifest = registry.exactly(digest)
    try:
        config = json.loads(registry.blob(manifest["config"]["digest"]))
        labeled = (config["config"].get("Labels") or {}).get(oci.REVISION)
        if len(manifest["layers"]) != 1:
            raise NotVerified(f"{registry.repository}@{digest} has {len(manifest['layers'])} layers, not one")
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        layer = unpacker.decompress(registry.blob(manifest["layers"][0]["digest"]), BINARY_BYTES)
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            files = archive.getmembers()
            if [file.name for file in files] != [service] or not files[0].isfile():
                raise NotVerified(f"{registry.repository}@{digest} has {[file.name for file in files]} in it")
            file = archive.extractfile(files[0])
            assert file, "it is a file"
            return file.read(), labeled
    except (zlib.error, tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
        raise NotVerified(f"{registry.repository}@{digest} is no image like ours: {error!r}") from None


def check_bill(service: str, bill: dict, binary: bytes) -> None:
    try:
        wrong = sbom.differences(service, bill, binary)
    except sbom.NoList as error:
        raise NotVerified(f"{service}: {error}") from None
    if wrong:
        raise NotVerified(f"the bill of materials does not fit {service}: {'; '.join(wrong[:5])}")


def known(revision: str) -> bool:
    """Whether a commit is in this clone, or can be fetched by its name."""
    commit_exists = ("cat-file", "-e", f"{revision}^{{commit}}")
    if commit.git(toolchain.ROOT, *commit_exists) is None:
        fetch(revision)
    return commit.git(toolchain.ROOT, *commit_exists) is not None


def fetch(revision: str) -> None:
    commit.git(toolchain.ROOT, "fetch", "--quiet", "--no-tags", "origin", revision)


def check_commit(
    service: str, binary: bytes, labeled: str | None, provenance: dict, expected: str | None, preview: bool = False
) -> None:
    """The commit is the same in image and binary, it is the expected one, and the run had it."""
    inside = oci.revision(binary).get(oci.REVISION)
    if inside is None or inside != labeled:
        raise NotVerified(f"{service}: the image has the commit {labeled}, and its binary {inside}")
    if expected and inside != expected:
        raise NotVerified(f"{service} has the commit {inside} instead of {expected}")
    run = provenance["commit"]
    if not known(run):
        # A pull request's run is of a merge commit, which its next push replaces. Only the preview of a pull request
        # runs such images (environments.py), and the signature still names repository, run and ref.
        if preview and re.fullmatch(r"refs/pull/[0-9]+/merge", provenance["ref"]):
            return
        raise NotVerified(f"{service} was built at {run}, which is not in this clone: run `git fetch`")
    if commit.git(toolchain.ROOT, "merge-base", "--is-ancestor", inside, run) is None:
        raise NotVerified(f"{service} has the commit {inside}, which is no ancestor of {run}, where it was built")
