"""Prebuilt programs: only the pinned bytes are installed, and everything else falls back to compiling."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import tarfile
from pathlib import Path
from unittest import mock

from tools.common import toolchain, versions
from tools.install import __main__ as install
from tools.install import cargo_tools
from tools.install.progress import Job
from tools.install.tests.bare_clone import BareClone


def archive(script: str, member: str = "folder/tool") -> bytes:
    content = f"#!/bin/sh\n{script}\n".encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as files:
        entry = tarfile.TarInfo(member)
        entry.size, entry.mode = len(content), 0o755
        files.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


class Prebuilt(BareClone):
    def setUp(self) -> None:
        super().setUp()
        os.environ["PATH"] = f"{self.path}:/usr/bin:/bin"
        self.served = archive("echo tool 1.2.3")

    def install(self, expected: bytes | None = None, url: str = "") -> bool:
        digest = hashlib.sha256(expected or self.served).hexdigest()
        release = (url or self.respond(body=self.served), digest)
        key = ("tool", "1.2.3", platform.machine())
        with mock.patch.dict(cargo_tools.RELEASES, {key: release}), Job.open("tool", "a tool") as job:
            return cargo_tools.download_release(job, "tool", "1.2.3")

    def test_the_pinned_archive_is_installed(self) -> None:
        self.assertTrue(self.install())
        self.assertEqual(toolchain.answer([str(toolchain.BIN / "tool")]), "tool 1.2.3")

    def test_other_bytes_are_refused(self) -> None:
        self.assertFalse(self.install(archive("echo tool 1.2.3; : altered")))
        self.assertFalse((toolchain.BIN / "tool").exists())
        self.assertIn("SHA-256", self.stderr.getvalue())

    def test_an_answer_that_is_no_archive_is_no_failure(self) -> None:
        cut_off = self.respond(body=b"500\r\nx", **{"transfer-encoding": "chunked"})
        for url in ("http://127.0.0.1:9/tool.tar.gz", cut_off):
            self.assertFalse(self.install(url=url))

    def test_an_archive_without_a_program_that_starts_is_refused(self) -> None:
        for self.served in (archive("exit 1"), archive("echo tool 1.2.3", "folder/other")):
            self.assertFalse(self.install())
            self.assertFalse([*toolchain.BIN.glob("*")])

    def test_a_version_without_a_pin_is_compiled(self) -> None:
        self.provide("cargo", "")
        with Job.open("trunk", "trunk") as job, mock.patch.object(versions, "TRUNK", "99.0.0"):
            (toolchain.TOOLS / "build" / "trunk").mkdir(parents=True)
            [trunk] = [step for step in install.steps(["dev"]) if step.name == "trunk"]
            trunk.action(job)
        self.assertIn("cargo install trunk --version 99.0.0", self.calls())

    def test_what_is_locked_has_a_pin_for_both_processors(self) -> None:
        root = Path(__file__).resolve().parents[3]
        programs = (("trunk", versions.TRUNK), ("wasm-bindgen", versions.wasm_bindgen(root)))
        for machine in ("x86_64", "aarch64"):
            for program, version in programs:
                with self.subTest(program=program, machine=machine):
                    hint = f"add the SHA-256 that {program} publishes for {version} to tools/install/cargo_tools.py"
                    self.assertIn((program, version, machine), cargo_tools.RELEASES, hint)
