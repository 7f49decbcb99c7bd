"""A gateway with a fleet that sends what a test wants, in front of a real frontend.

`/fleet` and `/fleet/stream` are answered here; the figures of the members, and of `/stats`, are those of one fake
backend.
"""

import hashlib
import json
import time
from urllib.parse import unquote, urlsplit

import fake_backend
import fake_samples


class Member:
    """One member and what it sends."""

    def __init__(self, address, **block):
        self.address = address
        self.presence, self.since = "up", now_ms()
        self.instance = hashlib.sha256(address.encode()).hexdigest()[:16]
        self.sequence = 0
        # What differs from a healthy machine; `None` leaves a field out.
        self.block = block

    def tick(self):
        self.sequence += 1

    def summary(self):
        block = {
            "instance": self.instance,
            "name": "host-" + self.address.split(":")[0].replace(".", "-"),
            "labels": {},
            "scope": "host",
            "state": "normal",
            "since_unix_ms": self.since - 3_600_000,
            "time_unix_ms": self.since + self.sequence * 1000,
            "sequence": self.sequence,
            "cpu": 12.5,
            "ram": 40.0,
            "load": 0.5,
            "pressure": {"cpu": 0.4, "memory": 0, "io": 0.1},
            "network": {"received": 1_200_000, "sent": 300_000},
            "disk": {"read": 20_000, "written": 500_000, "busy": 3},
            "limits": {"cpus": 4, "memory_bytes": 8 << 30},
            "uptime_seconds": 400_000 + self.sequence,
            "version": "1.2.3",
            **self.block,
        }
        block = {name: value for name, value in block.items() if value is not None}
        return f"{self.address} summary " + json.dumps(block, separators=(",", ":"))

    def minute(self):
        times = [self.since + (self.sequence + second - 59) * 1000 for second in range(60)]
        cpu = [fake_samples.wave(second, 30, 5, 60) for second in range(60)]
        fields = {"instance": self.instance, "times_unix_ms": times, "cpu": cpu, "ram": cpu}
        return f"{self.address} minute " + json.dumps(fields, separators=(",", ":"))

    def member(self):
        fields = {"state": self.presence, "instance": self.instance, "since_unix_ms": self.since_presence}
        if self.presence != "up":
            fields["time_unix_ms"] = now_ms()
        return f"{self.address} member " + json.dumps(fields, separators=(",", ":"))

    @property
    def since_presence(self):
        return self.since if self.presence == "up" else self.lost

    def become(self, presence, ago_ms=0):
        self.presence, self.lost = presence, now_ms() - ago_ms
        return self.member()


class FakeFleet(fake_backend.Served):
    """The server; `viewers` are those of the merged stream."""

    def __init__(self, frontend_port, members=()):
        self.members = {member.address: member for member in members}
        self.figures = fake_backend.FakeBackend(frontend_port)
        # The status of GET /fleet.
        self.status = 200
        self.stream_status = 200
        super().__init__(Handler, fleet=self, backend=self.figures)

    def close(self):
        self.figures.close()
        super().close()

    def __getitem__(self, address):
        return self.members[address]

    def tick(self, count=1):
        """One block of every member that is up, in one event."""
        for _ in range(count):
            self.figures.tick()
            with self._lock:
                up = [member for member in self.members.values() if member.presence == "up"]
                for member in up:
                    member.tick()
                self.merge(*(member.summary() for member in up))

    def merge(self, *lines):
        self.send(event(lines))

    def ticking(self, every=1.0):
        return fake_backend.repeating(self.tick, every, first=1)

    def follow(self):
        """A viewer of the merged stream, which begins with the newest block of every member."""
        with self._lock:
            blocks = [
                [member.member(), *([member.minute(), member.summary()] if member.sequence else [])]
                for member in self.members.values()
            ]
            return self.subscribe(*map(event, blocks))


def event(lines):
    return "event: merge\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


class Handler(fake_backend.Handler):
    fleet = None

    def do_GET(self):
        fleet, path = self.fleet, urlsplit(self.path).path
        fleet.asked.append(self.path)
        if path == "/fleet":
            members = [
                {"member": one.address, "instance": one.instance, "state": one.presence,
                 "since_unix_ms": one.since_presence}
                for one in fleet.members.values()
            ]  # fmt: skip
            self.answer(fleet.status, "application/json", json.dumps({"members": members}).encode())
        elif path == "/fleet/stream":
            self.stream(fleet, fleet.stream_status)
        elif path.startswith("/fleet/"):
            member = fleet.members.get(unquote(path).split("/")[2])
            if member is None or member.presence == "gone":
                self.answer(503 if member else 404, "application/problem+json", b"{}")
            else:
                super().do_GET()
        else:
            super().do_GET()


def now_ms():
    return int(time.time() * 1000)
