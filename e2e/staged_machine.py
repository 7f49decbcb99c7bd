"""A machine made of files, on which a test stages an incident while stats reads it.

`folder/proc`, `folder/sys` and the mount points of `folder` belong to it: STATS_PROC and STATS_ROOT.
Counters move by their rates, ten times a second. Files keep their length and are overwritten in
place, because stats keeps them open.
"""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

CORES = 2
TICKS = 100
INTERVAL = 0.1
# Numbers of one width.
WIDE = 10**12


@dataclass
class Process:
    name: str
    cores: float = 0.0
    resident_pages: int = 1_000
    ticks: float = 0.0
    state: str = "S"


@dataclass
class Load:
    """The activity of the machine, in units a second."""

    # Processors kept busy, of CORES.
    user: float = 0.1
    steal: float = 0.0
    forks: float = 1.0
    # Shares of the time.
    io_stalled: float = 0.0
    throttled: float = 0.0
    # Packets received with an error.
    errors: float = 0.0
    available_kib: int = 6_000_000
    total_kib: int = 8_000_000
    # Events so far.
    oom_kills: int = 0
    processes: dict = field(default_factory=lambda: {1: Process("init")})


class Machine:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.load = Load()
        # The longest time between two states of the files.
        self.late_ms = 0.0
        self.counters = dict.fromkeys(
            ("user", "idle", "steal", "forks", "io", "periods", "throttled", "errors", "bytes"), 0.0
        )
        for point in ("var/log", "sys/class/net/eth0/device", "sys/fs/cgroup", "proc/self"):
            (self.folder / point).mkdir(parents=True)
        self._constant()
        self._write()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self):
        last = time.monotonic()
        while not self._stopped.wait(INTERVAL):
            now = time.monotonic()
            self._advance(now - last)
            self.late_ms = max(self.late_ms, (now - last) * 1000)
            last = now
            self._write()

    def _advance(self, seconds):
        load, add = self.load, self.counters
        busy = min(load.user + load.steal, CORES)
        add["user"] += min(load.user, CORES) * TICKS * seconds
        add["steal"] += load.steal * TICKS * seconds
        add["idle"] += (CORES - busy) * TICKS * seconds
        add["forks"] += load.forks * seconds
        add["io"] += load.io_stalled * 1e6 * seconds
        add["periods"] += 10 * seconds
        add["throttled"] += 10 * load.throttled * seconds
        add["errors"] += load.errors * seconds
        add["bytes"] += 10_000 * seconds
        for process in load.processes.values():
            process.ticks += process.cores * TICKS * seconds

    def _constant(self):
        mounts = (
            "22 1 259:1 / / rw,noatime - ext4 /dev/nvme0n1p1 rw\n"
            "23 22 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
            "24 22 259:2 / /var/log rw - ext4 /dev/nvme0n1p2 rw\n"
        )
        for process in ("1", "self"):
            self._file(f"proc/{process}/mountinfo", mounts)
            self._file(f"proc/{process}/cgroup", "0::/\n")
        self._file("proc/uptime", "604800.25 1190220.40\n")
        self._file("proc/loadavg", "0.15 0.10 0.05 1/168 120448\n")
        group = {"cpu.max": "150000 100000\n", "memory.max": "max\n", "memory.current": "9437184\n"}
        for name, text in {**group, "cgroup.controllers": "cpu memory\n", "memory.stat": "anon 1\n"}.items():
            self._file(f"sys/fs/cgroup/{name}", text)

    def _write(self):
        load, count = self.load, {name: WIDE + int(value) for name, value in self.counters.items()}
        # user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice
        row = "{} {user} 0 0 {idle} 0 0 0 {steal} 0 0\n"
        parts = {name: count[name] for name in ("user", "idle", "steal")}
        each = {name: WIDE + int(self.counters[name] / CORES) for name in parts}
        stat = row.format("cpu ", **parts) + "".join(row.format(f"cpu{at}", **each) for at in range(CORES))
        stat += f"ctxt {WIDE}\nbtime 1790000000\nprocesses {count['forks']}\nprocs_running 1\nprocs_blocked 0\n"
        self._file("proc/stat", stat)
        memory = {
            "MemTotal": load.total_kib,
            "MemFree": load.available_kib,
            "MemAvailable": load.available_kib,
            "Buffers": 0,
            "Cached": 0,
            "SwapTotal": 0,
            "SwapFree": 0,
            "Shmem": 0,
            "SReclaimable": 0,
        }
        self._file("proc/meminfo", "".join(f"{name}: {kib:012} kB\n" for name, kib in memory.items()))
        self._file("proc/vmstat", f"pswpin 0\npswpout 0\noom_kill {WIDE + load.oom_kills}\n")
        for name in ("cpu", "memory", "io"):
            total, share = (count["io"], load.io_stalled * 100) if name == "io" else (WIDE, 0.0)
            averages = f"avg10={share:06.2f} avg60=000.00 avg300=000.00 total={total}"
            rows = (f"{kind} {averages}\n" for kind in ("some", "full"))
            self._file(f"proc/pressure/{name}", "".join(rows))
        disk = " 259 0 nvme0n1 " + " ".join(["0"] * 17) + "\n"
        self._file("proc/diskstats", disk)
        head = "Inter-| Receive | Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n"
        way = f"{count['bytes']} {count['bytes']} {{}} 0 0 0 0 0"
        network = head + f"  eth0: {way.format(count['errors'])} {way.format(WIDE)}\n"
        for place in ("proc/net/dev", "proc/1/net/dev"):
            self._file(place, network)
        throttling = f"nr_periods {count['periods']}\nnr_throttled {count['throttled']}\nthrottled_usec {WIDE}\n"
        usage = f"usage_usec {WIDE}\nuser_usec {WIDE}\nsystem_usec {WIDE}\n"
        self._file("sys/fs/cgroup/cpu.stat", usage + throttling)
        for pid, process in list(load.processes.items()):
            self._file(f"proc/{pid}/stat", _process(pid, process))

    def _file(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, text.encode(), 0)
        finally:
            os.close(descriptor)


def _process(pid, process):
    """`proc_pid_stat(5)`: state, ten fields, user and system ticks, …, threads, …, start, …, resident."""
    fields = [process.state, *["0"] * 10, f"{WIDE + int(process.ticks)}", "0", "0", "0", "20", "0", "1", "0"]
    fields += ["1000", "100000000", f"{process.resident_pages:012}", *["0"] * 28]
    return f"{pid} ({process.name}) {' '.join(fields)}\n"
