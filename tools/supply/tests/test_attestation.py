"""Verification of attestations. Runs with the Python of .tools/sigstore; elsewhere it is skipped."""

import base64
import copy
import json
import tempfile
import unittest
from pathlib import Path

try:
    from sigstore.verify import Verifier

    from tools.supply import attestation
    from tools.supply.tests.fake_sigstore import FakeSigstore
except ImportError:
    raise unittest.SkipTest("needs Python's sigstore: `make test` runs it with the one in .tools/") from None

DIGEST = f"sha256:{'d' * 64}"
OURS = "acme/system-stats"
PROVENANCE = "https://slsa.dev/provenance/v1"


class WhatIsBelieved(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sigstore = FakeSigstore()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "trusted_root.json")
            file.write_text(json.dumps(cls.sigstore.trusted_root()))
            cls.verifier = Verifier(trusted_root=attestation.trusted_root(str(file)))

    def attested(self, digest=DIGEST, repository=OURS, **token):
        return self.sigstore.attest(digest, PROVENANCE, {"by": "a workflow"}, repository, **token)

    def verify_bundle(self, bundle, ref=""):
        return attestation.verify_bundle(self.verifier, attestation.expected(OURS, ref), bundle, DIGEST)

    def refused(self, bundle, words, ref=""):
        verify_bundle = self.verify_bundle(bundle, ref)
        self.assertEqual(list(verify_bundle), ["error"], verify_bundle)
        self.assertIn(words, verify_bundle["error"])

    def test_our_workflow_is_accepted_with_its_commit_and_run(self):
        self.assertEqual(
            self.verify_bundle(self.attested(commit="2" * 40), "refs/heads/main"),
            {
                "type": PROVENANCE,
                "predicate": {"by": "a workflow"},
                "commit": "2" * 40,
                "ref": "refs/heads/main",
                "run": f"https://github.com/{OURS}/actions/runs/1/attempts/1",
                "workflow": f"https://github.com/{OURS}/.github/workflows/main.yaml@refs/heads/main",
            },
        )

    def test_another_branch_counts_where_none_is_wanted(self):
        self.assertNotIn("error", self.verify_bundle(self.attested(ref="refs/pull/1/merge")))

    def test_what_is_not_of_our_workflow_or_of_another_image_is_refused(self):
        stranger = "https://github.com/mallory/sign/.github/workflows/sign.yaml@refs/heads/main"
        others = ("mallory/system-stats", "acme/system-stats-fork", "acme/system")
        for given, words, ref in (
            *(({"repository": other}, "OIDCSourceRepositoryURI does not match", "") for other in others),
            ({"ref": "refs/pull/1/merge"}, "OIDCSourceRepositoryRef", "refs/heads/main"),
            # A workflow of another repository, called by ours.
            ({"workflow": stranger}, "signed by https://github.com/mallory/", ""),
            ({"issuer": "https://gitlab.com"}, "OIDCIssuerV2 does not match", ""),
            ({"digest": f"sha256:{'e' * 64}"}, f"not {DIGEST}", ""),
        ):
            with self.subTest(given):
                self.refused(self.attested(**given), words, ref)
        self.refused(FakeSigstore().attest(DIGEST, PROVENANCE, {}, OURS), "certificate chain")

    def test_an_altered_attestation_is_not(self):
        payload = json.loads(base64.b64decode(self.attested()["dsseEnvelope"]["payload"]))
        payload["predicate"] = {"by": "me"}
        altered = self.attested()
        altered["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
        self.refused(altered, "signature")
        for place in (("inclusionProof", "rootHash"), ("inclusionPromise", "signedEntryTimestamp")):
            altered = self.attested()
            proof = altered["verificationMaterial"]["tlogEntries"][0]
            proof[place[0]][place[1]] = base64.b64encode(bytes(32)).decode()
            self.refused(altered, "")

    def test_the_log_entry_of_another_signature_is_not(self):
        mixed, other = self.attested(), self.attested()
        mixed["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
        self.refused(mixed, "do not match")

    def test_a_part_that_is_missing_is_an_answer_and_no_crash(self):
        bundle = self.attested()
        for name in list(bundle):
            part = copy.deepcopy(bundle)
            del part[name]
            self.refused(part, "")
        for nonsense in ({}, {"mediaType": 1}, [], "text", None):
            self.refused(nonsense, "")

    def test_a_signed_text_that_is_no_statement_is_not(self):
        for text in (b"{}", b"[]", b"no json", b'{"_type":"https://in-toto.io/Statement/v1","subject":[{}]}'):
            self.refused(self.sigstore.bundle(text, OURS), "")
