"""The part of test_black_hole.py that runs in network namespaces of its own.

Here are the gateway, its client and one upstream; at the other end of a pair of devices is the
other upstream. When that end releases its address, packets to it are dropped without a reset,
and the neighbor entry is permanent, so that there is no ICMP error either.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conftest import eventually, request
from upstream import Upstream

# Of networks for examples (RFC 5737); it exists in these namespaces only.
HERE, THERE = "192.0.2.1", "192.0.2.2"
TIMEOUT_SECONDS = 2


def main(gateway: str) -> dict:
    run("ip link set lo up")
    # It keeps the other namespace alive.
    other = subprocess.Popen(["unshare", "-n", "sleep", "100"])
    try:
        eventually(lambda: namespace(other.pid) != namespace("self"))
        there = f"nsenter -t {other.pid} -n "
        try:
            run("ip link add here type veth peer name there")
        except RuntimeError as error:
            return {"skipped": f"no pair of devices: {error}"}
        run(f"ip link set there netns {other.pid}")
        run(f"ip addr add {HERE}/24 dev here")
        run("ip link set here up")
        run(there + f"ip addr add {THERE}/24 dev there")
        run(there + "ip link set lo up")
        run(there + "ip link set there up")
        address = json.loads(run(there + "ip -j link show dev there"))[0]["address"]
        run(f"ip neigh replace {THERE} lladdr {address} dev here nud permanent")
        return scenario(gateway, there)
    finally:
        other.kill()
        other.wait()


def scenario(gateway: str, there: str) -> dict:
    upstream = [*there.split(), sys.executable, sys.modules["upstream"].__file__, THERE, "8080", "stats"]
    stats = subprocess.Popen(upstream)
    with Upstream("frontend") as frontend:
        environment = {
            "GATEWAY_LISTEN": "127.0.0.1:3050",
            "GATEWAY_ADMIN_LISTEN": "off",
            "GATEWAY_STATS": f"{THERE}:8080",
            "GATEWAY_FRONTEND": frontend.address,
            "GATEWAY_UPSTREAM_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
            "LOG_LEVEL": "error",
        }
        process = subprocess.Popen([gateway], env=environment, stdout=sys.stderr)
        try:
            eventually(lambda: fetch("/stats")[0] == 200)
            before, _ = fetch("/stats")
            run(there + f"ip addr del {THERE}/24 dev there")
            pulled, other_route = [], []
            for _ in range(4):
                status, seconds = fetch("/stats")
                pulled.append({"status": status, "seconds": round(seconds, 2)})
                other_route.append(fetch("/")[0])
            run(there + f"ip addr add {THERE}/24 dev there")
            mended = time.monotonic()
            eventually(lambda: fetch("/stats")[0] == 200)
            back = round(time.monotonic() - mended, 2)
            return {"before": before, "pulled": pulled, "other_route": other_route, "back_seconds": back}
        finally:
            for child in (process, stats):
                child.kill()
                child.wait()


def fetch(path):
    begun = time.monotonic()
    status = request(f"http://127.0.0.1:3050{path}").status
    return status, time.monotonic() - begun


def run(command: str) -> bytes:
    done = subprocess.run(command.split(), capture_output=True, timeout=20)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode()}")
    return done.stdout


def namespace(pid) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
