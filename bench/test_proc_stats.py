"""Looks at this very process, at a composed /proc, and at a file of this interpreter."""

from __future__ import annotations

import os
import time
from pathlib import Path

import elf
import proc_stats
import pytest
from synthetic_proc import Tree


def test_a_process_and_its_children_are_a_tree() -> None:
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        assert proc_stats.tree(os.getpid()) == [os.getpid(), child]
        assert proc_stats.tree_bytes(os.getpid()) > proc_stats.resident_bytes(child) // 10
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_our_own_work_is_not_that_of_others() -> None:
    # Counted in ticks of 10 ms, so it must be some.
    before, begun = proc_stats.cpu_times(), time.process_time()
    while time.process_time() - begun < 0.4:
        pass
    after = proc_stats.cpu_times()
    assert after.own - before.own > 0.3
    assert proc_stats.others(before, after)["others_percent"] >= 0


def test_work_that_is_not_ours_is_that_of_others() -> None:
    before = proc_stats.CpuTimes(all=100.0, busy=10.0, stolen=0.0, own=5.0)
    after = proc_stats.CpuTimes(all=200.0, busy=60.0, stolen=2.0, own=35.0)
    assert proc_stats.others(before, after) == {"others_percent": 20.0, "stolen_percent": 2.0}


def test_processor_time_of_this_process_grows() -> None:
    before = proc_stats.fine_processor_seconds(os.getpid())
    sum(range(1_000_000))
    assert proc_stats.fine_processor_seconds(os.getpid()) > before


def test_it_has_the_requested_size_and_its_counters_increase(tmp_path) -> None:
    folder, tree = tmp_path / "proc", Tree(cores=16, interfaces=10, disks=3)
    tree.write(folder, 0)
    first = (folder / "stat").read_text(encoding="utf-8")
    assert "cpu15 " in first
    assert "cpu16 " not in first
    assert "eth9:" in (folder / "net/dev").read_text(encoding="utf-8")
    assert " nvme2n1 " in (folder / "diskstats").read_text(encoding="utf-8")
    assert (folder / "meminfo").exists()
    tree.write(folder, 1)
    second = (folder / "stat").read_text(encoding="utf-8")
    # In place: a concurrent reader never sees a truncated file.
    assert len(second) == len(first)
    assert second > first


def test_the_parts_of_a_program_are_all_of_it() -> None:
    program = max(proc_stats.mapped_files(os.getpid()), key=lambda file: file.stat().st_size)
    parts = elf.parts(program)
    assert sum(parts.values()) == program.stat().st_size, program
    assert parts["code"] > 1000


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError):
        elf.sections(Path(__file__).read_bytes())
