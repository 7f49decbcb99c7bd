"""An image without a container engine: one binary, packed and pushed by the specifications of OCI.

The same binary results in the same digest, independent of machine and time: the image's labels
come from the binary. A service with an unchanged binary is not deployed again.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tools.build.dockerfile import Stage
from tools.common.progress import TargetError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ACCEPTED = f"{MANIFEST}, {INDEX}, application/vnd.docker.distribution.manifest.v2+json"
# Architecture names of Terraform, and of images.
ARCHITECTURES = {"ARM64": "arm64", "X86_64": "amd64"}
# The ELF header's e_machine.
MACHINES = {0xB7: "ARM64", 0x3E: "X86_64"}
REVISION = "org.opencontainers.image.revision"
CREATED = "org.opencontainers.image.created"
# The value of BUILT_FROM that tools/build/build.py passes to the compiler; the binary contains it unchanged.
MADE_FROM = re.compile(rb"([0-9a-f]{40}(?:-dirty)?) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
# A layer has at most 3 MB: on 1 Mbit/s it takes half a minute.
REQUEST_SECONDS = 120
TRIES = 3


class ImageError(TargetError):
    """An image cannot be packed or pushed; the message has the reason."""


@dataclass(frozen=True)
class Image:
    manifest: bytes
    config: bytes
    layer: bytes

    @property
    def digest(self) -> str:
        return digest(self.manifest)


def pack(stage: Stage, binary: bytes, architecture: str, level: int = 9) -> Image:
    """The image that a final stage of the Dockerfile describes, for the given processor."""
    built_for = machine(binary)
    if built_for != architecture:
        raise ImageError(f"{stage.name}: the binary is for {built_for}, and the environment needs {architecture}")
    tar = tarred([(stage.name, 0o755, binary)])
    layer = gzip.compress(tar, compresslevel=level, mtime=0)
    config = canonical(
        {
            "architecture": ARCHITECTURES[architecture],
            "os": "linux",
            "config": {**stage.config(), "Labels": {**stage.labels(), **revision(binary)}},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar)]},
        }
    )
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": digest(layer), "size": len(layer)}],
        }
    )
    return Image(manifest, config, layer)


def tarred(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """An archive of files by name, mode and content; the same files give the same bytes."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, mode, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return tar.getvalue()


def index(images: dict[str, Image], annotations: dict[str, str] | None = None) -> bytes:
    """One name for the images of several platforms; clients pull the matching one."""
    manifests = [
        {
            "mediaType": MANIFEST,
            "digest": image.digest,
            "size": len(image.manifest),
            "platform": {"architecture": ARCHITECTURES[architecture], "os": "linux"},
        }
        for architecture, image in sorted(images.items())
    ]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    return canonical({**document, "annotations": annotations} if annotations else document)


def revision(binary: bytes) -> dict[str, str]:
    """The labels with the commit that a binary reports, and its date."""
    found = MADE_FROM.search(binary)
    return {REVISION: found[1].decode(), CREATED: found[2].decode()} if found else {}


def machine(binary: bytes) -> str:
    """The processor that an executable is for."""
    if binary[:4] != b"\x7fELF" or len(binary) < 20:
        return "no executable of Linux"
    number = int.from_bytes(binary[18:20], "little")
    return MACHINES.get(number, f"processor {number:#x}")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def canonical(structure: dict) -> bytes:
    return json.dumps(structure, separators=(",", ":"), sort_keys=True).encode()


# Status, fields by their lower-case names, and content.
Answer = tuple[int, dict[str, str], bytes]


class Registry:
    """One repository of a registry. Plain HTTP is spoken to this machine only, as Docker does."""

    def __init__(self, repository_url: str, user: str = "", password: str = "") -> None:
        host, _, self.repository = repository_url.partition("/")
        local = re.match(r"(localhost|127\.[0-9.]+|\[::1\])(:|$)", host) is not None
        self.base = f"{'http' if local else 'https'}://{host}"
        self.basic = {}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self.basic["authorization"] = f"Basic {token}"
        self.headers = dict(self.basic)

    def digest_of(self, tag: str) -> str | None:
        """The manifest and digest of a tag; None when there is no such tag."""
        status, headers, _ = self._request("HEAD", f"manifests/{tag}", {"accept": ACCEPTED}, allowed=(200, 404))
        return headers.get("docker-content-digest") if status == 200 else None

    def manifest(self, reference: str, architecture: str = "") -> dict:
        """The manifest of a name or digest; of an index the one for that processor, or the first."""
        _, _, body = self._request("GET", f"manifests/{reference}", {"accept": ACCEPTED})
        found = json.loads(body)
        if found.get("mediaType") != INDEX:
            return found
        for entry in found["manifests"]:
            if not architecture or entry["platform"]["architecture"] == ARCHITECTURES[architecture]:
                return self.manifest(entry["digest"])
        raise ImageError(f"{self.repository}: {reference} has nothing for {architecture}")

    def exactly(self, manifest_digest: str) -> dict:
        """The manifest that has this digest, whatever the registry would like to send."""
        return json.loads(self._checked("manifests", manifest_digest, {"accept": ACCEPTED}))

    def attached(self, subject: str, kind: str, most: int) -> list[dict]:
        """The documents of a kind that were attached to a digest (OCI distribution 1.1, "Listing
        Referrers"); a registry that cannot list them has them under a tag made of the digest."""
        accept = {"accept": INDEX}
        status, _, body = self._request("GET", f"referrers/{subject}", accept, allowed=(200, 404))
        if status == 404:
            tag = subject.replace(":", "-")
            status, _, body = self._request("GET", f"manifests/{tag}", accept, allowed=(200, 404))
        entries = json.loads(body).get("manifests", []) if status == 200 else []
        matching = [entry for entry in entries if entry.get("artifactType", "").startswith(kind)]
        if len(matching) > most:
            raise ImageError(f"{self.repository}: {len(matching)} documents are attached to {subject}")
        manifests = [self.exactly(entry["digest"]) for entry in matching]
        return [json.loads(self.blob(manifest["layers"][0]["digest"])) for manifest in manifests]

    def blob(self, blob_digest: str) -> bytes:
        return self._checked("blobs", blob_digest, {})

    def _checked(self, kind: str, name: str, headers: dict) -> bytes:
        _, _, body = self._request("GET", f"{kind}/{name}", headers)
        if digest(body) != name:
            raise ImageError(f"{self.repository}: the registry sent something else than {name}")
        return body

    def push(self, image: Image, tag: str) -> None:
        """Send what is missing, the manifest last; a push that broke off is simply done again."""
        for blob in (image.config, image.layer):
            self._push_blob(blob)
        self.name(image.manifest, MANIFEST, tag)

    def name(self, manifest: bytes, kind: str, tag: str) -> None:
        """Give a manifest its tag; what it names must be there already."""
        # A tag never changes; the same image under the same tag is no change, and some registries
        # refuse it.
        if self.digest_of(tag) != digest(manifest):
            self.put(tag, kind, manifest)

    def put(self, tag: str, kind: str, manifest: bytes) -> None:
        """Give a tag to a manifest whose parts are there."""
        self._request("PUT", f"manifests/{tag}", {"content-type": kind}, manifest, allowed=(201,))

    def _push_blob(self, blob: bytes) -> None:
        name = digest(blob)
        status, _, _ = self._request("HEAD", f"blobs/{name}", allowed=(200, 404))
        if status == 200:
            return
        _, headers, _ = self._request("POST", "blobs/uploads/", {"content-length": "0"}, b"", allowed=(202,))
        octets = {"content-type": "application/octet-stream"}
        _, headers, _ = self._request("PATCH", headers["location"], octets, blob, allowed=(202,))
        place = headers["location"]
        place += ("&" if "?" in place else "?") + urllib.parse.urlencode({"digest": name})
        self._request("PUT", place, octets, b"", allowed=(201,))

    def _request(
        self,
        method: str,
        place: str,
        headers: dict | None = None,
        body: bytes | None = None,
        allowed: tuple[int, ...] = (200,),
    ) -> Answer:
        """One request; tried again when the network or the registry stumbles."""
        url = place if "://" in place else urllib.parse.urljoin(f"{self.base}/v2/{self.repository}/", place)
        for attempt in range(1, TRIES + 1):
            request = urllib.request.Request(url, data=body, method=method, headers={**self.headers, **(headers or {})})
            try:
                status, answered, content = _exchange(request)
            except (OSError, ValueError) as error:
                status, answered, content = 0, {}, str(error).encode()
            if status in allowed:
                return status, answered, content
            challenge = answered.get("www-authenticate", "")
            if status == 401 and challenge.lower().startswith("bearer ") and attempt < TRIES:
                self.headers = {"authorization": f"Bearer {self._token(challenge[7:])}"}
                continue
            if status and status < 500 and status != 429:
                break
            if attempt < TRIES:
                time.sleep(attempt)
        text = content.decode("utf-8", "replace").strip()[:300]
        path = urllib.parse.urlsplit(url).path
        raise ImageError(f"{self.repository}: {method} {path} was answered {status or 'not at all'} {text}")

    def _token(self, challenge: str) -> str:
        """A token of the registry's own server, such as GitHub's, for what was just refused
        (distribution.github.io, "Token Authentication Specification")."""
        parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = parameters.pop("realm", "")
        # The password goes to no other host, and never over plain HTTP to another machine.
        if self.basic and not realm.startswith(f"{self.base}/"):
            raise ImageError(f"{self.repository}: the registry sends to {realm} for a token")
        query = urllib.parse.urlencode({name: parameters[name] for name in ("service", "scope") if name in parameters})
        request = urllib.request.Request(f"{realm}?{query}", headers=self.basic)
        try:
            status, _, content = _exchange(request)
            found = json.loads(content) if status == 200 else {}
            return found.get("token") or found["access_token"]
        except (OSError, ValueError, KeyError):
            raise ImageError(f"{self.repository}: {realm} gives no token") from None


class _DropCredentials(urllib.request.HTTPRedirectHandler):
    """A registry sends readers of a layer to a store of its own, which refuses a second kind of credentials."""

    def redirect_request(self, *refused: Any) -> urllib.request.Request | None:
        followed = super().redirect_request(*refused)
        if followed is not None:
            followed.headers.pop("Authorization", None)
        return followed


def _exchange(request: urllib.request.Request) -> Answer:
    opener = urllib.request.build_opener(_DropCredentials)
    try:
        with opener.open(request, timeout=REQUEST_SECONDS) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()
