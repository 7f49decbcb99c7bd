"""Verification of images. The signatures are real, of a fake Sigstore that is created for the
test; runs with the Python of .tools/sigstore, elsewhere it is skipped."""

import json
import os
import unittest
from pathlib import Path
from unittest import mock

try:
    from tools.supply.tests.fake_sigstore import FakeSigstore
except ImportError:
    raise unittest.SkipTest("needs Python's sigstore: `make test` runs it with the one in .tools/") from None

from tools.build import commit
from tools.common import environments
from tools.common.tests.case import Case
from tools.supply import oci, sbom, verify
from tools.supply.tests.test_oci import STATS
from tools.supply.tests.test_sbom import KNOWN, LISTED, made_of

OURS = "acme/system-stats"
HEAD = commit.git(commit.ROOT, "rev-parse", "HEAD")


def binary(built_from: str, listed=LISTED) -> bytes:
    """For arm64, made of those crates, and telling that commit."""
    made = made_of(listed)
    return made[:18] + b"\xb7\0" + made[20:] + f"{built_from} 2026-11-25T01:02:03Z".encode()


class Shelf:
    """A repository of a registry, in memory."""

    repository = "system-stats/stats"

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.documents: dict[str, list[dict]] = {}

    def push(self, image: oci.Image) -> str:
        for part in (image.manifest, image.config, image.layer):
            self.blobs[oci.digest(part)] = part
        return image.digest

    def exactly(self, digest: str) -> dict:
        return json.loads(self.blobs[digest])

    def blob(self, digest: str) -> bytes:
        return self.blobs[digest]

    def attached(self, subject: str, _kind: str, _most: int) -> list[dict]:
        return self.documents.get(subject, [])


@unittest.skipIf(HEAD is None or commit.cut_off(), "there is no history here that an image could be of")
class Verification(Case):
    def setUp(self):
        self.shelf, self.sigstore, self.messages = Shelf(), FakeSigstore(), []
        file = self.temporary_folder() / "trusted_root.json"
        file.write_text(json.dumps(self.sigstore.trusted_root()))
        self.enter(mock.patch.dict(os.environ, {"TRUSTED_ROOT": str(file)}), mock.patch.object(verify, "fetch"))

    def image(self, built_from=HEAD, content=None) -> str:
        self.content = content or binary(built_from)
        return self.shelf.push(oci.pack(STATS, self.content, "ARM64"))

    def attest(self, digest, bill=None, repository=OURS, run=HEAD, **token):
        bill = bill or sbom.sbom("stats", self.content, KNOWN)
        self.shelf.documents[digest] = [
            self.sigstore.attest(digest, kind, predicate, repository, commit=run, **token)
            for kind, predicate in ((verify.PROVENANCE, {"buildDefinition": {}}), (verify.BILL, bill))
        ]

    def attested(self) -> str:
        digest = self.image()
        self.attest(digest)
        return digest

    def verify(self, digest, expected=None, builder=OURS, preview=False):
        image = f"registry.example.org/system-stats/stats@{digest}"
        by = verify.Builder.parse(builder)
        verify.verify(image, by, self.shelf, expected, self.messages.append, preview)
        return self.messages[-1]

    def refused(self, reason, digest, **options):
        with self.assertRaisesRegex(verify.NotVerified, reason):
            self.verify(digest, **options)

    def test_what_our_workflow_has_built_is(self):
        digest = self.attested()
        message = self.verify(digest, expected=HEAD, builder=f"{OURS}@refs/heads/main")
        self.assertIn(f"is of {HEAD[:12]}, built by {OURS} at {HEAD[:12]} (refs/heads/main)", message)

    def test_without_an_attestation_of_this_repository_and_branch_it_is_rejected(self):
        digest = self.image()
        self.refused("has no attestation in the registry", digest)
        self.attest(digest, repository="mallory/system-stats")
        self.refused("by acme/system-stats: .*OIDCSourceRepositoryURI", digest)
        self.attest(digest, ref="refs/heads/experiment")
        self.refused("at refs/heads/main: .*refs/heads/experiment", digest, builder=f"{OURS}@refs/heads/main")

    def test_the_attestations_of_another_image_are_not_enough(self):
        other, digest = self.image(built_from="1" * 40), self.image()
        self.attest(other)
        self.shelf.documents[digest] = self.shelf.documents[other]
        self.refused(f"it is about {other[7:]}", digest)

    def test_one_kind_of_attestation_is_not_enough(self):
        digest = self.attested()
        for left in (0, 1):
            documents = self.shelf.documents[digest]
            self.shelf.documents = {digest: [documents[left]]}
            self.refused("it is of the kind", digest)
            self.shelf.documents = {digest: documents}

    def test_a_bill_that_does_not_fit_is_not(self):
        digest = self.image()
        bill = sbom.sbom("stats", binary(HEAD, [LISTED[0], {**LISTED[2], "dependencies": [0]}]), KNOWN)
        self.attest(digest, bill=bill)
        self.refused("does not fit stats: .*leaves out pkg:cargo/cc", digest)

    def test_a_commit_that_is_not_the_wanted_one_or_that_the_run_did_not_have_is_not(self):
        self.refused(f"has the commit {HEAD} instead of 2222", self.attested(), expected="2" * 40)
        for image, run, reason in (
            ({"built_from": "1" * 40}, HEAD, "is no ancestor of"),
            ({}, "3" * 40, "which is not in this clone"),
            ({"content": binary("nothing")}, HEAD, "the image has the commit None"),
        ):
            digest = self.image(**image)
            self.attest(digest, run=run)
            self.refused(reason, digest)

    def test_the_merge_commit_of_an_earlier_push_counts_for_a_preview_alone(self):
        """GitHub replaces the merge commit of a pull request with every push."""
        gone, merged = "9" * 40, "refs/pull/7/merge"
        digest = self.image()
        self.attest(digest, run=gone, ref=merged)
        self.assertIn(f"built by {OURS} at {gone[:12]} ({merged})", self.verify(digest, preview=True))
        self.refused("not in this clone", digest)
        self.attest(digest, run=gone, ref="refs/heads/main")
        self.refused("not in this clone", digest, preview=True)

    def test_an_image_that_has_more_than_the_binary_is_not(self):
        digest = self.attested()
        manifest = json.loads(self.shelf.blobs[digest])
        for change in ({"layers": manifest["layers"] * 2}, {"layers": [manifest["config"]]}, {"config": {}}):
            other = oci.canonical({**manifest, **change})
            self.shelf.blobs[oci.digest(other)] = other
            self.attest(oci.digest(other))
            self.refused("layers, not one|no image like ours", oci.digest(other))

    def test_of_several_processors_each_has_its_bill(self):
        platform = self.image()
        self.attest(platform)
        index = oci.canonical({"schemaVersion": 2, "manifests": [{"digest": platform}]})
        self.shelf.blobs[oci.digest(index)] = index
        digest = oci.digest(index)
        self.refused("has no attestation in the registry", digest)
        documents = self.shelf.documents[platform]
        self.attest(digest)
        self.verify(digest)
        self.shelf.documents[platform] = documents[:1]
        self.refused("has no attestation https://cyclonedx.org/bom", digest)

    def test_where_attestations_cannot_be_verified_nothing_is_believed(self):
        digest = self.attested()
        with mock.patch.dict(os.environ, {"TRUSTED_ROOT": "/nowhere"}):
            self.refused("cannot be verified here: whom to trust", digest)
        with mock.patch.object(verify, "PROGRAM", Path("/nowhere")):
            self.refused("cannot be verified here", digest)


class TheQuestion(unittest.TestCase):
    def test_a_tag_is_no_image_and_half_a_repository_is_none(self):
        for image in ("", "r.example.org/stats:latest", "r.example.org/stats@sha256:12", f"stats@sha256:{'1' * 64}"):
            with self.assertRaisesRegex(environments.Refused, "a tag can be moved"):
                verify.split(image)
        for text in ("", "system-stats", "a/b/c", "acme/system-stats@main"):
            with self.assertRaisesRegex(environments.Refused, "whose workflow"):
                verify.Builder.parse(text)
