"""`make cold`: run the README's commands on a machine with only the README's requirements.

Each variant gets a fresh Debian root file system (debootstrap), an ordinary user with an empty home
directory, and a clone of the committed tree. Nothing of an earlier run is visible: no Cargo
registry, no pip cache, no package lists, no `.tools`, no `target`, another locale and umask.

    make cold                                   every variant, every step
    make cold VARIANT=rustup,debian STEPS=dev   some of them

Variants: `rustup` or `debian` (source of the compiler), each alone or with `+engine` (the Docker
socket of this machine). Steps: `dev` (time to the first page), `check`, `fast`, `test`, `again`
(`make test` a second time). Needs root (uses sudo), and Debian's archive. With `rustup`,
the toolchains of this machine are copied, because a bare machine would download the same files.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Callable

from tools.common import debian_program, progress, toolchain
from tools.common.environments import Refused
from tools.common.progress import Failed, exit_code
from tools.common.toolchain import ROOT

# The oldest Debian that the README supports.
SUITE = "bookworm"
# The requirements of the README only. ca-certificates stands for "a machine with a network".
PACKAGES = ("make", "git", "python3", "python3-venv", "gcc", "libc6-dev", "ca-certificates")
ENGINE_PACKAGES = ("docker.io",)
# gh's and rustup's users have this uid on most machines; it must not be root's.
USER = 1000
VARIANTS = ("rustup", "rustup+engine", "debian", "debian+engine")
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOCKET = Path("/var/run/docker.sock")
PAGE = "http://localhost:3050"

BOOTSTRAP_SECONDS = 900
# Ten times what two idle cores need.
DEV_SECONDS = 4200
TEST_SECONDS = 7200
STOP_SECONDS = 60


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["enter"]:
        return enter(Path(arguments[1]), Path(arguments[2]), arguments[3:])
    return exit_code("cold", run_all, "FAILED: ")


def run_all() -> None:
    variants = selected("VARIANT", VARIANTS)
    steps = selected("STEPS", tuple(STEPS))
    check_requirements(variants)
    debootstrap = find_debootstrap()
    if os.geteuid() != 0:
        become_root()
    times: dict[tuple[str, str], str] = {}
    try:
        for variant in variants:
            with bare_machine(variant, debootstrap) as machine:
                for step in steps:
                    times[variant, step] = timed(f"{variant}: {step}", partial(STEPS[step], machine))
    finally:
        print_table(variants, steps, times)


def selected(variable: str, known: tuple[str, ...]) -> list[str]:
    """The values of a comma-separated variable; all that are known where it is not set."""
    words = [word.strip() for word in os.environ.get(variable, "").split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise Refused(f"invalid value {word!r} for {variable}: expected some of {', '.join(known)}")
    return words or list(known)


def check_requirements(variants: list[str]) -> None:
    if shutil.which("unshare") is None or sys.platform != "linux":
        raise Refused("mount namespaces are needed: Linux, with unshare of util-linux")
    if os.geteuid() != 0 and shutil.which("sudo") is None:
        raise Refused("a root file system can only be made by root, and there is no sudo")
    if any("engine" in variant for variant in variants) and toolchain.engine() is None:
        raise Refused("no Docker engine answers: choose VARIANT=rustup,debian")


def find_debootstrap() -> list[str]:
    """debootstrap, and the keys of Debian's archive for systems that are not Debian."""
    if shutil.which("debootstrap") and KEYS.exists():
        return ["debootstrap"]
    command = debian_program.unpacked("debootstrap", "usr/sbin/debootstrap", "debian-archive-keyring")
    folder = toolchain.TOOLS.resolve() / "debootstrap"
    # apt does not download a package that this machine has.
    keys = KEYS if KEYS.exists() else folder / KEYS.relative_to("/")
    return ["env", f"DEBOOTSTRAP_DIR={folder}/usr/share/debootstrap", *command[1:], f"--keyring={keys}"]


def become_root() -> None:
    """Start again by sudo, with the settings and the places of this user's compilers."""
    kept = {
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME") or str(Path.home() / ".rustup"),
        "CARGO_HOME": str(toolchain.cargo_home()),
        **{name: os.environ[name] for name in ("VARIANT", "STEPS") if name in os.environ},
    }
    settings = [f"{name}={value}" for name, value in kept.items()]
    os.chdir(ROOT)
    os.execvp("sudo", ["sudo", "env", *settings, sys.executable, "-m", "tools.ci.cold"])


class Machine:
    """A root file system, a user's home in it, and the repository in that home."""

    def __init__(self, root: Path, home: Path, variant: str) -> None:
        self.root, self.home, self.variant = root, home, variant
        self.repository = home / "system-stats"

    def start(self, command: list[str]) -> subprocess.Popen:
        """Start a command as the user, in a mount namespace and a session of its own."""
        inside = [sys.executable, "-m", "tools.ci.cold", "enter", str(self.root), str(self.home), *command]
        return subprocess.Popen(
            ["unshare", "--mount", *inside], cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def run(self, command: list[str], bound: int) -> None:
        process = self.start(command)
        try:
            code = process.wait(timeout=bound)
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(command)}: not done after {bound} s") from None
        finally:
            end(process)
        if code:
            raise Failed(f"{self.variant}: {' '.join(command)}: exit code {code}")


@contextmanager
def bare_machine(variant: str, debootstrap: list[str]) -> Iterator[Machine]:
    """A machine that vanishes afterwards. Its home has the same path inside and outside, because a
    Docker engine resolves the paths of bind mounts outside."""
    folder = Path(tempfile.mkdtemp(prefix="system-stats-cold-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        root, home = folder / "root", folder / "home"
        timed(f"{variant}: root file system", lambda: bootstrap(debootstrap, root, variant))
        machine = Machine(root, home, variant)
        home.mkdir()
        (root / home.relative_to("/")).mkdir(parents=True)
        run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(machine.repository)])
        run(["git", "-C", str(machine.repository), "remote", "remove", "origin"])
        if variant.startswith("rustup"):
            copy_rustup(home)
        run(["chown", "--recursive", f"{USER}:{USER}", str(home)])
        yield machine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bootstrap(debootstrap: list[str], root: Path, variant: str) -> None:
    engine = ENGINE_PACKAGES if "engine" in variant else ()
    include = ",".join((*PACKAGES, *engine))
    run([*debootstrap, "--variant=minbase", f"--include={include}", SUITE, str(root)])
    # Security updates are part of every Debian, and have the compilers of the `debian` route.
    archive = (root / "etc/apt/sources.list").read_text(encoding="utf-8").split()[1]
    (root / "etc/apt/sources.list").write_text(
        f"deb {archive} {SUITE} main\n"
        f"deb {archive} {SUITE}-updates main\n"
        f"deb {archive}-security {SUITE}-security main\n",
        encoding="utf-8",
    )
    with (root / "etc/passwd").open("a", encoding="utf-8") as users:
        users.write(f"visitor:x:{USER}:{USER}::/home:/bin/sh\n")
    with (root / "etc/group").open("a", encoding="utf-8") as groups:
        groups.write(f"visitor:x:{USER}:\n")
    # This machine's way to the network: names, and the authorities it trusts.
    for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copyfile(Path("/", name).resolve(), root / name)


def copy_rustup(home: Path) -> None:
    """rustup's programs and toolchains, without anything that Cargo has downloaded."""
    toolchains = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup")
    if not toolchains.is_dir():
        raise Failed("there is no rustup on this machine to copy: choose VARIANT=debian")
    run(["cp", "--archive", str(toolchains), str(home / ".rustup")])
    for link in (home / ".rustup" / "toolchains").iterdir():
        if link.is_symlink():
            # A name for another toolchain, by its path on this machine.
            name = Path(os.readlink(link)).name
            link.unlink()
            link.symlink_to(name)
    (home / ".cargo").mkdir()
    programs = home / ".cargo" / "bin"
    programs.mkdir()
    for name in ("rustup", "cargo", "rustc", "rustdoc", "rustfmt", "cargo-fmt", "cargo-clippy", "clippy-driver"):
        shutil.copy2(toolchain.cargo_home() / "bin" / name, programs / name)


def enter(root: Path, home: Path, command: list[str]) -> int:
    """In the new mount namespace: mount what a machine has, become the user, and run the command."""
    run(["mount", "--make-rprivate", "/"])
    for place in ("proc", "sys", "dev"):
        run(["mount", "--rbind", f"/{place}", str(root / place)])
    run(["mount", "--bind", str(home), str(root / home.relative_to("/"))])
    groups = []
    if (root / "usr/bin/docker").exists():
        inside = root / "run/docker.sock"
        inside.touch()
        run(["mount", "--bind", str(SOCKET.resolve()), str(inside)])
        groups.append(os.stat(SOCKET).st_gid)
    os.chroot(root)
    os.chdir(home / "system-stats")
    os.setgroups(groups)
    os.setgid(USER)
    os.setuid(USER)
    os.umask(0o077)
    environment = {
        "HOME": str(home),
        "PATH": f"{home}/.cargo/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C",
        "TZ": "Pacific/Kiritimati",
        "TERM": "dumb",
        # Proxies and authorities are this machine's network, not its state.
        **{name: value for name, value in os.environ.items() if name in NETWORK},
    }
    os.execvpe(command[0], command, environment)


NETWORK = {
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "RUSTUP_AUTO_INSTALL"),
}


def dev(machine: Machine) -> None:
    """Time from `make dev` to the page and its figures; then Ctrl-C, which must end it cleanly."""
    process = machine.start(["make", "dev"])
    deadline = time.monotonic() + DEV_SECONDS
    try:
        while not page_responds():
            if process.poll() is not None:
                raise Failed(f"{machine.variant}: make dev ended with exit code {process.returncode}")
            if time.monotonic() > deadline:
                raise Failed(f"{machine.variant}: no page from make dev after {DEV_SECONDS} s")
            time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        try:
            code = process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{machine.variant}: make dev did not end on Ctrl-C") from None
        if page_responds():
            raise Failed(f"{machine.variant}: the page still answers after Ctrl-C")
        # make reports the interrupted recipe with 2 or by the signal itself.
        if code not in (0, 2, 130, -signal.SIGINT):
            raise Failed(f"{machine.variant}: make dev ended with exit code {code} on Ctrl-C")
    finally:
        end(process)


def page_responds() -> bool:
    try:
        with urllib.request.urlopen(f"{PAGE}/", timeout=2) as page:
            found = b"<html" in page.read().lower()
        with urllib.request.urlopen(f"{PAGE}/stats", timeout=2) as stats:
            return found and {"cpu", "ram"} <= json.load(stats).keys()
    except (OSError, ValueError):
        return False


# The actions of each step.
STEPS: dict[str, Callable[[Machine], None]] = {
    "dev": dev,
    "check": lambda machine: machine.run(["make", "check"], TEST_SECONDS),
    "fast": lambda machine: machine.run(["make", "test-fast"], TEST_SECONDS),
    "test": lambda machine: machine.run(["make", "test"], TEST_SECONDS),
    "again": lambda machine: machine.run(["make", "test"], TEST_SECONDS),
}


def end(process: subprocess.Popen) -> None:
    """End every process of the session that is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def timed(title: str, action: Callable[[], None]) -> str:
    print(f"\ncold: == {title}", flush=True)
    begun = time.monotonic()
    action()
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    spent = f"{minutes}:{seconds:02d}"
    print(f"cold: {title}: {spent}", flush=True)
    return spent


def print_table(variants: list[str], steps: list[str], times: dict[tuple[str, str], str]) -> None:
    print(f"\n{os.cpu_count()} processors ({platform.machine()}), minutes:seconds")
    print("| variant | " + " | ".join(steps) + " |")
    print("| --- |" + " ---: |" * len(steps))
    for variant in variants:
        print(f"| {variant} | " + " | ".join(times.get((variant, step), "") for step in steps) + " |")


def run(command: list[str]) -> str:
    return progress.run(" ".join(command[:3]), command, BOOTSTRAP_SECONDS, quiet=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
