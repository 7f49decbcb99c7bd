"""Samples and histories in the wire format of stats, from waves that can be recomputed."""

import json
import math
from pathlib import Path

# The fields by their scope, without those that are computed here.
SHAPES = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
PERCENTS = ("user", "nice", "system", "irq", "steal", "iowait", "idle")
# Containers of the task.
TASK = ("stats", "frontend", "gateway", "log-router")


def alert(subject="filesystem", target="", state="critical", value=99.3, unit="percent", **fields):
    return {"subject": subject, "target": target, "state": state, "value": value, "unit": unit, **fields}


def sample(scene, sequence, time_unix_ms):
    """A sample with all fields of the wire format, from waves that can be recomputed."""
    seconds = time_unix_ms / 1000
    cores = [{"id": core, **shares(seconds, core)} for core in range(scene.cores)]
    total = {name: mean_of(cores, name) for name in cores[0] if name != "id"}
    still = filled(SHAPES["sample"], seconds)
    used, size = used_bytes(seconds), still["memory"]["total_bytes"]
    fields = {
        "cpu": total["busy"],
        "ram": round(used / size * 100, 2),
        "time_unix_ms": time_unix_ms,
        "interval_ms": scene.interval_ms,
        "instance": scene.instance,
        "sequence": sequence,
        "scope": {"kind": scene.scope, "reason": f"the test says {scene.scope}"},
        "uptime_seconds": 90_061.5 + sequence,
        "processors": {"online": scene.cores, "total": total, "cores": cores},
        **still,
        "memory": {**still["memory"], "available_bytes": size - used, "used_bytes": used},
    }
    directions = {"receive": wave(seconds, 35, 1e4, 2e7), "transmit": wave(seconds, 45, 1e4, 6e6)}
    fields["networks"] = [{"name": "eth0", **{name: traffic(speed) for name, speed in directions.items()}}]
    if scene.scope != "host":
        fields[scene.scope] = filled(SHAPES[scene.scope], seconds)
    if scene.scope == "task":
        fields["task"]["containers"] = [task_container(name, place) for place, name in enumerate(TASK)]
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
    times = [time_unix_ms - age * 1000 for age in range(seconds - step, -1, -step)]
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
    # The mean of a few cores is that of many: the waves repeat.
    some = [shares(seconds, core) for core in range(min(scene.cores, 4))]
    return {
        **{f"cpu_{name}": mean_of(some, name) for name in PERCENTS if name != "idle"},
        "cpu": mean_of(some, "busy"),
        "ram": round(used_bytes(seconds) / SHAPES["sample"]["memory"]["total_bytes"] * 100, 2),
        **filled(SHAPES["history"], seconds),
        **(filled(SHAPES["history_of_container"], seconds) if scene.scope == "container" else {}),
    }


def used_bytes(seconds):
    return int(wave(seconds, 60, 4 << 30, 9 << 30))


def filled(shape, seconds):
    """The shape with a number in the place of each wave: its period, least, most, and digits if they are not two."""
    if isinstance(shape, list):
        return [filled(one, seconds) for one in shape]
    if not isinstance(shape, dict):
        return shape
    if "wave" in shape:
        period, least, most, *digits = shape["wave"]
        return round(wave(seconds, period, least, most), *(digits or [2]))
    return {name: filled(one, seconds) for name, one in shape.items()}


def mean_of(some, name):
    return round(sum(one[name] for one in some) / len(some), 2)


def wave(seconds, period, least, most):
    return least + (most - least) * (0.5 + 0.5 * math.sin(2 * math.pi * seconds / period))
