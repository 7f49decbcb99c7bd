"""Contents of a binary: the list embedded by cargo-auditable, and a CycloneDX bill of it.

`python3 -m tools.supply.sbom` writes target/sbom/SERVICE.cdx.json for the release binaries. The same binary gives the
same bytes: nothing in it is random or the time.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
import zlib
from pathlib import Path
from typing import Any

from tools.build import build
from tools.common import catalog, elf, files, toolchain, versions
from tools.common.progress import TargetError, exit_code, output
from tools.common.toolchain import ROOT, WASM_TARGET
from tools.supply import oci

FOLDER = ROOT / "target" / "sbom"
SECTION = ".dep-v0"
# The largest of ours has 30 kB of JSON; a strange binary must not fill the memory.
LIST_BYTES = 8 << 20
CARGO_SECONDS = 120
# The frontend's binary has the page in it as data, and so the page's crates.
PAGE = {"name": "system-stats:in", "value": "page"}


class NoList(TargetError):
    """A binary has no list of its crates; the message has the reason."""


def main() -> int:
    return exit_code("sbom", write_all)


def write_all() -> None:
    binaries = build.build(build.RELEASE)
    known = Crates.of_workspace()
    for name, path in binaries.items():
        bill = sbom(name, path.read_bytes(), known)
        print(f"sbom: {save(bill, name)}: {len(bill['components'])} components")


def write(service: str, binary: Path, architecture: str) -> Path:
    """The bill of one binary for one processor, beside those of `make sbom`."""
    return save(sbom(service, binary.read_bytes(), Crates.of_workspace()), f"{service}-{architecture}")


def save(bill: dict, name: str) -> Path:
    file = FOLDER / f"{name}.cdx.json"
    files.write(file, json.dumps(bill, indent=1) + "\n")
    return file.relative_to(ROOT)


# The list inside.


def packages(binary: bytes) -> list[dict]:
    """cargo-auditable's list: JSON behind zlib in an ELF section of its own."""
    packed = section(binary, SECTION)
    if packed is None:
        raise NoList(f"the binary has no section {SECTION}: it was not built by `make build`")
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, LIST_BYTES)
        if unpacker.unconsumed_tail:
            raise NoList(f"the section {SECTION} has more than {LIST_BYTES} bytes")
        return json.loads(text)["packages"]
    except (zlib.error, ValueError, KeyError) as error:
        raise NoList(f"the section {SECTION} is damaged: {error}") from None


def section(binary: bytes, name: str) -> bytes | None:
    try:
        found = [entry for entry in elf.sections(binary) if entry.name == name]
    except ValueError as error:
        raise NoList(str(error)) from None
    return binary[found[0].offset : found[0].offset + found[0].size] if found else None


# The bill.


class Crates:
    """Cargo's metadata of crates: licenses, checksums and dependencies."""

    def __init__(self, licences: dict, checksums: dict, inside: dict) -> None:
        self.licences = licences
        self.checksums = checksums
        self.inside = inside

    @classmethod
    def of_workspace(cls) -> Crates:
        metadata = json.loads(cargo("metadata", "--format-version", "1"))
        licences = {(package["name"], package["version"]): package["license"] for package in metadata["packages"]}
        inside = {name: compiled_into(name, toolchain.musl_target()) for name in build.SERVICES}
        inside["page"] = compiled_into("app", WASM_TARGET)
        lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
        return cls(licences, versions.locked_checksums(lock), inside)


def compiled_into(package: str, target: str) -> set[tuple[str, str]]:
    """The crates whose code a program has: no build scripts, no macros."""
    edges = ["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]
    lines = cargo("tree", "--package", package, "--target", target, *edges).splitlines()
    return {(words[0], words[1][1:]) for words in map(str.split, lines) if words}


def cargo(*arguments: str) -> str:
    return output(["cargo", *arguments, "--locked"], CARGO_SECONDS)


def sbom(service: str, binary: bytes, known: Crates) -> dict:
    """CycloneDX 1.6: the binary, each crate in it, and for the frontend each crate of the page."""
    listed = packages(binary)
    crates = [package for package in listed if not package.get("root")]
    refs = [purl(package["name"], package["version"]) for package in listed]
    root = next((package for package in listed if package.get("root")), None)
    if root is None or root["name"] != service:
        raise NoList(f"the binary is of {root and root['name']}, not {service}")
    components = {}
    for package in crates:
        name, version = package["name"], package["version"]
        components[purl(name, version)] = component(name, version, known)
        # Build dependencies are not in the image, nor are those that Cargo resolves for the other
        # services: cargo-auditable lists it all.
        is_inside = (name, version) in known.inside[service]
        components[purl(name, version)]["scope"] = "required" if is_inside else "excluded"
    main = purl(service, root["version"])
    depends = {
        refs[number]: sorted(refs[other] for other in package.get("dependencies", []))
        for number, package in enumerate(listed)
    }
    if catalog.ALL[service].page:
        # The page is embedded in the binary as data, which cargo-auditable does not list.
        for name, version in known.inside["page"]:
            ref = purl(name, version)
            components.setdefault(ref, component(name, version, known))
            components[ref].update(scope="required", properties=[PAGE])
            depends.setdefault(ref, [])
        depends[main] = sorted({*depends[main], *(ref for ref in components if ref.startswith("pkg:cargo/app@"))})
    labels = oci.revision(binary)
    subject: dict[str, Any] = {
        "type": "application",
        "bom-ref": main,
        "name": service,
        "version": root["version"],
        "purl": main,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(binary).hexdigest()}],
    }
    if oci.REVISION in labels:
        subject["properties"] = [{"name": "system-stats:commit", "value": labels[oci.REVISION]}]
    metadata: dict[str, Any] = {
        "tools": {
            "components": [{"type": "application", "name": "cargo-auditable", "version": versions.CARGO_AUDITABLE}]
        },
        "component": subject,
    }
    if oci.CREATED in labels:
        metadata = {"timestamp": labels[oci.CREATED], **metadata}
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": [components[ref] for ref in sorted(components)],
        "dependencies": [{"ref": ref, "dependsOn": depends[ref]} for ref in sorted(depends)],
    }
    # The serial number that the format requires, derived from the content instead of a random number.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True))
    return {**bill, "serialNumber": f"urn:uuid:{number}"}


def component(name: str, version: str, known: Crates) -> dict:
    ref = purl(name, version)
    found: dict[str, Any] = {"type": "library", "bom-ref": ref, "name": name, "version": version, "purl": ref}
    licence = known.licences.get((name, version))
    if licence:
        # The old way to write a choice.
        found["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", licence)}]
    checksum = known.checksums.get((name, version))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def purl(name: str, version: str) -> str:
    return f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


def differences(service: str, bill: dict, binary: bytes) -> list[str]:
    """Differences between a bill and its binary; empty when it matches."""
    found = []
    subject = bill.get("metadata", {}).get("component", {})
    if subject.get("name") != service:
        found.append(f"it is of {subject.get('name')}")
    hashes = {entry.get("alg"): entry.get("content") for entry in subject.get("hashes", [])}
    if hashes.get("SHA-256") != hashlib.sha256(binary).hexdigest():
        found.append("it is of a binary with another checksum")
    inside = {purl(package["name"], package["version"]) for package in packages(binary) if not package.get("root")}
    listed = {entry.get("purl") for entry in bill.get("components", [])}
    page = {entry.get("purl") for entry in bill.get("components", []) if PAGE in entry.get("properties", [])}
    found += [f"it leaves out {ref}" for ref in sorted(inside - listed)]
    found += [f"it has {ref}, which is not in the binary" for ref in sorted(map(str, listed - inside - page))]
    return found


if __name__ == "__main__":
    sys.exit(main())
