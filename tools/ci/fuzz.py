"""`make fuzz`: feed every parser of stats and the gateway with mutated input.

    make fuzz                       every target, 60 s each
    make fuzz S=gateway/cache       one
    make fuzz FUZZ_SECONDS=600           longer

A target begins with the fixtures, or with the requests of e2e/adversarial, and with what an earlier
run kept in target/fuzz. It fails on a panic; the input that caused it is named. There is no unsafe
code for a sanitizer to watch.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from tools.build import build
from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.progress import exit_code
from tools.common.toolchain import ROOT
from tools.install.progress import end_on_signals

FOLDER = ROOT / "target" / "fuzz"
SECONDS = 60
INPUT_BYTES = 4096
MEMORY_MIB = 2048


def main(arguments: list[str]) -> int:
    end_on_signals()
    return exit_code("fuzz", lambda: run(arguments or targets()))


def run(selected: list[str]) -> int:
    seconds = os.environ.get("FUZZ_SECONDS") or str(SECONDS)
    known = targets()
    faults = [f"unknown target {name!r}: expected some of {', '.join(known)}" for name in selected if name not in known]
    if not seconds.isdigit() or not int(seconds):
        faults.append(f"FUZZ_SECONDS is {seconds!r}: expected a number above 0")
    if faults:
        raise Refused("\n  ".join(faults))
    build.ensure_tools("build", "fuzz")
    failed = [name for name in selected if not fuzz_target(name, int(seconds))]
    print(f"fuzz: failed: {', '.join(failed)}" if failed else f"fuzz: {len(selected)} targets hold")
    return 1 if failed else 0


def targets() -> list[str]:
    """SERVICE/TARGET of each."""
    files = ROOT.glob("services/*/fuzz/fuzz_targets/*.rs")
    return sorted(f"{path.parents[2].name}/{path.stem}" for path in files)


def fuzz(service: str) -> Path:
    return ROOT / "services" / service / "fuzz"


def fuzz_target(name: str, seconds: int) -> bool:
    """Whether no input of the given time breaks a target."""
    service, target = name.split("/")
    found = FOLDER / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    print(f"fuzz: {name}, {seconds} s", flush=True)
    command = ["cargo", "fuzz", "run", target, "--sanitizer", "none", str(found), *seeds(service, target)]
    limits = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES}", f"-rss_limit_mb={MEMORY_MIB}"]
    # The coverage that libFuzzer follows is an unstable option of the compiler.
    variables = {"RUSTC_BOOTSTRAP": "1", **toolchain.cargo_folders(FOLDER / "build")}
    done = subprocess.run(
        [*command, "--", *limits, "-print_final_stats=1"],
        cwd=ROOT / "services" / service,
        env={**toolchain.environment(), **variables},
        timeout=seconds + build.COMPILE_SECONDS,
        check=False,
    )
    return done.returncode == 0


def seeds(service: str, target: str) -> list[str]:
    """The folders of inputs that a target begins with."""
    folders = [generated_seeds(service) / target, fuzz(service) / "corpus" / target]
    return [str(folder) for folder in folders if folder.is_dir()]


@cache
def generated_seeds(service: str) -> Path:
    """The folder in which the script of a service, if it has one, has written the seeds of its targets."""
    script, folder = fuzz(service) / "seeds.py", FOLDER / "seeds" / service
    if script.exists():
        subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=60)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
