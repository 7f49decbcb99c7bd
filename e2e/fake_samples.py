"""Samples and histories in the wire format of stats, from waves that can be recomputed."""

import math

PERCENTS = ("user", "nice", "system", "irq", "steal", "iowait", "idle")
# Containers of the task.
TASK = ("stats", "frontend", "gateway", "log-router")


def sample(scene, sequence, time_unix_ms):
    """A sample with all fields of the wire format, from waves that can be recomputed."""
    seconds = time_unix_ms / 1000
    cores = [{"id": core, **shares(seconds, core)} for core in range(scene.cores)]
    total = {name: round(sum(core[name] for core in cores) / len(cores), 2) for name in cores[0]}
    del total["id"]
    gib = 1 << 30
    used = int(wave(seconds, 60, 4 * gib, 9 * gib))
    fields = {
        "cpu": total["busy"],
        "ram": round(used / (16 * gib) * 100, 2),
        "time_unix_ms": time_unix_ms,
        "interval_ms": scene.interval_ms,
        "instance": scene.instance,
        "sequence": sequence,
        "scope": {"kind": scene.scope, "reason": f"the test says {scene.scope}"},
        "uptime_seconds": 90_061.5 + sequence,
        "load": [round(wave(seconds, 90, 0.2, 5.0), 2), 1.5, 0.75],
        "processors": {"online": scene.cores, "total": total, "cores": cores},
        "memory": {
            "total_bytes": 16 * gib,
            "available_bytes": 16 * gib - used,
            "used_bytes": used,
            "free_bytes": 3 * gib,
            "buffers_bytes": gib // 8,
            "cached_bytes": 2 * gib,
            "slab_reclaimable_bytes": gib // 4,
            "swap_total_bytes": 2 * gib,
            "swap_used_bytes": gib // 2,
        },
        "pressure": {
            name: {
                "some": {"avg10": round(wave(seconds, 40, 0, top), 2), "avg60": 1.0, "avg300": 0.5},
                "full": {"avg10": 0.1, "avg60": 0.0, "avg300": 0.0},
            }
            for name, top in (("cpu", 30), ("memory", 3), ("io", 12))
        },
        "disks": [
            {
                "name": "nvme0n1",
                "read_bytes_per_second": round(wave(seconds, 30, 0, 4e7), 2),
                "write_bytes_per_second": round(wave(seconds, 20, 0, 9e7), 2),
                "reads_per_second": 120.5,
                "writes_per_second": 80.25,
                "utilisation": round(wave(seconds, 25, 0, 60), 2),
            }
        ],
        "networks": [
            {
                "name": "eth0",
                "receive": traffic(wave(seconds, 35, 1e4, 2e7)),
                "transmit": traffic(wave(seconds, 45, 1e4, 6e6)),
            }
        ],
        "filesystems": [
            {
                "mount": "/",
                "kind": "ext4",
                "total_bytes": 100 * gib,
                "available_bytes": 20 * gib,
                "used_bytes": 75 * gib,
            }
        ],
        "processes": {
            "running": 3,
            "blocked": 0,
            "total": 321,
            "context_switches_per_second": 12_345.6,
            "forks_per_second": 7.0,
        },
    }
    if scene.scope == "container":
        fields["container"] = {
            "cgroup_version": 2,
            "cpu_limit_cores": 0.5,
            "cpu_used_cores": round(wave(seconds, 30, 0.05, 0.5), 4),
            "throttled": round(wave(seconds, 50, 0, 40), 2),
            "memory_limit_bytes": 512 << 20,
            "memory_used_bytes": int(wave(seconds, 60, 100 << 20, 480 << 20)),
            "oom_kills": 2,
            "pids": 12,
            "pids_limit": 100,
        }
    if scene.scope == "task":
        fields["task"] = {
            "family": "system-stats",
            "revision": "7",
            "cpu_limit_cores": 1.0,
            "cpu_used_cores": 0.4,
            "memory_limit_bytes": 2 * gib,
            "memory_used_bytes": gib // 2,
            "age_ms": 800,
            "containers": [task_container(name, place) for place, name in enumerate(TASK)],
        }
    return fields


def task_container(name, place):
    return {
        "name": name,
        "status": "RUNNING",
        "cpu_used_cores": 0.1 * (place + 1),
        "memory_limit_bytes": 256 << 20,
        "memory_used_bytes": (10 << 20) * (place + 1),
        "receive": traffic(1e5 * (place + 1)),
        "transmit": traffic(1e4 * (place + 1)),
        "read_bytes_per_second": 0.0,
        "write_bytes_per_second": 2048.0,
    }


def traffic(bytes_per_second):
    return {
        "bytes_per_second": round(bytes_per_second, 2),
        "packets_per_second": round(bytes_per_second / 1000, 2),
        "errors_per_second": 0.0,
        "drops_per_second": 0.0,
    }


def shares(seconds, core):
    """Where a core's time went: seven shares that are 100 together."""
    busy = wave(seconds + 7 * core, 60, 2, 95)
    parts = {"user": 0.6, "nice": 0.05, "system": 0.25, "irq": 0.06, "steal": 0.04}
    fields = {"busy": round(busy, 2)}
    fields.update({name: round(busy * part, 2) for name, part in parts.items()})
    fields["iowait"] = round((100 - busy) * 0.1, 2)
    fields["idle"] = round((100 - busy) * 0.9, 2)
    return fields


def history(scene, sequence, time_unix_ms, seconds, step):
    """The past in columns; coarse rows have minimum and maximum as well."""
    ages = [age for age in range(seconds - step, -1, -step) if age not in scene.gap]
    times = [time_unix_ms - age * 1000 for age in ages]
    rows = [figures(scene, at) for at in times]
    series = {}
    for name in rows[0] if rows else ():
        mean = [row[name] for row in rows]
        series[name] = {"mean": mean}
        if step > 1:
            series[name]["minimum"] = [round(value * 0.7, 2) for value in mean]
            series[name]["maximum"] = [round(value * 1.2, 2) for value in mean]
    past = {
        "instance": scene.instance,
        "sequence": sequence,
        "step_seconds": step,
        "time_unix_ms": times,
        "series": series,
    }
    if step == 1 and times:
        past["cores"] = core_history(scene, times)
    return past


def core_history(scene, times):
    """The cores in rows of ten seconds, as the service sends them."""
    ends = sorted({min(-(-at // 10_000) * 10_000, times[-1]) for at in times})
    busy = [[round(shares(end / 1000, core)["busy"]) for core in range(scene.cores)] for end in ends]
    return {"step_seconds": 10, "time_unix_ms": ends, "busy": busy}


def figures(scene, time_unix_ms):
    """A sample's figures that have a history, by the names that the service gives them."""
    seconds = time_unix_ms / 1000
    gib = 1 << 30
    # The mean of a few cores is that of many: the waves repeat.
    some = [shares(seconds, core) for core in range(min(scene.cores, 4))]
    fields = {f"cpu_{name}": mean_of(some, name) for name in PERCENTS if name != "idle"}
    used = wave(seconds, 60, 4 * gib, 9 * gib)
    fields.update(
        {
            "cpu": mean_of(some, "busy"),
            "ram": round(used / (16 * gib) * 100, 2),
            "memory_used_bytes": used,
            "memory_cached_bytes": 2.375 * gib,
            "memory_free_bytes": 3 * gib,
            "swap_used_bytes": gib / 2,
            "load_1": round(wave(seconds, 90, 0.2, 5.0), 2),
            "network_receive_bytes_per_second": wave(seconds, 35, 1e4, 2e7),
            "network_transmit_bytes_per_second": wave(seconds, 45, 1e4, 6e6),
            "disk_read_bytes_per_second": wave(seconds, 30, 0, 4e7),
            "disk_write_bytes_per_second": wave(seconds, 20, 0, 9e7),
            "pressure_cpu": round(wave(seconds, 40, 0, 30), 2),
            "pressure_memory": round(wave(seconds, 40, 0, 3), 2),
            "pressure_io": round(wave(seconds, 40, 0, 12), 2),
        }
    )
    if scene.scope == "container":
        fields["container_cpu_cores"] = round(wave(seconds, 30, 0.05, 0.5), 4)
        fields["container_memory_bytes"] = wave(seconds, 60, 100 << 20, 480 << 20)
        fields["throttled"] = round(wave(seconds, 50, 0, 40), 2)
    return fields


def mean_of(some, name):
    return round(sum(one[name] for one in some) / len(some), 2)


def wave(seconds, period, least, most):
    return least + (most - least) * (0.5 + 0.5 * math.sin(2 * math.pi * seconds / period))
