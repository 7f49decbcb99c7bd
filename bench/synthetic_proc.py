"""A synthetic /proc of any size, with counters that move."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

RECORDED = Path(__file__).resolve().parent.parent / "services/stats/fixtures/linux-6.1-2-cores/proc"
# Numbers keep their width, so that a file is overwritten in place while it is being read.
WIDTH = 12


@dataclass(frozen=True)
class Tree:
    """Number of each resource; the rest is that of a recorded machine."""

    cores: int = 2
    interfaces: int = 2
    disks: int = 1

    def write(self, folder: Path, step: int) -> None:
        """The tree as it is at a step; step 0 makes it."""
        if step == 0:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(RECORDED, folder)
            for file in self.files(0):
                (folder / file).unlink(missing_ok=True)
        for file, text in self.files(step).items():
            descriptor = os.open(folder / file, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(descriptor, text.encode(), 0)
            finally:
                os.close(descriptor)

    def files(self, step: int) -> dict[str, str]:
        return {"stat": self._stat(step), "net/dev": self._networks(step), "diskstats": self._disks(step)}

    def _stat(self, step: int) -> str:
        def row(name: str, times: int) -> str:
            # user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice
            each = (17, 1, 7, 20, 2, 1, 1, 1, 0, 0)
            return " ".join([name, *(_wide((1_000 + step * rate) * times) for rate in each)])

        rows = [row("cpu ", self.cores), *(row(f"cpu{at}", 1) for at in range(self.cores))]
        rest = [f"intr {_wide(1_000 * step)}", f"ctxt {_wide(2_000 * step)}", "btime 1790000000"]
        rest += [f"processes {_wide(10_000 + step)}", "procs_running 1", "procs_blocked 0"]
        return "\n".join([*rows, *rest, ""])

    def _networks(self, step: int) -> str:
        head = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|"
        head += "bytes packets errs drop fifo colls carrier compressed\n"
        rows = []
        for at in range(self.interfaces):
            bytes_, packets = _wide(7_777 * (step + 1) + at), _wide(11 * (step + 1))
            way = f"{bytes_} {packets} 0 0 0 0 0 0"
            rows.append(f"{f'eth{at}':>8}: {way} {way}\n")
        return head + "".join(rows)

    def _disks(self, step: int) -> str:
        rows = []
        for at in range(self.disks):
            done, sectors, time = _wide(3 * step), _wide(96 * step), _wide(40 * step)
            way = f"{done} 0 {sectors} {time}"
            rows.append(f" 259 {at:7} nvme{at}n1 {way} {way} 0 {time} {time} 0 0 0 0 0 0\n")
        return "".join(rows)


def _wide(number: int) -> str:
    return str(10**WIDTH + number)
