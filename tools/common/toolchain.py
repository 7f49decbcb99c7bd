"""Where the tools are, and the environment that build commands run in.

`python3 -m tools.install` puts everything under `.tools/`; this module is what other
scripts import to use it. On the command line it runs one command in that
environment: `python3 -m tools.common.toolchain cargo check`, or shorter `tools/with
cargo check`.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.common import versions

ROOT = Path(__file__).resolve().parents[2]
# Resolved: work trees that link to the tools of another one find them complete.
TOOLS = (ROOT / ".tools").resolve()
BIN = TOOLS / "bin"
PYTHON = TOOLS / "python"
# Debian's packages, unpacked. Its `bin` has the compilers alone: what else the
# packages bring must not shadow the machine's programs.
DEBIAN = TOOLS / "debian"
CHANNEL = versions.rust_channel(ROOT)
WASM_TARGET = "wasm32-unknown-unknown"
MUSL_TARGETS = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
# A panic becomes one trap; with the std of small_std.py nothing is left of its message.
PAGE_FLAGS = ("-Zunstable-options", "-Cpanic=immediate-abort")
# A release aborts at a panic, so the tables that unwind its stack are left out.
NO_TABLES = "-Cforce-unwind-tables=no"
TARGET = ROOT / "target"
# Where Cargo works on the small page: its flags must not make the other programs' crates be
# compiled again.
PAGE_TARGET = TARGET / "page" / "cargo"
# Where Cargo keeps the sources that come from crates.io.
CRATES_IO = "index.crates.io-1949cf8c6b5b557f/"
# Variables for other projects. The first three would replace the flags of a single target that environment_for() sets.
FOREIGN = re.compile(
    r"(CARGO_ENCODED_|CARGO_BUILD_)?RUSTFLAGS|CARGO_BUILD_TARGET|RUSTUP_TOOLCHAIN"
    # Another compiler or profile makes other binaries of the same commit.
    r"|(CARGO_BUILD_)?RUST(C|DOC)|RUSTC_BOOTSTRAP|CARGO_INCREMENTAL|CARGO_PROFILE_.*"
    # The crate cc and CMake add them to the flags of every target, and zig reads headers of CPATH before its own.
    r"|(TARGET_)?(C|CXX|CPP|LD|AR)FLAGS|CPATH|CMAKE_.*"
    # pip would take packages there for installed. Of its variables, those for the way to an index stay: others
    # lead into other places than a virtual environment, or do not agree with a list of hashes.
    r"|PYTHONPATH|PIP_(?!((EXTRA_)?INDEX_URL|NO_INDEX|FIND_LINKS|(CLIENT_)?CERT|PROXY|TRUSTED_HOST|RETRIES"
    r"|(DEFAULT_)?TIMEOUT|(NO_)?CACHE_DIR|CONFIG_FILE|KEYRING_PROVIDER|USE_FEATURE)$).*"
    # The page of another project may be below another path.
    r"|TRUNK_.*"
    # Another index, time or group makes uv reject uv.lock.
    r"|UV_(?!CACHE_DIR).*"
)
# The sources of Rust.
ROUTES = ("rustup", "debian")

# Podman, which may be the command `docker`, answers without an engine, but has no components.
ENGINE = ["docker", "version", "--format", "{{.Server.Version}}{{with .Server.Components}}{{end}}"]
# Asking a program for its version touches no network; a loaded machine may
# still need seconds to start a large one.
QUESTION_SECONDS = 20
# Questions to an engine without an answer within that time, and what took its place. They are not asked again.
LATE: dict[tuple[str, ...], subprocess.CompletedProcess[str]] = {}


def main(arguments: list[str]) -> int:
    """Replace this process by the command, in the tools' environment."""
    if not arguments:
        print("usage: tools/with COMMAND [ARGUMENT...]", file=sys.stderr)
        return 64
    variables = environment()
    program = shutil.which(arguments[0], path=variables["PATH"])
    if program is None:
        print(f"tools: {arguments[0]}: no such command", file=sys.stderr)
        return 127
    os.execve(program, arguments, variables)
    return None


def route() -> str:
    """The source of Rust that was chosen when the tools were installed: `rustup` or `debian`."""
    chosen = recorded_route()
    if chosen is None:
        raise SystemExit("tools: not installed yet; run `make tools`")
    return chosen


def forced_route() -> str | None:
    """The route that the environment forces with RUST_ROUTE, if any."""
    return os.environ.get("RUST_ROUTE") or None


def expected_route() -> str:
    """For the installer, which runs programs before it has chosen a route."""
    return forced_route() or recorded_route() or ROUTES[0]


def environment() -> dict[str, str]:
    """A complete process environment in which every build command finds its tools."""
    return environment_for(route())


def small_std_root(target: str) -> Path:
    """The sysroot that small_std.py makes."""
    return TOOLS / f"small-std-{target}"


def small_services() -> dict[str, str] | None:
    """Variables that make Cargo build the services with their small std; None where that std is missing."""
    root = small_std_root(musl_target())
    if not root.is_dir():
        return None
    # zig has the C library and its start files.
    return own_flags(musl_target(), f"--sysroot={root}", NO_TABLES, "-Clink-self-contained=no")


def small_page() -> dict[str, str] | None:
    """Variables that make Cargo build the page with the small std; None where that std is missing."""
    root = small_std_root(WASM_TARGET)
    if not root.is_dir():
        return None
    return {
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join((f"--sysroot={root}", *PAGE_FLAGS, *remap_path_flags(environment()))),
        # The flags are those of a nightly.
        "RUSTC_BOOTSTRAP": "1",
        **cargo_folders(PAGE_TARGET),
    }


def own_flags(target: str, *more: str) -> dict[str, str]:
    """The flags of a target, and more, as the variable that replaces all others: Cargo adds those of
    `target.'cfg(…)'` in ~/.cargo/config.toml, such as `target-cpu=native`, to any other."""
    flags = environment()[_target_variable(target, "RUSTFLAGS")].split()
    return {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join((*flags, *more))}


def cargo_folders(folder: Path) -> dict[str, str]:
    """Variables that make Cargo keep everything in one folder, wherever the user's other projects are built."""
    return {"CARGO_TARGET_DIR": str(folder), "CARGO_BUILD_BUILD_DIR": str(folder)}


def compose() -> list[str] | None:
    """The command prefix of a Compose that reads docker-compose.yaml, or None where there is none."""
    candidates = (["docker", "compose"], [str(PYTHON / "bin" / "docker-compose")], ["docker-compose"])
    for command in candidates:
        version = answer([*command, "version", "--short"])
        if version and versions.at_least(version.lstrip("v"), versions.COMPOSE_MINIMUM):
            return command
    return None


def engine() -> str | None:
    """The version of the Docker engine that answers, or None where none does."""
    return answer(ENGINE) or None


def engine_fault() -> str:
    """The reason that Docker's client gives when no engine answers; empty where there is no client."""
    done = ask(ENGINE)
    if done is None:
        return ""
    if (answer(["docker", "--version"]) or "").startswith("podman"):
        return "the command docker is Podman"
    reason = "".join(done.stderr.strip().splitlines()[-1:])
    return f"{reason}; add this user to the group docker" if "permission denied" in reason else reason


def distant_engine() -> str | None:
    """The address of an engine on another machine, which publishes ports there and mounts its own folders."""
    address = answer(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]) or ""
    return address if re.match(r"ssh:|tcp://(?!localhost|127\.|\[::1)", address) else None


def browser(name: str = "chromium") -> str | None:
    """The `chromium` or `firefox` that the installer found or installed, or None."""
    try:
        path = browser_record(name).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return path if os.access(path, os.X_OK) else None


def musl_target() -> str:
    """The static Linux target of this machine's processor, or of the one that ARCHITECTURE names."""
    architecture = os.environ.get("ARCHITECTURE") or platform.machine()
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(architecture.lower(), architecture)
    return f"{machine}-unknown-linux-musl"


def targets_to_add() -> tuple[str, str]:
    """Targets of Rust beside this machine."""
    return musl_target(), WASM_TARGET


def program(name: str, route: str | None = None) -> str | None:
    """Where the tools' environment finds a program."""
    return shutil.which(name, path=environment_for(route or expected_route())["PATH"])


def environment_for(chosen: str) -> dict[str, str]:
    """The environment of one route, for the installer, which builds before a route is recorded."""
    variables = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    for target in targets_to_add():
        # cargo-zigbuild and rustc's own linker, not musl-gcc.
        variables.pop(_target_variable(target, "LINKER"), None)
    if variables.pop("NO_COLOR", ""):
        # Trunk 0.21 takes no other value.
        variables["NO_COLOR"] = "true"
    # Relative to the workspace, where the linker runs, so that no path gets into what is built.
    flags = ["-C link-arg=-Wl,-T,tools/no-unwind.ld"]
    cargo_bin = str(cargo_home() / "bin")
    path = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part]
    path = [part for part in path if part != cargo_bin]
    if chosen == "rustup":
        path.insert(0, cargo_bin)
        variables["RUSTUP_TOOLCHAIN"] = CHANNEL
    else:
        # Last, but present: Cargo looks for its subcommands there first when
        # they are not on PATH, and would find rustup's.
        path = [str(DEBIAN / "bin"), *path, cargo_bin]
        flags.append("-C link-self-contained=no")
        variables[_target_variable(WASM_TARGET, "LINKER")] = str(BIN / "wasm-ld")
    variables["PATH"] = os.pathsep.join([str(BIN), str(PYTHON / "bin"), *path])
    remapped = remap_path_flags(variables)
    variables[_target_variable(musl_target(), "RUSTFLAGS")] = " ".join([*flags, *remapped])
    # Any flag of the target keeps out those of `build.rustflags` in ~/.cargo/config.toml, such as another linker's.
    variables[_target_variable(WASM_TARGET, "RUSTFLAGS")] = " ".join(remapped) or "-Cpanic=abort"
    # The gateway's allocator would take memory in pages of 2 MiB: 7 MB more of it, for 2 % of speed.
    flag = "-DMI_DEFAULT_ALLOW_THP=0"
    variables[f"CFLAGS_{musl_target().replace('-', '_')}"] = flag
    # Fixes C's __DATE__ (mimalloc embeds it into the gateway), so that the build date does not matter.
    variables["SOURCE_DATE_EPOCH"] = "0"
    # zig takes an object of another day for the same, so this folder has had one day only.
    variables["ZIG_GLOBAL_CACHE_DIR"] = variables["ZIG_LOCAL_CACHE_DIR"] = str(TOOLS / "cache" / "zig-1970")
    # Ours links faster (see ZIG in pypi.py), but cargo-zigbuild first asks
    # Python for the wheel's own zig: let that question fail.
    variables["CARGO_ZIGBUILD_PYTHON_PATH"] = "false"
    variables["CARGO_ZIGBUILD_ZIG_PATH"] = str(BIN / "zig")
    variables["CARGO_ZIGBUILD_CACHE_DIR"] = str(TOOLS / "cache" / "zigbuild")
    # pip.conf may have `user = true`, which pip rejects in a virtual environment.
    variables["PIP_USER"] = "0"
    variables["PLAYWRIGHT_BROWSERS_PATH"] = str(TOOLS / "browser")
    return variables


def remap_path_flags(variables: dict[str, str]) -> list[str]:
    """Flags that keep this machine's paths out of compiled programs."""
    sources = f"{cargo_home()}/registry/src/"
    places = {sources: "", f"{sources}{CRATES_IO}": ""}
    rustc = shutil.which("rustc", path=variables["PATH"])
    found = std_source_names(rustc, variables.get("RUSTUP_TOOLCHAIN")) if rustc else {}
    if not found:
        # The installer may bring it yet.
        std_source_names.cache_clear()
    places.update(found)
    # The flags are words between spaces.
    return [f"--remap-path-prefix={place}={name}" for place, name in places.items() if not re.search(r"\s", place)]


@functools.cache
def std_source_names(rustc: str, channel: str | None) -> dict[str, str]:
    """Where std's sources are, and what the official std calls that place: where they are installed,
    rustc would write the one for the other."""
    variables = {**os.environ, **({"RUSTUP_TOOLCHAIN": channel} if channel else {})}
    version = answer([rustc, "--version", "--verbose"], variables) or ""
    sysroot = answer([rustc, "--print", "sysroot"], variables)
    lines = ("commit-hash: ([0-9a-f]{40})", r"release: (\S+)")
    found = [re.search(rf"^{line}$", version, re.MULTILINE) for line in lines]
    name = next(filter(None, found), None)
    if name is None or sysroot is None:
        return {}
    sources = Path(sysroot) / "lib" / "rustlib" / "src" / "rust"
    # Debian's is a link to where its package has them.
    return {str(place): f"/rustc/{name[1]}" for place in dict.fromkeys((sources, sources.resolve()))}


def recorded_route() -> str | None:
    """The content of `.tools/route`, or None before the first installation."""
    try:
        return (TOOLS / "route").read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def browser_record(name: str) -> Path:
    """The file that holds the path of a browser."""
    return TOOLS / "browser" / name


def cargo_home() -> Path:
    return Path(os.environ.get("CARGO_HOME") or home() / ".cargo")


def home() -> Path:
    """The user's folder. A container's user may have none."""
    try:
        return Path.home()
    except RuntimeError:
        raise SystemExit("tools: this user has no home folder: set HOME to one that can be written to") from None


def answer(command: list[str], variables: dict[str, str] | None = None) -> str | None:
    """The output of a quick command; None when it fails, hangs or is missing."""
    done = ask(command, variables)
    return done.stdout.strip() if done and done.returncode == 0 else None


def ask(command: list[str], variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str] | None:
    """A quick command after its end, or after the time for it; None when it is missing."""
    if late := LATE.get(tuple(command)):
        return late
    options: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "timeout": QUESTION_SECONDS}
    try:
        return subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, **options)
    except subprocess.TimeoutExpired:
        text = f"{command[0]} does not answer within {QUESTION_SECONDS} s"
        late = subprocess.CompletedProcess(command, 1, "", text)
        if command == ENGINE:
            LATE[tuple(command)] = late
        return late
    except OSError:
        return None


def _target_variable(target: str, setting: str) -> str:
    return f"CARGO_TARGET_{target.upper().replace('-', '_')}_{setting}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
