"""A release: binaries for both processors, images of them, and a page at GitHub with the changelog's words.

`python3 -m tools.supply.release dist|image|publish`. A release is a tag vX.Y.Z of a commit on main, where X.Y.Z is
the workspace's version and has a section in CHANGELOG.md.
"""

import gzip
import hashlib
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path

from tools.build import build, dockerfile
from tools.ci import github
from tools.common import toolchain, versions
from tools.common.environments import Refused
from tools.common.progress import dispatch
from tools.common.toolchain import ROOT
from tools.supply import oci, sbom
from tools.supply.images import MACHINES, PLATFORMS, finished_binaries

DIST = ROOT / "target" / "dist"


def main(arguments: list[str]) -> int:
    return dispatch("release", {"dist": dist, "image": image, "publish": publish}, arguments)


def dist() -> None:
    """An archive of the binaries for each processor, what is in each binary, and their sums; the same
    binaries give the same bytes."""
    # By hand there may be no tag; in a workflow, a wrong one must not cost two builds.
    if os.environ.get("GITHUB_REF_TYPE") == "tag":
        releasable()
    DIST.mkdir(parents=True, exist_ok=True)
    for old in DIST.iterdir():
        old.unlink()
    for architecture in PLATFORMS:
        binaries = finished_binaries(build.SERVICES, architecture)
        file = archive(architecture)
        file.write_bytes(packed([*binaries.values(), ROOT / "LICENSE"]))
        print(f"release: {file.relative_to(ROOT)} {file.stat().st_size / 1e6:.2f} MB")
        os.environ["ARCHITECTURE"] = MACHINES[architecture]
        for name, binary in binaries.items():
            shutil.copyfile(
                ROOT / sbom.write(name, binary, oci.ARCHITECTURES[architecture]),
                DIST / f"{name}-{oci.ARCHITECTURES[architecture]}.cdx.json",
            )
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def archive(architecture: str) -> Path:
    return DIST / f"system-stats-{version()}-{MACHINES[architecture]}-linux.tar.gz"


def image() -> None:
    """Push the image of one service, with the binaries of target/dist, to GitHub's registry."""
    name = os.environ.get("S", "")
    if name not in build.SERVICES:
        raise Refused(f"S is {name!r}, but must be one of {', '.join(build.SERVICES)}")
    releasable()
    stage, images = dockerfile.stage(name), {}
    for architecture in PLATFORMS:
        images[architecture] = oci.pack(stage, unpacked(architecture, name), architecture)
    source = f"https://github.com/{github.repository_name()}"
    labels = {"title": f"system-stats {name}", "source": source, "version": version(), "licenses": "MIT"}
    annotations = {f"org.opencontainers.image.{key}": value for key, value in labels.items()}
    multi_platform = oci.index(images, annotations)
    registry = published(name)
    for architecture, platform_image in images.items():
        registry.push(platform_image, f"{version()}-{oci.ARCHITECTURES[architecture]}")
    registry.name(multi_platform, oci.INDEX, version())
    # A version such as 1.0.0-rc.1 is for those who name it.
    if "-" not in version() and registry.digest_of("latest") != oci.digest(multi_platform):
        registry.put("latest", oci.INDEX, multi_platform)
    digests = {
        oci.ARCHITECTURES[architecture]: platform_image.digest for architecture, platform_image in images.items()
    }
    print(f"release: {address(name)}:{version()}@{oci.digest(multi_platform)}")
    attest = str(github.can_attest()).lower()
    github.output("publish", name=address(name), digest=oci.digest(multi_platform), attest=attest, **digests)


def unpacked(architecture: str, name: str) -> bytes:
    """A binary as it is in its release archive."""
    try:
        with tarfile.open(archive(architecture)) as content:
            file = content.extractfile(name)
            if file is not None:
                return file.read()
            raise KeyError(name)
    except (OSError, KeyError, tarfile.TarError):
        raise Refused(f"there is no {name} in {archive(architecture).name}: `make dist` first") from None


def address(name: str) -> str:
    """Where the published image of a service is; names in a registry are in lower case."""
    registry = os.environ.get("REGISTRY") or "ghcr.io"
    return f"{registry}/{github.repository_name().lower()}/{name}"


def published(name: str) -> oci.Registry:
    user, password = os.environ.get("GITHUB_ACTOR", ""), os.environ.get("GITHUB_TOKEN", "")
    return oci.Registry(address(name), user, password)


def compose_file(images: dict[str, str], text: str) -> str:
    """docker-compose.yaml with published images instead of those that are built here."""
    text = re.sub(r"\$\{IMAGES:-system-stats\}/([\w-]+):\$\{TAG:-latest\}", lambda found: images[found[1]], text)
    # The comments at the top and beside the policy are about building.
    text = re.sub(r"\A(#[^\n]*\n)+", f"# system-stats {version()}: docker compose -f docker-compose.yaml up\n", text)
    return re.sub(r"(  #[^\n]*\n)+  pull_policy: [^\n]+\n", "", text)


def packed(files: list[Path]) -> bytes:
    tar = oci.tarred((file.name, 0o755 if os.access(file, os.X_OK) else 0o644, file.read_bytes()) for file in files)
    return gzip.compress(tar, compresslevel=9, mtime=0)


def publish() -> None:
    tag, notes = releasable()
    if not any(DIST.glob("*")):
        raise Refused("target/dist is empty: `make dist` first")
    images = {}
    for name in build.SERVICES:
        digest = published(name).digest_of(version())
        if digest is None:
            raise Refused(f"{address(name)} has no tag {version()}: `make publish S={name}` first")
        images[name] = f"{address(name)}:{version()}@{digest}"
    text = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    (DIST / "docker-compose.yaml").write_text(compose_file(images, text), encoding="utf-8")
    files = sorted(DIST.glob("*"))
    notes = f"{notes}\n\n{how_to_run(tag)}"
    print(f"release: {github.Repository().release(tag, notes, files)}")


def releasable() -> tuple[str, str]:
    """The tag and its notes; Refused for a tag that cannot be released, such as one of a commit that is not on main."""
    tag = github.required_variable("GITHUB_REF_NAME", "the tag, such as v1.0.0; a workflow sets it")
    if tag != f"v{version()}":
        raise Refused(f"the tag is {tag}, and the workspace's version is {version()}")
    if not toolchain.answer(["git", "-C", str(ROOT), "branch", "-r", "--list", "*/main", "--contains"]):
        raise Refused(f"{tag} is not of a commit on main")
    return tag, changelog_section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version())


def how_to_run(tag: str) -> str:
    place = f"https://github.com/{github.repository_name()}/releases/download/{tag}/docker-compose.yaml"
    return (
        "Run it with Docker alone, and open http://localhost:3050:\n\n```sh\n"
        f"curl -fsSL {place} | docker compose -f - up\n```"
    )


def changelog_section(changelog: str, workspace: str) -> str:
    """The changelog's section of the workspace's version."""
    found = re.search(rf"^## \[?{re.escape(workspace)}\]?[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise Refused(f"CHANGELOG.md has nothing under `## {workspace}`")
    return found[1].strip()


def version() -> str:
    return versions.workspace(ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
