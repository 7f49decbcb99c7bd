"""Images without an engine: what is in them, and what goes to a registry that stumbles."""

import gzip
import hashlib
import io
import json
import tarfile
import unittest
from http.server import BaseHTTPRequestHandler
from unittest import mock

from tools.build import dockerfile
from tools.common.tests.case import Case
from tools.supply import oci


def executable(machine: int, rest: bytes = b"code") -> bytes:
    return b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little") + rest


STATS = dockerfile.stage("stats")
ARM, INTEL = executable(0xB7), executable(0x3E)


class Packing(unittest.TestCase):
    def test_an_image_is_one_executable_file_and_no_root(self):
        image = oci.pack(STATS, ARM, "ARM64")
        config = json.loads(image.config)
        self.assertEqual((config["architecture"], config["os"]), ("arm64", "linux"))
        self.assertEqual(config["config"]["User"], "65532:65532")
        self.assertEqual(config["config"]["Entrypoint"], ["/stats"])
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.layer))) as archive:
            (entry,) = archive.getmembers()
            self.assertEqual((entry.name, entry.mode, entry.mtime, entry.uid), ("stats", 0o755, 0, 0))
            self.assertEqual(archive.extractfile(entry).read(), ARM)

    def test_every_digest_is_that_of_what_it_names(self):
        image = oci.pack(STATS, ARM, "ARM64")
        manifest, config = json.loads(image.manifest), json.loads(image.config)
        self.assertEqual(manifest["config"]["digest"], oci.digest(image.config))
        self.assertEqual(manifest["layers"][0]["digest"], oci.digest(image.layer))
        self.assertEqual(config["rootfs"]["diff_ids"], [oci.digest(gzip.decompress(image.layer))])

    def test_the_same_binary_gives_the_same_digest_at_any_time(self):
        def packed(binary, now):
            with mock.patch("time.time", return_value=now):
                return oci.pack(STATS, binary, "ARM64").digest

        self.assertEqual(packed(ARM, 1.0), packed(ARM, 2e9))
        self.assertNotEqual(packed(ARM, 1.0), packed(executable(0xB7, b"other"), 1.0))

    def test_an_image_has_the_commit_of_its_binary(self):
        commit, date = "0123456789" * 4, "2026-11-25T01:02:03Z"
        binary = executable(0xB7, f"x{commit}-dirty {date}y".encode())
        labels = json.loads(oci.pack(STATS, binary, "ARM64").config)["config"]["Labels"]
        image = {"title": "stats", "revision": f"{commit}-dirty", "created": date}
        expected = {f"org.opencontainers.image.{name}": value for name, value in image.items()}
        self.assertEqual(labels, {**expected, "system-stats.image": "true"})
        self.assertEqual(oci.revision(ARM), {})

    def test_a_binary_for_the_wrong_processor_is_refused(self):
        with self.assertRaisesRegex(oci.ImageError, "stats: the binary is for X86_64, and the environment needs ARM64"):
            oci.pack(STATS, INTEL, "ARM64")
        with self.assertRaisesRegex(oci.ImageError, "no executable of Linux"):
            oci.pack(STATS, b"#!/bin/sh\n" + bytes(20), "ARM64")


class FakeRegistry(BaseHTTPRequestHandler):
    def parse_request(self):
        """Where a token is wanted, nothing else is answered without it."""
        if not super().parse_request():
            return False
        if not self.server.token or self.headers["authorization"] == f"Bearer {self.server.token}":
            return True
        if self.path.startswith("/token?"):
            self.server.token_queries.add(self.path.split("?")[1])
            self.answer(200, body=json.dumps({"token": self.server.token}).encode())
        elif self.path.startswith("/elsewhere"):
            self.answer(403)
        else:
            if self.headers["content-length"]:
                self.read()
            realm = self.server.realm or f"http://127.0.0.1:{self.server.server_port}/token"
            challenge = f'Bearer realm="{realm}",service="fake",scope="repository:shop:push"'
            self.answer(401, {"www-authenticate": challenge})
        return False

    def do_HEAD(self):
        kind, name = self.path.rsplit("/", 2)[1:]
        found = self.server.blobs.get(name) if kind == "blobs" else self.server.tags.get(name)
        headers = {"docker-content-digest": oci.digest(found)} if found else {}
        self.answer(200 if found else 404, headers)

    def do_POST(self):
        self.answer(202, {"location": "/v2/shop/blobs/uploads/1?state=begun"})

    def do_PATCH(self):
        self.server.upload = self.read()
        self.answer(202, {"location": f"http://127.0.0.1:{self.server.server_port}/v2/shop/blobs/uploads/1?state=sent"})

    def do_PUT(self):
        body = self.read()
        self.server.put.append(self.path.split("?")[0])
        if self.server.stumbles:
            self.server.stumbles -= 1
            return self.answer(503)
        if "/manifests/" in self.path:
            if self.server.immutable and self.path.rsplit("/", 1)[1] in self.server.tags:
                return self.answer(400, body=b"TAG_INVALID: the tag is immutable")
            self.server.tags[self.path.rsplit("/", 1)[1]] = body
        else:
            name = "sha256:" + hashlib.sha256(self.server.upload).hexdigest()
            if f"digest={name.replace(':', '%3A')}" not in self.path or "state=sent" not in self.path:
                return self.answer(400)
            self.server.blobs[name] = self.server.upload
        return self.answer(201)

    def read(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))

    def answer(self, status, headers=None, body=b""):
        self.server.authorizations.add(self.headers.get("authorization"))
        self.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Pushing(Case):
    def setUp(self):
        self.server = self.serve(FakeRegistry)
        self.server.blobs, self.server.tags, self.server.put = {}, {}, []
        self.server.token = self.server.realm = ""
        self.server.token_queries = set()
        self.server.authorizations, self.server.stumbles, self.server.immutable = set(), 0, True
        self.registry = oci.Registry(f"127.0.0.1:{self.server.server_port}/shop", "AWS", "secret")
        self.image = oci.pack(STATS, ARM, "ARM64")

    def test_a_pushed_image_is_found_by_its_tag_and_with_credentials(self):
        self.assertIsNone(self.registry.digest_of("v1"))
        self.registry.push(self.image, "v1")
        self.assertEqual(self.registry.digest_of("v1"), self.image.digest)
        self.assertEqual(self.server.blobs, {oci.digest(part): part for part in (self.image.config, self.image.layer)})
        self.assertEqual(self.server.authorizations, {"Basic QVdTOnNlY3JldA=="})

    def test_a_registry_that_stumbles_is_asked_again_and_a_second_push_sends_nothing(self):
        self.server.stumbles = 2
        with mock.patch("time.sleep"):
            self.registry.push(self.image, "v1")
        self.assertEqual(self.registry.digest_of("v1"), self.image.digest)
        self.server.put.clear()
        self.registry.push(self.image, "v1")
        self.assertEqual(self.server.put, [])

    def test_a_tag_that_means_something_else_is_one_sentence(self):
        self.registry.push(self.image, "v1")
        other = oci.pack(STATS, executable(0xB7, b"other"), "ARM64")
        with self.assertRaisesRegex(oci.ImageError, "shop: PUT /v2/shop/manifests/v1 was answered 400 TAG_INVALID"):
            self.registry.push(other, "v1")

    def test_a_registry_that_wants_a_token_gets_one_of_its_own_server(self):
        self.server.token = "given"
        self.registry.push(self.image, "v1")
        self.assertEqual(self.registry.digest_of("v1"), self.image.digest)
        self.assertIn("Bearer given", self.server.authorizations)
        self.assertEqual(self.server.token_queries, {"service=fake&scope=repository%3Ashop%3Apush"})

    def test_the_password_goes_to_no_other_server(self):
        self.server.token, self.server.realm = "given", "https://thief.example/token"
        with self.assertRaisesRegex(oci.ImageError, "sends to https://thief.example/token"):
            self.registry.digest_of("v1")

    def test_without_a_password_any_server_gives_the_token(self):
        port = self.server.server_port
        self.server.token, self.server.realm = "given", f"http://localhost:{port}/token"
        self.assertIsNone(oci.Registry(f"127.0.0.1:{port}/shop").digest_of("v1"))
        self.assertEqual(self.server.authorizations, {None, "Bearer given"})

    def test_a_token_that_is_not_given_is_one_sentence(self):
        self.server.token, self.server.realm = "given", f"{self.registry.base}/elsewhere"
        with self.assertRaisesRegex(oci.ImageError, "elsewhere gives no token"):
            self.registry.digest_of("v1")

    def test_plain_http_is_for_this_machine_only(self):
        self.assertEqual(oci.Registry("123456789012.dkr.ecr.us-east-1.amazonaws.com/shop").base[:8], "https://")
        self.assertEqual(oci.Registry("localhost.example.org/shop").base[:8], "https://")
        self.assertEqual(oci.Registry("localhost:5000/shop").base, "http://localhost:5000")
