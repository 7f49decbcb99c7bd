"""`make new SERVICE=hello` adds a service, `make remove SERVICE=hello` removes it again.

`new` writes the package from tools/local/template, declares the service in services.json, adds it to the
lists of the repository (service_files.py), then builds, starts and tests it; with TRY=no it only
writes. `remove` restores the files byte for byte, unless they were changed by hand since.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tools.build import build
from tools.common import catalog, toolchain
from tools.common.catalog import Service
from tools.common.environments import Refused
from tools.common.files import write
from tools.common.progress import exit_code
from tools.common.toolchain import ROOT
from tools.local import compose_only, processes, service_files, stack

# The names of AWS resources contain it, so it has the length that tf/preconfigured allows.
NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,21}[a-z0-9])?")
# Paths that the gateway serves, words of Rust, Cargo and YAML, and prefixes of other settings.
RESERVED = {
    *("fleet", "healthz", "index", "metrics", "readyz"),
    *("alloc", "as", "async", "await", "become", "box", "break", "build", "const", "continue"),
    *("core", "crate", "deps", "do", "dyn", "else", "enum", "examples", "extern", "false", "final"),
    *("fn", "for", "gen", "if", "impl", "in", "incremental", "let", "loop", "macro", "match", "mod"),
    *("move", "mut", "override", "priv", "proc-macro", "pub", "ref", "return", "self", "static"),
    *("std", "struct", "super", "test", "trait", "true", "try", "type", "typeof", "unsafe"),
    *("unsized", "use", "virtual", "where", "while", "yield"),
    *("aws", "backend", "cargo", "compose", "docker", "drain", "ecs", "log", "preview", "rust"),
    *("no", "null", "off", "on", "yes"),
    # The group and the target of docker-bake.hcl.
    *("default", "image"),
    # Folders that the Docker build context and the watcher of `make dev` leave out.
    *("dist", "fixtures", "fuzz", "proptest-regressions", "target", "tests"),
    # Prefixes of variables of proxies, certificates, make, systemd, shells and version managers.
    *("all", "ftp", "gcc", "gpg", "homebrew", "http", "https", "invocation", "journal", "kubernetes", "less"),
    *("listen", "ls", "make", "memory", "notify", "npm", "nvm", "pip", "pyenv", "python", "ssl", "tmux", "uv"),
    # Prefixes of variables that desktops, shells, languages and GitHub set: the service would refuse them.
    *("ci", "conda", "dbus", "desktop", "git", "github", "gnome", "gtk", "java", "kde", "lc", "node"),
    *("qt", "runner", "session", "ssh", "sudo", "term", "virtual", "vscode", "wsl", "xdg"),
    # Devices of Windows, where a clone could not have such a folder.
    *("aux", "con", "nul", "prn", *(f"{name}{number}" for name in ("com", "lpt") for number in range(10))),
}
# Stages of the Dockerfile that are no services.
STAGES = re.compile(r"^FROM .* AS (\S+)$", re.MULTILINE)
FIRST_PORT = 8081
# The tests of one package: half a minute of compiling on two cores that do nothing else.
TEST_SECONDS = 600


def main(arguments: list[str], root: Path = ROOT) -> int:
    targets = {"new": new, "remove": remove, "try": try_out}
    # From the environment, where make has put it: a shell would read a quote or a backtick.
    arguments = arguments if len(arguments) != 1 else [*arguments, os.environ.get("SERVICE", "")]
    if len(arguments) != 2 or arguments[0] not in targets or not arguments[1]:
        print("usage: make new SERVICE=NAME, or make remove SERVICE=NAME", file=sys.stderr)
        return 64
    command, name = arguments
    return exit_code("new" if command == "try" else command, lambda: targets[command](name, root))


def new(name: str, root: Path) -> int:
    """Write the files of a new service, then build, start and test it."""
    add(name, root)
    if os.environ.get("TRY") == "no":
        return 0
    if compose_only.needed():
        print("new: `docker compose up --build` compiles and starts it")
        return 0
    code = tried(name)
    if code:
        print(f"new: services/{name} stays: correct it, or `make remove SERVICE={name}`", file=sys.stderr)
    return code


def add(name: str, root: Path) -> None:
    """Write the files of a new service."""
    refuse_unmerged(root)
    faults = list(name_faults(name, root))
    if faults:
        raise Refused("\n  ".join([f"{name!r} cannot be the name of a service:", *faults]))
    taken = {service.port for service in catalog.read(root).values()}
    port = next(number for number in itertools.count(FIRST_PORT) if number not in taken)
    service = service_files.new_service(name, port)
    # Every text is computed before the first is written.
    texts = dict(service_files.changed(root, service_files.edits(service, root), undo=False))
    texts.update(service_files.crate(service))
    for path, text in texts.items():
        write(root / path, text)
    print(f"new: {service.crate} and {len(texts)} files; {service.route} leads to port {service.port}")


def remove(name: str, root: Path) -> None:
    """Remove what `new` has written."""
    refuse_unmerged(root)
    services = catalog.read(root)
    service = services.get(name)
    if service is None:
        added = [other.name for other in services.values() if not other.public and not other.address_setting]
        there_are = f"`make new` has added {', '.join(added)}" if added else "`make new` has added none"
        raise Refused(f"{catalog.FILE} has no service {name!r}; {there_are}")
    if service.public or service.address_setting:
        raise Refused(f"{name} is part of the system; only services of `make new` can be removed")
    edited = list(unsaved(service, root))
    if edited and os.environ.get("FORCE") != "yes":
        listed = ", ".join(edited)
        raise Refused(f"changes would be lost: {listed}. Commit them, or set FORCE=yes")
    texts = dict(service_files.changed(root, service_files.edits(service, root), undo=True))
    for path, text in texts.items():
        if text != (root / path).read_text(encoding="utf-8"):
            write(root / path, text)
    shutil.rmtree(root / service.crate)
    print(f"remove: {service.crate} and its places in {len(texts)} files")


def name_faults(name: str, root: Path) -> Iterator[str]:
    """A message for each reason against a name."""
    if not NAME.fullmatch(name):
        yield (
            "it must have 1 to 23 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen"
        )
        return
    services = catalog.read(root)
    if name in services:
        yield f"{catalog.FILE} has this service already"
    elif (root / "services" / name).exists():
        yield f"services/{name} exists already"
    if name in RESERVED:
        yield "the name is reserved"
    packages = (root / "Cargo.lock").read_text(encoding="utf-8")
    if name not in services and f'\nname = "{name}"\n' in packages:
        yield f"Cargo.lock has a package {name}"
    if name not in services and name in STAGES.findall((root / "Dockerfile").read_text(encoding="utf-8")):
        yield f"the Dockerfile has a stage {name}"
    for other in services.values():
        if other.route == f"/{name}" and other.name != name:
            yield f"its route would be that of {other.name}"
        # Each service refuses unknown settings that begin with its prefix.
        prefix, other_prefix = f"{name.upper().replace('-', '_')}_", f"{other.prefix}_"
        if prefix != other_prefix and (prefix.startswith(other_prefix) or other_prefix.startswith(prefix)):
            yield f"its settings would begin like those of {other.name}"


def refuse_unmerged(root: Path) -> None:
    """Refuse to work in the middle of a merge with conflicts."""
    found = toolchain.answer(["git", "-C", str(root), "diff", "--name-only", "--diff-filter=U"])
    if found and found.strip():
        raise Refused(f"resolve the merge conflicts first: {', '.join(found.split())}")


def unsaved(service: Service, root: Path) -> Iterator[str]:
    """Files of the service that are neither in git's last commit nor as the template has them."""
    template = service_files.crate(service)
    command = ["git", "-C", str(root), "status", "--porcelain", "-z", "--untracked-files=all", "--"]
    answer = toolchain.answer([*command, service.crate])
    if answer is None:
        folder = root / service.crate
        changed = [str(file.relative_to(root)) for file in folder.rglob("*") if file.is_file()]
    else:
        # Two letters stand before a path, or one if the first is a space, and the path of a repository around this one.
        changed = [entry[entry.index(service.crate) :] for entry in answer.split("\0") if service.crate in entry]
    for path in sorted(changed):
        file = root / path
        if file.is_file() and file.read_text(encoding="utf-8", errors="replace") != template.get(path):
            yield path


def tried(name: str) -> int:
    """Build, start and test the service: in a process of its own, which reads the new declaration."""
    return subprocess.run([sys.executable, "-m", "tools.local.new_service", "try", name], cwd=ROOT).returncode


def try_out(name: str, _root: Path) -> None:
    """Run the tests of the package, then the whole system with the service behind the gateway."""
    begun = time.monotonic()
    build.ensure_tools("dev")
    tests = ["cargo", "test", "--locked", "--package", name]
    build.run(f"tests of {name}", tests, bound=TEST_SECONDS)
    build.build(build.QUICK)
    with processes.beside(build.QUICK, "try"):
        url = f"{stack.asked()}{catalog.ALL[name].route}"
        print(f"new: GET {url}: {json.loads(stack.answer(url))}", flush=True)
    print(f"new: built, started and tested after {time.monotonic() - begun:.0f} s")
    print(f"new: next: services/{name}/src/routes.rs, then `make dev`; `make remove SERVICE={name}` undoes it")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
