"""Bytes, CPU and delay of a tree of gateways: real ones on three levels, in front of generated members.

    python3 bench/fleet_tree.py --binaries target/x86_64-unknown-linux-musl/release

A child of this process is all the members: each has an address of its own in 127.0.0.0/8 and sends a
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
import itertools
import multiprocessing
import random
import re
import socket
import tempfile
import time
from pathlib import Path

import proc_stats
import servers
from load_generators import until
from processes import body, raise_file_limit, wait_for_listener
from scenario import Bench

PORT = 19_300  # of all members
SETTLE_SECONDS = 90
GAP_SECONDS = 0.3  # between two batches, which come once a second
NOWHERE = servers.Upstreams("127.0.0.1:1", "127.0.0.1:1")


def summary(instance: str, sequence: int) -> str:
    """As stats sends it, with the numbers that change."""
    load, cpu, ram = (round(random.uniform(*bounds), 2) for bounds in ((0, 5), (0, 99), (34, 36)))
    received, sent, written = (float(random.getrandbits(bits)) for bits in (16, 12, 22))
    return (
        f'{{"instance":"{instance}","scope":"host","state":"normal","since_unix_ms":1795912109931,"time_unix_ms":'
        f'{time.time_ns() // 1_000_000},"sequence":{sequence},"cpu":{cpu},"ram":{ram},"load":{load},'
        f'"pressure":{{"cpu":{load},"memory":0.0,"io":0.13}},"network":{{"received":{received},"sent":{sent}}},'
        f'"disk":{{"read":0.0,"written":{written},"busy":1.6}},"limits":{{"cpus":2.0,"memory_bytes":25276063744}},'
        f'"uptime_seconds":{400_000 + sequence},"version":"0.1.0"}}'
    )


class Member(asyncio.Protocol):
    """A connection to a member: the address that it came to says which one it is."""

    open: list[set[Member]] = [set() for _ in range(100)]

    def connection_made(self, transport):
        self.transport, self.sequence, self.head = transport, 0, b""
        numbers = [int(part) for part in transport.get_extra_info("sockname")[0].split(".")[1:]]
        self.instance = "".join(f"{number:04x}" for number in (0x2DC3, *numbers))
        self.phase = sum(number * factor for number, factor in zip(numbers, (31, 17, 7))) % 100

    def data_received(self, data):
        self.head += data
        if b"\r\n\r\n" in self.head and not self.sequence:
            head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nstats-instance: {self.instance}\r\n\r\n"
            self.transport.write(head.encode())
            self.tick()
            self.open[self.phase].add(self)

    def tick(self):
        self.sequence += 1
        data = summary(self.instance, self.sequence)
        self.transport.write(f"event: summary\nid: {self.sequence}\ndata: {data}\n\n".encode())

    def connection_lost(self, _):
        self.open[self.phase].discard(self)


async def serve():
    """All members; each ticks once a second, at a time of its own."""
    await asyncio.get_running_loop().create_server(Member, "0.0.0.0", PORT, backlog=4096)
    begun = time.monotonic()
    for count in itertools.count():
        await asyncio.sleep(max(0.0, begun + count / 100 - time.monotonic()))
        for member in list(Member.open[count % 100]):
            member.tick()


def members():
    asyncio.run(serve())


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

    def ages(self, seconds):
        """Seconds from the tick of each member to the moment at which the viewer has the value."""
        found, rest = [], b""
        for came, piece in self.read(seconds):
            text = rest + piece
            rest = text[-40:]
            found += [came - int(number) / 1000 for number in re.findall(rb'"time_unix_ms":(\d{13}),', text)]
        return sorted(found)


def steady(port, coding="identity"):
    stream = Stream(port, coding)
    # The state comes first.
    stream.rate(8)
    return stream.rate(12)


def measure(bench, fan, seconds):
    levels = {"top": [], "middle": [], "lowest": []}
    with contextlib.ExitStack() as stack:
        child = multiprocessing.Process(target=members, daemon=True)
        child.start()
        stack.callback(child.kill)
        wait_for_listener(PORT)

        def start(level, *fleet):
            settings = {"GATEWAY_FLEET": ",".join(fleet), "GATEWAY_THREADS": "1", "LOG_LEVEL": "error"}
            server = stack.enter_context(servers.gateway(bench, NOWHERE, **settings))
            levels[level].append(server)
            return f"{server.address}/fleet"

        def lowest(one, two):
            return start("lowest", *(f"127.{one + 1}.{two + 1}.{three + 1}:{PORT}" for three in range(fan[2])))

        start("top", *(start("middle", *(lowest(one, two) for two in range(fan[1]))) for one in range(fan[0])))
        port, count = levels["top"][0].port, fan[0] * fan[1] * fan[2]
        viewer = Stream(port)

        def is_complete():
            viewer.rate(0.5)
            return body(port, "/fleet").count(b'"state":"up"') == count

        took = until(is_complete, SETTLE_SECONDS, f"{count} members at the top")
        print(f"{count} members are up at the top after {took:.1f} s")
        # The first values are those of the start.
        viewer.rate(10)

        def cpu():
            return {
                level: sum(proc_stats.processor_seconds(one.pid) for one in gateways)
                for level, gateways in levels.items()
            }

        before = cpu()
        delays = viewer.ages(seconds)
        after = cpu()
        for level, gateways in levels.items():
            used = (after[level] - before[level]) / seconds / len(gateways)
            rate = viewer.rate(12) if level == "top" else steady(gateways[0].port)
            memory = sum(proc_stats.resident_bytes(one.pid) for one in gateways) / len(gateways)
            print(
                f"{level:8} {len(gateways):4} gateways, of each: CPU {100 * used:6.2f} % of a core, "
                f"{rate / 1e3:8.1f} kB/s to a viewer or gateway, {memory / 1e6:6.1f} MB of memory"
            )
        print(f"top      in gzip: {steady(port, 'gzip') / 1e3:.1f} kB/s")
        print(
            f"values   {len(delays) / seconds:.0f} a second, age "
            + ", ".join(f"{part:.0%} {delays[int(part * (len(delays) - 1))]:.2f} s" for part in (0.5, 0.95, 0.99, 1))
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=Path, required=True, help="folder with the gateway")
    parser.add_argument("--fan", type=int, nargs=3, default=(10, 10, 100), help="gateways, gateways, members of each")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    raise_file_limit()
    with tempfile.TemporaryDirectory() as folder:
        measure(Bench(options.binaries, Path(folder), options.seconds), options.fan, options.seconds)


if __name__ == "__main__":
    main()
