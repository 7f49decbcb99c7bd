"""`make reproducible`: everything built twice, and not a byte may differ.

The second build has another folder, home, umask, language, time zone and number of jobs, an empty
cache of what Cargo has unpacked, and starts at another time; it begins with a clone of the commit,
so what is not committed is not built. What is compared are the page's files, the three binaries,
their bills of materials and the images' digests.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from tools.build import build, commit
from tools.common import catalog, progress, toolchain
from tools.common.progress import Failed, exit_code
from tools.common.toolchain import ROOT
from tools.supply import images, oci, sbom

# Two clean builds of 5 minutes; a machine ten times slower is taken for stuck.
BUILD_SECONDS = 7200
# Build outputs that must be identical.
PAGE = "services/frontend/app/dist"


def main(arguments: list[str]) -> int:
    names = arguments or list(build.SERVICES)
    unknown = [name for name in names if name not in build.SERVICES]
    if unknown:
        print(f"reproducible: there is no service {unknown[0]}", file=sys.stderr)
        return 64
    return exit_code("reproducible", lambda: build_twice(names), "FAILED: ")


def build_twice(names: list[str]) -> None:
    begun = time.monotonic()
    build.ensure_tools("build")
    if commit.git(ROOT, "rev-parse", "HEAD") is None:
        raise Failed("this is no git work tree, so there is nothing to clone")
    if commit.git(ROOT, "status", "--porcelain"):
        print("reproducible: the work tree has changes; HEAD is what is built, without them")
    with tempfile.TemporaryDirectory(prefix="reproducible-") as folder:
        compare(Path(folder), names)
    print(f"reproducible: the same bytes, after {time.monotonic() - begun:.0f} s")


def compare(folder: Path, names: list[str]) -> None:
    first = build_results(build_clone(folder / "one", names), names)
    second = build_results(build_clone(folder / "another-place" / "two", names, **OTHER_ENVIRONMENT), names)
    wrong = []
    for name in sorted({*first, *second}):
        one, other = first.get(name, b""), second.get(name, b"")
        print(f"reproducible: {name}: {len(one)} bytes")
        if one != other:
            differing = (at for at, (a, b) in enumerate(zip(one, other)) if a != b)
            position = next(differing, min(len(one), len(other)))
            near = slice(max(0, position - 24), position + 40)
            sizes = f"{len(one)} and {len(other)} bytes"
            wrong.append(f"{name}: {sizes}, different from byte {position}: {one[near]!r} and {other[near]!r}")
    if wrong:
        raise Failed("; ".join(wrong))


# Environment variables that differ on another machine.
OTHER_ENVIRONMENT = {
    "LANG": "C",
    "LC_ALL": "C",
    "TZ": "Pacific/Kiritimati",
    "USER": "other",
    "HOSTNAME": "elsewhere",
    "CARGO_BUILD_JOBS": "1",
    "SOURCE_DATE_EPOCH": "1",
}


def build_clone(repository: Path, names: list[str], **variables: str) -> Path:
    """A clone of this commit with the same tools, and the release built in it from nothing."""
    repository.parent.mkdir(parents=True, exist_ok=True)
    # As here, HEAD may be a branch or a commit.
    run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(repository)], repository.parent, {**os.environ})
    (repository / ".tools").symlink_to(toolchain.TOOLS.resolve())
    environment = {**os.environ, "CARGO_TARGET_DIR": "", **variables}
    if variables:
        environment.update(separate_home(repository.with_name(f"{repository.name}-home")))
    print(f"reproducible: building {', '.join(names)} in {repository}", flush=True)
    program = [f"import os, sys; os.umask({0o077 if variables else 0o022})"]
    program += ["from tools.build import build"]
    # The page is a part of the frontend alone.
    program += ["build.build_page(build.RELEASE)"] if any(catalog.ALL[name].page for name in names) else []
    program += [f"build.build_binaries(build.RELEASE, {tuple(names)!r})"]
    run([sys.executable, "-c", "; ".join(program)], repository, environment)
    return repository


def separate_home(home: Path) -> dict[str, str]:
    """A separate home: Cargo unpacks every crate again, in another folder. Downloads are shared, because
    they are not built."""
    cargo = home / ".cargo"
    (cargo / "registry").mkdir(parents=True)
    old = toolchain.cargo_home()
    for name in ("registry/cache", "registry/index", "bin", "config.toml"):
        if (old / name).exists():
            (cargo / name).symlink_to((old / name).resolve())
    rustup = os.environ.get("RUSTUP_HOME") or str(Path.home() / ".rustup")
    return {"HOME": str(home), "CARGO_HOME": str(cargo), "RUSTUP_HOME": rustup}


def build_results(repository: Path, names: list[str]) -> dict[str, bytes]:
    """Everything that must be the same, by name."""
    page = repository / PAGE
    files = page.iterdir() if page.is_dir() else ()
    found = {f"page/{file.name}": file.read_bytes() for file in files}
    release = repository / "target" / toolchain.musl_target() / build.RELEASE
    known: sbom.Crates | None = None
    for name in names:
        binary = (release / name).read_bytes()
        found[name] = binary
        found[f"image {name}"] = images.packed(name, release / name, oci.machine(binary)).manifest
        known = known or sbom.Crates.of_workspace()
        found[f"{name}.cdx.json"] = repr(sbom.sbom(name, binary, known)).encode()
    return found


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    variables = {name: value for name, value in environment.items() if value}
    progress.run(f"a build in {folder}", command, BUILD_SECONDS, cwd=folder, env=variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
