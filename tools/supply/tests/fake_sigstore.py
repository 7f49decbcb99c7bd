"""A certificate authority, a certificate log and a signature log as Sigstore has them, for tests.

What signs here is created for each test and trusted only there. The bundles have the form of
those that GitHub's actions/attest makes, so that the real verification runs over them.

As a program: `[{"digest", "type", "predicate", "repository", "commit"}, ...]` on standard input,
`{"trusted_root", "bundles"}` on standard output.
"""

import base64
import datetime
import hashlib
import json
import struct
import sys

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
ISSUER = "https://token.actions.githubusercontent.com"
FULCIO = "1.3.6.1.4.1.57264.1."
SCT_LIST = "1.3.6.1.4.1.11129.2.4.2"


class FakeSigstore:
    """A complete Sigstore whose log has one entry for each attestation."""

    def __init__(self) -> None:
        self.authority, self.certificates, self.log = (ec.generate_private_key(ec.SECP256R1()) for _ in "123")
        self.now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake-sigstore")])
        self.root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.authority.public_key())
            .serial_number(1)
            .not_valid_before(self.now - datetime.timedelta(days=1))
            .not_valid_after(self.now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.authority.public_key()), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    def trusted_root(self) -> dict:
        start = {"start": (self.now - datetime.timedelta(days=1)).isoformat().replace("+00:00", "Z")}

        def log(key: ec.EllipticCurvePrivateKey) -> dict:
            public = der(key)
            return {
                "baseUrl": "https://log.example.org",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": b64(public), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": start},
                "logId": {"keyId": b64(hashlib.sha256(public).digest())},
            }

        certificate = b64(self.root.public_bytes(serialization.Encoding.DER))
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log)],
            "ctlogs": [log(self.certificates)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "example.org", "commonName": "fake-sigstore"},
                    "uri": "https://authority.example.org",
                    "certChain": {"certificates": [{"rawBytes": certificate}]},
                    "validFor": start,
                }
            ],
            "timestampAuthorities": [],
        }

    def attest(self, digest: str, predicate_type: str, predicate: dict, repository: str, **token: str) -> dict:
        """The bundle that actions/attest creates for a digest in a workflow with that token."""
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "image", "digest": {"sha256": digest.partition(":")[2]}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
        return self.bundle(json.dumps(statement).encode(), repository, **token)

    def bundle(self, payload: bytes, repository: str, **token: str) -> dict:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.certificate(key, claims(repository, **token))
        signed = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
        signature = b64(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        pem = b64(certificate.public_bytes(serialization.Encoding.PEM))
        return {
            "mediaType": BUNDLE,
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(certificate.public_bytes(serialization.Encoding.DER))},
                "tlogEntries": [self.entry(payload, signature, pem)],
            },
            "dsseEnvelope": {"payload": b64(payload), "payloadType": PAYLOAD, "signatures": [{"sig": signature}]},
        }

    def certificate(self, key: ec.EllipticCurvePrivateKey, extensions: dict[str, str]) -> x509.Certificate:
        """For ten minutes, with the token's claims and the certificate log's receipt (RFC 6962)."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(2)
            .not_valid_before(self.now - datetime.timedelta(minutes=1))
            .not_valid_after(self.now + datetime.timedelta(minutes=9))
            .add_extension(key_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(extensions["9"])]), critical=True
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()), critical=False
            )
        )
        for number, text in extensions.items():
            value = x509.UnrecognizedExtension(x509.ObjectIdentifier(FULCIO + number), utf8(text))
            builder = builder.add_extension(value, critical=False)
        before = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        moment = int(self.now.timestamp() * 1000)
        issuer = hashlib.sha256(der(self.authority)).digest()
        entry = issuer + len(before).to_bytes(3, "big") + before
        signed = struct.pack("!BBQH", 0, 0, moment, 1) + entry + b"\0\0"
        signature = self.certificates.sign(signed, ec.ECDSA(hashes.SHA256()))
        receipt = b"\0" + hashlib.sha256(der(self.certificates)).digest() + struct.pack("!QH", moment, 0)
        receipt += b"\4\3" + struct.pack("!H", len(signature)) + signature
        receipts = struct.pack("!HH", len(receipt) + 2, len(receipt)) + receipt
        value = x509.UnrecognizedExtension(x509.ObjectIdentifier(SCT_LIST), b"\4" + length(receipts) + receipts)
        return builder.add_extension(value, critical=False).sign(self.authority, hashes.SHA256())

    def entry(self, payload: bytes, signature: str, pem: str) -> dict:
        """The only entry of the log, with the log's promise and its proof."""
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": signature, "verifier": pem}],
        }
        body = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        log_id = hashlib.sha256(der(self.log)).digest()
        moment = int(self.now.timestamp())
        promised = {"body": b64(body), "integratedTime": moment, "logID": log_id.hex(), "logIndex": 0}
        root = b64(hashlib.sha256(b"\0" + body).digest())
        note = f"log.example.org\n1\n{root}\n"
        sealed = b64(log_id[:4] + self.sign(note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": b64(log_id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(moment),
            "inclusionPromise": {"signedEntryTimestamp": b64(self.sign(rfc8785.dumps(promised)))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": root,
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 log.example.org {sealed}\n"},
            },
            "canonicalizedBody": b64(body),
        }

    def sign(self, data: bytes) -> bytes:
        return self.log.sign(data, ec.ECDSA(hashes.SHA256()))


def claims(
    repository: str, commit: str = "1" * 40, ref: str = "refs/heads/main", workflow: str = "", issuer: str = ISSUER
) -> dict[str, str]:
    """By the last number of Fulcio's names (its docs/oid-info.md)."""
    home = f"https://github.com/{repository}"
    return {
        "8": issuer,
        "9": workflow or f"{home}/.github/workflows/main.yaml@{ref}",
        "12": home,
        "13": commit,
        "14": ref,
        "21": f"{home}/actions/runs/1/attempts/1",
    }


def key_usage(sign_certificates: bool = False) -> x509.KeyUsage:
    others = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
        **others,
    )


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def utf8(text: str) -> bytes:
    return b"\x0c" + length(text.encode()) + text.encode()


def length(content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes([len(content)])
    size = (len(content).bit_length() + 7) // 8
    return bytes([0x80 | size]) + len(content).to_bytes(size, "big")


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def main() -> None:
    sigstore = FakeSigstore()
    bundles = [
        sigstore.attest(
            request["digest"], request["type"], request["predicate"], request["repository"], commit=request["commit"]
        )
        for request in json.load(sys.stdin)
    ]
    json.dump({"trusted_root": sigstore.trusted_root(), "bundles": bundles}, sys.stdout)


if __name__ == "__main__":
    main()
