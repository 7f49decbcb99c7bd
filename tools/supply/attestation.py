"""Verification of attestations: the signing workflow and the statement.

A program of its own, because it needs Python's sigstore, which is apart from all else (see pypi.py):
a question in JSON on standard input, the answer in JSON on standard output. verify.py calls it.

    {"bundles": [...], "digest": "sha256:...", "repository": "OWNER/NAME", "ref": "" or "refs/...",
     "trusted_root": "" or a file}
"""

import json
import sys

from cryptography.x509 import Certificate, ObjectIdentifier
from sigstore.errors import Error, VerificationError
from sigstore.models import Bundle, ClientTrustConfig, TrustedRoot
from sigstore.verify import Verifier, policy

ISSUER = "https://token.actions.githubusercontent.com"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
# Certificate extensions that Fulcio sets from the token of a workflow (its docs/oid-info.md).
BUILD_SIGNER = ObjectIdentifier("1.3.6.1.4.1.57264.1.9")
COMMIT = ObjectIdentifier("1.3.6.1.4.1.57264.1.13")
REF = ObjectIdentifier("1.3.6.1.4.1.57264.1.14")
RUN = ObjectIdentifier("1.3.6.1.4.1.57264.1.21")


def main() -> int:
    question = json.load(sys.stdin)
    try:
        verifier = Verifier(trusted_root=trusted_root(question["trusted_root"]))
    except (Error, OSError, ValueError) as error:
        json.dump({"error": f"whom to trust cannot be read: {error}"}, sys.stdout)
        return 0
    expected_policy = expected(question["repository"], question["ref"])
    answers = [verify_bundle(verifier, expected_policy, bundle, question["digest"]) for bundle in question["bundles"]]
    json.dump({"attestations": answers}, sys.stdout)
    return 0


def trusted_root(file: str) -> TrustedRoot:
    """Sigstore's own, brought up to date by its signed repository; or that in a file, for a machine
    that may not reach it."""
    return TrustedRoot.from_file(file) if file else ClientTrustConfig.production().trusted_root


def expected(repository: str, ref: str) -> policy.AllOf:
    """Signed for a workflow of that repository, whose run was of that repository (and ref), too."""
    home = f"https://github.com/{repository}"
    policies = [
        policy.OIDCIssuerV2(ISSUER),
        policy.OIDCSourceRepositoryURI(home),
        SignedByWorkflow(f"{home}/.github/workflows/"),
    ]
    return policy.AllOf([*policies, *([policy.OIDCSourceRepositoryRef(ref)] if ref else [])])


class SignedByWorkflow:
    """The workflow that signed is one of these; our workflow could call one of another repository."""

    def __init__(self, beginning: str) -> None:
        self.beginning = beginning

    def verify(self, certificate: Certificate) -> None:
        signer = text(certificate, BUILD_SIGNER)
        if not signer.startswith(self.beginning):
            raise VerificationError(f"signed by {signer}, which does not begin {self.beginning}")


def verify_bundle(verifier: Verifier, expected_policy: policy.AllOf, bundle: dict, digest: str) -> dict:
    """The statement of one attestation about the digest, or the reason to ignore it."""
    try:
        parsed = Bundle.from_json(json.dumps(bundle))
        kind, payload = verifier.verify_dsse(parsed, expected_policy)
        if kind != PAYLOAD:
            raise VerificationError(f"it has {kind}, not {PAYLOAD}")
        statement = json.loads(payload)
        if statement.get("_type") != STATEMENT:
            raise VerificationError(f"it is a {statement.get('_type')}, not a {STATEMENT}")
        subjects = [subject["digest"].get("sha256") for subject in statement["subject"]]
        if digest.partition(":")[2] not in subjects:
            raise VerificationError(f"it is about {', '.join(map(str, subjects))}, not {digest}")
        certificate = parsed.signing_certificate
    # A bundle is untrusted input: an invalid one is ignored.
    except (Error, ValueError, KeyError, TypeError, AttributeError) as error:
        return {"error": f"{error}" or type(error).__name__}
    return {
        "type": statement["predicateType"],
        "predicate": statement["predicate"],
        "commit": text(certificate, COMMIT),
        "ref": text(certificate, REF),
        "run": text(certificate, RUN),
        "workflow": text(certificate, BUILD_SIGNER),
    }


def text(certificate: Certificate, name: ObjectIdentifier) -> str:
    """An extension that is one DER-encoded UTF8String; its length is in one byte or in some more."""
    value = certificate.extensions.get_extension_for_oid(name).value.value
    return value[2 + (value[1] & 0x7F if value[1] & 0x80 else 0) :].decode()


if __name__ == "__main__":
    sys.exit(main())
