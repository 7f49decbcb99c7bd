"""The numbers, as a program sees them."""

import json
import multiprocessing
import os
import statistics
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from conftest import eventually


def test_cpu_and_ram_are_percentages_and_come_first(fetch):
    answer = fetch("/stats")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    sample = answer.json()
    assert list(sample)[:2] == ["cpu", "ram"]
    for name in ("cpu", "ram"):
        assert isinstance(sample[name], (int, float)), sample
        assert 0 <= sample[name] <= 100, sample


def test_samples_move_on_by_themselves(fetch):
    first = fetch("/stats").json()

    def newer():
        # Several instances sample at different moments of the second, so another one may be behind.
        sample = fetch("/stats").json()
        return sample if sample["time_unix_ms"] > first["time_unix_ms"] else None

    newer_sample = eventually(newer, seconds=5)
    if newer_sample["instance"] == first["instance"]:
        assert newer_sample["sequence"] > first["sequence"]


def test_memory_agrees_with_the_kernel(fetch, local):
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    sample = fetch("/stats").json()
    assert abs(sample["memory"]["total_bytes"] - total) <= 0.01 * total
    assert sample["ram"] == round(sample["memory"]["used_bytes"] / sample["memory"]["total_bytes"] * 100, 2)


def burn(until):
    while time.monotonic() < until:
        pass


@contextmanager
def one_core_busy(seconds):
    process = multiprocessing.Process(target=burn, args=(time.monotonic() + seconds,))
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def cpu_over(fetch, samples):
    seen = {}
    deadline = time.monotonic() + samples + 5
    while len(seen) < samples and time.monotonic() < deadline:
        sample = fetch("/stats").json()
        seen[sample["sequence"]] = sample["cpu"]
        time.sleep(0.2)
    return statistics.mean(seen.values())


def processor_ticks():
    """Busy and all ticks of this machine's processors (proc_stat(5))."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    ticks = [int(field) for field in fields]
    idle, iowait = ticks[3], ticks[4]
    return sum(ticks) - idle - iowait, sum(ticks)


def test_one_busy_core_is_its_share_of_all(fetch, local):
    share = 100 / fetch("/stats").json()["processors"]["online"]

    def agrees():
        time.sleep(1)  # The sample that was half before the load is not counted.
        begun = processor_ticks()
        under_load = cpu_over(fetch, 5)
        # What the kernel counted in the same seconds; other programs of this machine are part of it.
        busy, total = (after - before for before, after in zip(begun, processor_ticks()))
        assert share - 10 <= under_load, under_load
        assert abs(under_load - 100 * busy / total) <= 15, (under_load, busy, total)
        return True

    with one_core_busy(60):
        # Their load may change between the sample and the count.
        eventually(agrees, 15)


def test_the_stream_delivers_each_sample_when_it_is_taken(base_url):
    with urllib.request.urlopen(f"{base_url}/stats/stream", timeout=10) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        arrivals = []
        for line in stream:
            if line.startswith(b"data: "):
                arrivals.append((time.monotonic(), json.loads(line[6:])["sequence"]))
            if len(arrivals) == 9:
                break
    times, sequences = zip(*arrivals)
    assert list(sequences) == list(range(sequences[0], sequences[0] + 9))
    # The past and the newest sample come at once, at whatever moment of the second that is.
    assert_one_a_second(times[2:])


def assert_one_a_second(times):
    """All but two gaps: a busy machine delays some."""
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert sum(0.5 < gap < 1.5 for gap in gaps) >= len(gaps) - 2, gaps
