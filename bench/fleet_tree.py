"""Bytes, CPU and delay of a tree of gateways: real ones on three levels, in front of generated members.

    python3 bench/fleet_tree.py --binaries target/x86_64-unknown-linux-musl/release

A process of this script is all the members: each has an address of its own in 127.0.0.0/8 and sends a
summary of the size that stats sends, once a second. The gateways of the lowest level follow them,
those of the middle follow these, and the top follows the middle. A viewer of the top measures how old
values are when it has them. Without --fan there are 10 x 10 x 100 members; 111 gateways run then,
20,000 files must be allowed, and the machine must have nothing else to do: members that are late by
seconds are connected again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import proc_stats
from processes import raise_file_limit, started

PORT = 19_300  # of all members; the gateways have the ports behind it
SETTLE_SECONDS = 90
GAP_SECONDS = 0.3  # between two batches, which come once a second
# As stats sends it, with the numbers that change.
SUMMARY = (
    '{{"instance":"{instance}","scope":"host","state":"normal","since_unix_ms":1795912109931,"time_unix_ms":{now},'
    '"sequence":{sequence},"cpu":{cpu:.2f},"ram":{ram:.2f},"load":{load:.2f},'
    '"pressure":{{"cpu":{load:.2f},"memory":0.0,"io":0.13}},"network":{{"received":{received}.0,"sent":{sent}.0}},'
    '"disk":{{"read":0.0,"written":{written}.0,"busy":1.6}},"limits":{{"cpus":2.0,"memory_bytes":25276063744}},'
    '"uptime_seconds":{uptime},"version":"0.1.0"}}'
)


class Member(asyncio.Protocol):
    """A connection to a member: the address that it came to says which one it is."""

    open: list[list[Member]] = [[] for _ in range(100)]

    def connection_made(self, transport):
        self.transport, self.sequence, self.head = transport, 0, b""
        host = transport.get_extra_info("sockname")[0]
        numbers = [int(part) for part in host.split(".")[1:]]
        self.instance = "".join(f"{number:04x}" for number in (0x2DC3, *numbers))
        self.phase = sum(number * factor for number, factor in zip(numbers, (31, 17, 7))) % 100

    def data_received(self, data):
        self.head += data
        if b"\r\n\r\n" in self.head and not self.sequence:
            head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nstats-instance: {self.instance}\r\n\r\n"
            self.transport.write(head.encode())
            self.tick()
            self.open[self.phase].append(self)

    def tick(self):
        self.sequence += 1
        now = time.time_ns() // 1_000_000
        bits = random.getrandbits(62)
        data = SUMMARY.format(
            instance=self.instance,
            now=now,
            sequence=self.sequence,
            cpu=(bits & 0xFFF) / 41,
            ram=34 + (bits >> 12 & 0xFF) / 100,
            load=(bits >> 20 & 0x1FF) / 100,
            received=bits >> 30 & 0xFFFF,
            sent=bits >> 46 & 0xFFF,
            written=bits >> 50 & 0x3FF000,
            uptime=400_000 + self.sequence,
        )
        self.transport.write(f"event: summary\nid: {self.sequence}\ndata: {data}\n\n".encode())

    def connection_lost(self, _):
        if self in self.open[self.phase]:
            self.open[self.phase].remove(self)


async def members():
    """All members; each ticks once a second, at a time of its own."""
    loop = asyncio.get_running_loop()
    await loop.create_server(Member, "0.0.0.0", PORT, backlog=4096)
    print("ready", flush=True)
    begun, count = time.monotonic(), 0
    while True:
        await asyncio.sleep(max(0.0, begun + count / 100 - time.monotonic()))
        for member in list(Member.open[count % 100]):
            member.tick()
        count += 1


class Level:
    """The gateways of one level."""

    def __init__(self, name):
        self.name, self.processes, self.ports = name, [], []

    def start(self, stack, binary, port, fleet):
        settings = {
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "GATEWAY_STATS": "127.0.0.1:1",
            "GATEWAY_FRONTEND": "127.0.0.1:1",
            "GATEWAY_ADMIN_LISTEN": "off",
            "GATEWAY_FLEET": fleet,
            "GATEWAY_THREADS": "1",
            "LOG_LEVEL": "error",
        }
        self.processes.append(stack.enter_context(started([binary], variables=settings)))
        self.ports.append(port)

    def cpu(self):
        """Seconds of CPU, of all together."""
        return sum(proc_stats.processor_seconds(process.pid) for process in self.processes)

    def memory(self):
        """Bytes of memory of each, on average."""
        return sum(proc_stats.resident_bytes(process.pid) for process in self.processes) / len(self.processes)


class Stream:
    """The merged stream of a gateway."""

    def __init__(self, port, coding="identity"):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        request = f"GET /fleet/stream HTTP/1.0\r\nhost: localhost\r\naccept-encoding: {coding}\r\n\r\n"
        self._socket.sendall(request.encode())

    def read(self, seconds):
        """The pieces of some seconds, with the time at which each came."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            piece = self._socket.recv(1 << 20)
            yield time.time(), piece

    def rate(self, seconds):
        """Bytes a second, from the begin of a batch to the begin of another."""
        batches, last = [], 0.0
        for came, piece in self.read(seconds):
            if came - last > GAP_SECONDS:
                batches.append([came, 0])
            batches[-1][1] += len(piece)
            last = came
        # The first one may have begun before.
        complete = batches[1:]
        if len(complete) < 2:
            return 0.0
        return sum(size for _, size in complete[:-1]) / (complete[-1][0] - complete[0][0])


def up(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/fleet", timeout=20) as answer:
        states = [member["state"] for member in json.load(answer)["members"]]
    return states.count("up")


def ages(stream, seconds):
    """Seconds from the tick of each member to the moment at which the viewer has the value."""
    found, rest = [], b""
    for came, piece in stream.read(seconds):
        text = rest + piece
        rest = text[-40:]
        found += [came - int(number) / 1000 for number in re.findall(rb'"time_unix_ms":(\d{13}),', text)]
    return sorted(found)


def measure(binary, fan, seconds):
    top, middle, lowest = levels = [Level(name) for name in ("top", "middle", "lowest")]
    with contextlib.ExitStack() as stack:
        members = [sys.executable, __file__, "--members"]
        stack.enter_context(started(members, output=subprocess.PIPE)).stdout.readline()
        port = PORT
        below_top = []
        for one in range(fan[0]):
            below = []
            for other in range(fan[1]):
                port += 1
                addresses = (f"127.{one + 1}.{other + 1}.{last + 1}:{PORT}" for last in range(fan[2]))
                lowest.start(stack, binary, port, ",".join(addresses))
                below.append(f"127.0.0.1:{port}/fleet")
            port += 1
            middle.start(stack, binary, port, ",".join(below))
            below_top.append(f"127.0.0.1:{port}/fleet")
        top.start(stack, binary, port + 1, ",".join(below_top))
        time.sleep(2)
        count = fan[0] * fan[1] * fan[2]
        viewer = Stream(port + 1)
        begun = time.monotonic()
        while (found := up(port + 1)) < count:
            if time.monotonic() - begun > SETTLE_SECONDS:
                sys.exit(f"only {found} of {count} members are up at the top")
            viewer.rate(0.5)
        print(f"{count} members are up at the top after {time.monotonic() - begun:.1f} s")
        # The first values are those of the start.
        viewer.rate(10)
        before = [level.cpu() for level in levels]
        delays = ages(viewer, seconds)
        cpu = [(level.cpu() - used) / seconds for level, used in zip(levels, before)]
        rates = [viewer.rate(12), *(steady(level.ports[0]) for level in (middle, lowest))]
        gzip = steady(port + 1, "gzip")
        for level, used, rate in zip(levels, cpu, rates):
            each = len(level.processes)
            print(
                f"{level.name:8} {each:4} gateways, of each: CPU {100 * used / each:6.2f} % of a core, "
                f"{rate / 1e3:8.1f} kB/s to a viewer or gateway, {level.memory() / 1e6:6.1f} MB of memory"
            )
        print(f"top      in gzip: {gzip / 1e3:.1f} kB/s")
        print(
            f"values   {len(delays) / seconds:.0f} a second, age "
            + ", ".join(f"{part:.0%} {delays[int(part * (len(delays) - 1))]:.2f} s" for part in (0.5, 0.95, 0.99, 1))
        )


def steady(port, coding="identity"):
    stream = Stream(port, coding)
    # The state comes first.
    stream.rate(8)
    return stream.rate(12)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=Path, help="folder with the gateway")
    parser.add_argument("--fan", type=int, nargs=3, default=(10, 10, 100), help="gateways, gateways, members of each")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--members", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    raise_file_limit()
    if options.members:
        asyncio.run(members())
    elif options.binaries is None:
        parser.error("--binaries is missing")
    else:
        measure(options.binaries / "gateway", options.fan, options.seconds)


if __name__ == "__main__":
    main()
