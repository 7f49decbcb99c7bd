"""The figures beside those of psutil, on the same machine over the same time."""

import time

import psutil
from test_stats import one_core_busy
from test_stream import stream

import services

SAMPLES = 30
BUSY_SECONDS = 12
# In points of percent. psutil reads a moment after the service, and what both read moves. On a busy machine the
# moment is long, and the load in it may be any.
CPU_POINTS = 2
RAM_POINTS = 1


def lateness(sample):
    """Seconds since it was taken, beyond those of a machine that is not busy."""
    return max(0, time.time() - sample["time_unix_ms"] / 1000 - 0.1)


def test_processor_and_memory_agree_with_psutil_under_changing_load(request):
    taken, memory = [], []
    with services.stats(request.config, STATS_SCOPE="host") as service, stream(service) as coming:
        samples = (event.data for event in coming if event.name == "sample")
        # The first was waiting; the second comes when it is taken, and there the time begins.
        next(samples)
        late = [lateness(next(samples))]
        psutil.cpu_percent()
        with one_core_busy(BUSY_SECONDS):
            for _ in range(SAMPLES):
                taken.append(next(samples))
                memory.append(psutil.virtual_memory().percent)
        # Since the call before; both are without idle and iowait.
        psutil_cpu = psutil.cpu_percent()
        late.append(lateness(taken[-1]))
    assert all(sample["scope"]["kind"] == "host" for sample in taken)
    milliseconds = sum(sample["interval_ms"] for sample in taken)
    cpu = sum(sample["cpu"] * sample["interval_ms"] for sample in taken) / milliseconds
    ram = sum(sample["ram"] for sample in taken) / SAMPLES
    psutil_ram = sum(memory) / SAMPLES
    figures = f"cpu {cpu:.2f} (psutil {psutil_cpu:.2f}), ram {ram:.2f} (psutil {psutil_ram:.2f})"
    print(figures)
    assert abs(cpu - psutil_cpu) <= CPU_POINTS + 100 * sum(late) / SAMPLES, (figures, late)
    assert abs(ram - psutil_ram) <= RAM_POINTS, figures
