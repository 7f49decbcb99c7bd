"""The rehearsal of attestations. The signer is a fake; the verifier is real."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from sandbox import Sandbox

from tools.build import commit
from tools.common.toolchain import ROOT
from tools.supply import oci, sbom, verify

# The repository of the attested workflow.
BUILDER = "acme/system-stats"


def rehearse_attestations(sandbox: Sandbox, staging: Path) -> str:
    """An environment that takes only images that a workflow has built. Returns the last commit, empty if skipped."""
    make = sandbox.make
    if not sandbox.attestable or not verify.PROGRAM.exists():
        print(
            "rehearsal: SKIPPED: attestations; the binaries were built with changes that are not"
            " committed, or there is no sigstore",
            flush=True,
        )
        return ""
    before = staging.read_text()
    staging.write_text(before + f'\nattested_by = "{BUILDER}@refs/heads/main"\n')
    sandbox.touch("gateway")
    revision = sandbox.commit("only what a workflow has built")
    sandbox.variables["BINARIES"] = str(sandbox.stamp_binaries())
    make("deploy", 64, f"takes only images that {BUILDER}@refs/heads/main has built")
    # Images pushed by hand have other tags than those of the workflow for the same commit.
    make("push", 0, "gateway: pushing", S="gateway")
    make("deploy", 64, f"takes only images that {BUILDER}@refs/heads/main has built")
    inside = {"GITHUB_ACTIONS": "true"}
    make("push", 0, "gateway: pushing", "bill of gateway for arm64", **inside)
    make("deploy", 1, "has no attestation in the registry")
    # By another repository, by ours, and then with one signature altered.
    trusted = attest(sandbox, revision, "mallory/system-stats")
    mismatch = "OIDCSourceRepositoryURI does not match"
    make("deploy", 1, f"by {BUILDER}", mismatch, TRUSTED_ROOT=trusted)
    trusted = attest(sandbox, revision, BUILDER)
    built = f"built by {BUILDER} at {revision[:12]} (refs/heads/main)"
    make("deploy", 0, built, f"{revision[:12]} runs in staging", TRUSTED_ROOT=trusted)
    image = f"{sandbox.registry}/system-stats/gateway@{image_digest(sandbox, 'gateway')}"
    variables = {"IMAGE": image, "TRUSTED_ROOT": trusted}
    make("verify", 0, "gateway sha256:", **variables)
    make("verify", 1, "FAILED", REPOSITORY="mallory/system-stats", **variables)
    make("verify", 64, "a tag can be moved", IMAGE="registry.example.org/stats:latest")
    attest(sandbox, revision, BUILDER, altered=True)
    make("deploy", 1, "has no attestation https://slsa.dev/provenance/v1", TRUSTED_ROOT=trusted)
    staging.write_text(before)
    last = sandbox.commit("everyone with push permission")
    make("deploy", 0, "NOT VERIFIED who built these images", f"{last[:12]} runs in staging")
    return last


def registry_of(sandbox: Sandbox, name: str) -> oci.Registry:
    return oci.Registry(f"{sandbox.registry}/system-stats/{name}")


def image_digest(sandbox: Sandbox, name: str) -> str:
    """The image of a service for both processors."""
    tag = commit.made_from(name, sandbox.repository).split()[0]
    found = registry_of(sandbox, name).digest_of(tag)
    assert found is not None, (name, tag)
    return found


def bill_of_materials(sandbox: Sandbox, name: str, digest: str, crates: sbom.Crates) -> dict:
    """The content of the image of one platform."""
    binary, _ = verify.content(registry_of(sandbox, name), digest, name)
    return sbom.sbom(name, binary, crates)


def attest(sandbox: Sandbox, revision: str, repository: str, altered: bool = False) -> str:
    """Attests all three images as the workflow does, and returns the trusted root file."""
    crates = sbom.Crates.of_workspace()
    requests, subjects = [], []
    for name in commit.INPUTS:
        index = image_digest(sandbox, name)
        platforms = verify.platforms(registry_of(sandbox, name).exactly(index), index)
        statements = [(index, verify.PROVENANCE, {"buildDefinition": {}})]
        statements += [
            (platform, verify.BILL, bill_of_materials(sandbox, name, platform, crates)) for platform in platforms
        ]
        for digest, kind, predicate in statements:
            statement = {"digest": digest, "type": kind, "predicate": predicate}
            requests.append({**statement, "repository": repository, "commit": revision})
            subjects.append((name, digest))
    program = [str(verify.PROGRAM), "-m", "tools.supply.tests.fake_sigstore"]
    signed = subprocess.run(
        program, cwd=ROOT, input=json.dumps(requests).encode(), stdout=subprocess.PIPE, check=True, timeout=60
    )
    signed = json.loads(signed.stdout)
    for (name, digest), bundle in zip(subjects, signed["bundles"]):
        if altered:
            bundle["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
        attach(registry_of(sandbox, name), digest, [bundle])
    file = sandbox.folder / f"trusted-{sandbox.passed}.json"
    file.write_text(json.dumps(signed["trusted_root"]))
    return str(file)


def attach(registry: oci.Registry, digest: str, documents: list) -> None:
    """Puts documents beside an image, under the tag for registries that cannot list them themselves."""
    entries = []
    for document in documents:
        blob, empty = oci.canonical(document), b"{}"
        kind = document["mediaType"]
        manifest = {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST,
            "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": oci.digest(empty), "size": 2},
            "layers": [{"mediaType": kind, "digest": oci.digest(blob), "size": len(blob)}],
        }
        # `push` sends the parts of an image.
        image = oci.Image(oci.canonical(manifest), empty, blob)
        registry.push(image, f"attestation-{image.digest[7:19]}")
        one = {"mediaType": oci.MANIFEST, "digest": image.digest, "size": len(image.manifest)}
        entries.append({**one, "artifactType": kind})
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}
    registry.put(digest.replace(":", "-"), oci.INDEX, oci.canonical(index))
