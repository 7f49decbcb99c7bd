"""Statistics from /proc: resources of processes, and other load of the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
from pathlib import Path
from typing import NamedTuple

USER_HZ = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found, at = [pid], 0
    while at < len(found):
        for children in Path(f"/proc/{found[at]}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text(encoding="utf-8").split()]
        at += 1
    return found


def processor_seconds(pid: int) -> float:
    """User and system time of a process and its children, to the tick (proc(5), stat)."""
    return sum(_ticks(process, 11, 13) for process in tree(pid)) / USER_HZ


def fine_processor_seconds(pid: int) -> float:
    """The same of threads that live, to the nanosecond (sched-stats of the kernel's documentation).

    The other counts ticks of 10 ms, and a sample takes less than one.
    """
    threads = (schedstat for each in tree(pid) for schedstat in Path(f"/proc/{each}/task").glob("*/schedstat"))
    return sum(int(text.split()[0]) for text in map(_text, threads) if text) / 1e9


def children_seconds() -> float:
    """User and system time of the programs that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident_bytes(pid: int) -> int:
    """The memory of a process alone."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS")


def tree_bytes(pid: int) -> int:
    """The memory of a process and its children; what they share is counted once."""
    processes = tree(pid)
    if len(processes) == 1:
        return resident_bytes(pid)
    return sum(_kilobytes(Path(f"/proc/{process}/smaps_rollup"), "Pss") for process in processes)


def mapped_files(pid: int) -> set[Path]:
    """The program and the libraries that a process and its children have loaded."""
    found: set[Path] = set()
    for process in tree(pid):
        for line in _text(Path(f"/proc/{process}/maps")).splitlines():
            path = line.partition("/")[2]
            if path and Path("/" + path).is_file():
                found.add(Path("/" + path))
    return found


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class CpuTimes(NamedTuple):
    """Processor time of the machine and of this benchmark at a moment, seconds."""

    all: float
    busy: float
    stolen: float
    own: float


def cpu_times() -> CpuTimes:
    fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]
    user, nice, system, idle, wait, irq, soft, stolen = (int(field) / USER_HZ for field in fields)
    busy = user + nice + system + irq + soft
    own = resource.getrusage(resource.RUSAGE_SELF)
    used = own.ru_utime + own.ru_stime + children_seconds()
    # Running processes, with the time of their ended children.
    used += sum(_ticks(process, 11, 15) for process in tree(os.getpid())[1:]) / USER_HZ
    return CpuTimes(busy + idle + wait + stolen, busy, stolen, used)


def others(before: CpuTimes, after: CpuTimes) -> dict[str, float]:
    """The shares of the machine that other programs and other machines took, percent."""
    time = max(after.all - before.all, 1e-9)
    busy = (after.busy - before.busy) - (after.own - before.own)
    return {
        "others_percent": round(max(busy, 0) / time * 100, 1),
        "stolen_percent": round((after.stolen - before.stolen) / time * 100, 1),
    }


def machine() -> dict[str, object]:
    """Properties of the machine that the figures depend on."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = _kilobytes(Path("/proc/meminfo"), "MemTotal")
    return {
        "processor": model.group(1) if model else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _ticks(pid: int, first: int, last: int) -> int:
    """Some fields of stat, counted from 0 behind the name, added up; 0 when it has just ended."""
    text = _text(Path(f"/proc/{pid}/stat"))
    return sum(int(ticks) for ticks in text.rsplit(")", 1)[-1].split()[first:last])


def _kilobytes(file: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", _text(file), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def _text(file: Path) -> str:
    """The content of a file of /proc; empty when its process has just ended."""
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""
