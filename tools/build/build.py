"""Source to page, static binaries and images.

`python3 -m tools.build.build binaries|images|clean`; the other scripts call `build()` and `pack()`.
The Dockerfile calls `dependencies` and `binary SERVICE`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tools.build import commit, dockerfile, shrink
from tools.common import catalog, progress, toolchain
from tools.common.progress import dispatch
from tools.common.toolchain import ROOT
from tools.supply import oci

SERVICES = catalog.NAMES
PAGE = ROOT / "services" / "frontend" / "app"
TARGET = toolchain.TARGET
# Archives for the engine.
IMAGES = TARGET / "images"

RELEASE = "release"
# The loop of an edit: quick to compile, and the frontend reads the page from a folder.
QUICK = "quick"

# A fat release build of the gateway takes about 3 minutes on two cores; a machine ten times
# slower is taken for stuck.
COMPILE_SECONDS = 1800
LOAD_SECONDS = 120

# The label of every image of this repository, set in the Dockerfile.
LABEL = "system-stats.image=true"


class BuildError(progress.Failed):
    """A build step failed; its own output has said why."""


def main(arguments: list[str]) -> int:
    targets: dict[str, Callable[[], int | None]] = {
        "binaries": lambda: print_sizes({name: path.stat().st_size for name, path in build(RELEASE).items()}),
        "images": build_images,
        "clean": clean,
        "dependencies": build_dependencies,
        **{f"binary {name}": partial(build_binary_in_container, name) for name in SERVICES},
    }
    return dispatch("build", targets, arguments)


def build(profile: str, names: Sequence[str] = SERVICES) -> dict[str, Path]:
    """Build everything, or what is named, and give the path of each service's binary."""
    ensure_tools("dev" if profile == QUICK else "build")
    if any(catalog.ALL[name].page for name in names):
        build_page(profile)
    return build_binaries(profile, names)


def build_images() -> int:
    if toolchain.engine() is None:
        print("images: no Docker engine answers; `make build` makes the binaries alone")
        return 1
    build(RELEASE)
    print_sizes({name: pack(name, RELEASE, "latest") for name in SERVICES})
    return 0


def build_dependencies() -> None:
    """Compile what comes from crates.io, in the workspace that skeleton.py wrote."""
    ensure_tools("build")
    build_binaries(RELEASE)
    # The profile is the one that the page's index.html names for Trunk.
    options = ["--locked", "--profile", "page", "--target", toolchain.WASM_TARGET, "--package", "app"]
    run("page", ["cargo", "build", *options], variables=page_variables())


def page_variables() -> Mapping[str, str]:
    return toolchain.small_page() or toolchain.own_flags(toolchain.WASM_TARGET)


def build_binary_in_container(name: str) -> None:
    """Build one service on top of the dependencies' layer, into target/binaries/."""
    # Copied sources keep their times. They are older than the empty crates compiled in that layer,
    # which Cargo would take for up to date.
    for folder in ("crates", "services"):
        for file in (ROOT / folder).rglob("*"):
            os.utime(file)
    binary = build(RELEASE, [name])[name]
    goal = TARGET / "binaries" / name
    goal.parent.mkdir(exist_ok=True)
    shutil.copyfile(binary, goal)
    goal.chmod(0o755)


def build_page(profile: str) -> None:
    """Build the page with Trunk into services/frontend/app/dist.

    Trunk writes every file again. Only changed files are replaced, so that the server is not
    compiled again for a page that is the same; `index.html` last, because it names the others.
    """
    fresh = TARGET / "page" / profile
    fresh.mkdir(parents=True, exist_ok=True)
    command = ["trunk", "build", "--offline", "--dist", str(fresh)]
    if profile == RELEASE:
        if toolchain.small_page() is None:
            print("build: page: with the ordinary std, about 10 kB larger; see `make tools`")
        run("page", [*command, "--release"], cwd=PAGE, variables=page_variables())
        fresh = slimmed(fresh)
    else:
        # Larger, but a panic reports its location.
        run("page", command, cwd=PAGE, variables=toolchain.own_flags(toolchain.WASM_TARGET))
    mirror(fresh, PAGE / "dist", last="index.html")


def slimmed(fresh: Path) -> Path:
    """A folder with the same page in fewer bytes."""
    goal = fresh.with_name("slim")
    shutil.rmtree(goal, ignore_errors=True)
    goal.mkdir()
    try:
        files = shrink.shrink({file.name: file.read_bytes() for file in fresh.iterdir() if file.is_file()})
    except shrink.Unexpected as error:
        raise BuildError(f"page: {error}") from None
    for name, content in files.items():
        (goal / name).write_bytes(content)
    return goal


def mirror(source: Path, goal: Path, last: str) -> None:
    """Make the files of one folder those of the other, touching only what differs, and `last` if anything does."""
    goal.mkdir(exist_ok=True)
    # A container's user reads it under `make dev`, whatever the umask here.
    goal.chmod(0o755)
    names = sorted((file.name for file in source.iterdir()), key=lambda name: name == last)
    is_other = False
    for name in names:
        file = goal / name
        # Not every name has a hash of the content, so the page's time makes an open page load it again.
        if (name == last and is_other) or not file.exists() or file.read_bytes() != (source / name).read_bytes():
            is_other = True
            shutil.copyfile(source / name, goal / f".{name}")
            (goal / f".{name}").chmod(0o644)
            os.replace(goal / f".{name}", file)
    for file in goal.iterdir():
        if file.name not in names:
            # Trunk, called by hand, leaves a folder.
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def build_binaries(profile: str, names: Sequence[str] = SERVICES) -> dict[str, Path]:
    """Build the static binaries and give their paths.

    A release builds each by itself: together, Cargo gives each dependency the features that any of
    them asks for, and the smallest would carry 100 kB of what only the largest needs. Each gets
    a list of what it is made of (cargo-auditable) and its commit.
    """
    target = toolchain.musl_target()
    options = ["--locked", "--profile", profile, "--target", target]
    flags = toolchain.own_flags(target)
    if profile == QUICK:
        packages = [argument for name in names for argument in ("--package", name)]
        run("binaries", ["cargo", "zigbuild", *options, *packages, "--features", "frontend/dev"], variables=flags)
    else:
        small = toolchain.small_services() if profile == RELEASE else flags
        if small is None:
            print("build: with the ordinary std, each service is about 300 kB larger; see `make tools`")
        for name in names:
            command = ["cargo", "auditable", "zigbuild", *options, "--package", name]
            run(f"binary {name}", command, variables={**(small or flags), **commit_variable(name)})
    return {name: TARGET / target / profile / name for name in names}


def commit_variable(name: str) -> dict[str, str]:
    """The variable with the commit of a release. A build without one, as in `make dev`, is never compiled
    again for a commit alone. A container without git gets it as BUILT_FROM."""
    override = os.environ.get("BUILT_FROM", "")
    if override and oci.MADE_FROM.fullmatch(override.encode()) is None:
        raise BuildError(f"BUILT_FROM is {override!r}, but must be a commit, a space and a date in UTC")
    found = override or commit.made_from(name)
    if found is None:
        print(f"build: {name} will not know its commit ({commit.unknown()})")
        return {}
    return {"BUILT_FROM": found}


def pack(name: str, profile: str, tag: str) -> int:
    """Give the engine the image of one service, and return the size of its one file."""
    binary = (TARGET / toolchain.musl_target() / profile / name).read_bytes()
    load(dockerfile.stage(name), binary, f"system-stats/{name}:{tag}")
    return len(binary)


def load(stage: dockerfile.Stage, binary: bytes, image: str) -> None:
    """Load the image that is pushed, too: engines have different builders, or none."""
    packed = oci.pack(stage, binary, oci.machine(binary), level=1)
    names = {"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}
    files = {"config.json": packed.config, "layer.tar": packed.layer, "manifest.json": json.dumps([names]).encode()}
    IMAGES.mkdir(parents=True, exist_ok=True)
    # Two systems may be built at the same time.
    with tempfile.TemporaryDirectory(dir=IMAGES) as folder:
        archive = Path(folder, f"{stage.name}.tar")
        archive.write_bytes(oci.tarred((name, 0o644, content) for name, content in files.items()))
        run(f"image {image}", ["docker", "load", "--quiet", "--input", str(archive)], bound=LOAD_SECONDS, quiet=True)


def ensure_tools(*groups: str) -> None:
    """Install what is missing below .tools/; instant when there is nothing to do."""
    if subprocess.run([sys.executable, "-m", "tools.install", *groups], cwd=ROOT).returncode:
        raise BuildError("the tools could not be installed; the lines above say why")


def run(
    title: str,
    command: list[str],
    cwd: Path = ROOT,
    bound: int = COMPILE_SECONDS,
    quiet: bool = False,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run one build command with its own progress on the terminal, or quietly unless it fails."""
    begun = time.monotonic()
    print(f"build: {title}", flush=True)
    environment = {**toolchain.environment(), **toolchain.cargo_folders(TARGET), **(variables or {})}
    progress.run(f"{title}: {command[0]}", command, bound, quiet=quiet, failure=BuildError, cwd=cwd, env=environment)
    print(f"build: {title} done in {time.monotonic() - begun:.1f} s", flush=True)


def revision() -> str:
    """The commit, with `-dirty` behind it when the work tree differs; `unknown` outside git."""
    return commit.git(ROOT, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or "unknown"


def print_sizes(sizes: dict[str, int]) -> None:
    for name, size in {**sizes, "together": sum(sizes.values())}.items():
        print(f"  {name:<10} {size / 1e6:6.2f} MB")


def clean() -> None:
    """Remove everything that was built, images included; the tools stay."""
    if any((ROOT / ".run").glob("*.pid")):
        raise BuildError("the system may be running, and only .run/ knows its processes: `make down` first")
    for path in (TARGET, PAGE / "dist", ROOT / "e2e" / "artifacts", ROOT / ".run"):
        if path.exists():
            print(f"clean: {os.path.relpath(path, ROOT)}")
            shutil.rmtree(path)
    # Replaced images have lost their name and are known by their label.
    for filter in ("reference=system-stats/*", f"label={LABEL}"):
        ids = toolchain.answer(["docker", "images", "--quiet", "--filter", filter])
        if ids:
            print(f"clean: images ({filter})")
            if toolchain.answer(["docker", "rmi", "--force", *set(ids.split())]) is None:
                print("clean: containers use some of the images, which stay: `make down` first")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
