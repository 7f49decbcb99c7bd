"""A gateway with a fleet that sends what a test wants, in front of the built page.

`/fleet`, `/fleet/stream` and `/fleet/MEMBER/stats` are answered here; `/` and what belongs to it are
read from the folder in which Trunk has built the page, with the policy of the frontend.
"""

import base64
import hashlib
import json
import queue
import re
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fake_backend
import fake_samples

DIST = Path(__file__).parent.parent / "services" / "frontend" / "app" / "dist"

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
TYPES[".wasm"] = "application/wasm"


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


class FakeFleet:
    """The server; `url` is where the page is."""

    def __init__(self, members=()):
        self.members = {member.address: member for member in members}
        self.asked = []
        # The status of GET /fleet.
        self.status = 200
        self.stream_status = 200
        self._viewers = set()
        self._lock = threading.Lock()
        self._server = fake_backend.Server(("127.0.0.1", 0), type("Bound", (Handler,), {"fleet": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.cut()
        self._server.shutdown()
        self._server.server_close()

    def __getitem__(self, address):
        return self.members[address]

    def tick(self, count=1):
        """One block of every member that is up, in one event."""
        for _ in range(count):
            up = [member for member in self.members.values() if member.presence == "up"]
            for member in up:
                member.tick()
            self.send(*(member.summary() for member in up))

    def send(self, *lines):
        event = "event: merge\n" + "".join(f"data: {line}\n" for line in lines) + "\n"
        with self._lock:
            viewers = list(self._viewers)
        for viewer in viewers:
            viewer.put(event)

    def ticking(self, every=1.0):
        return fake_backend.repeating(self.tick, every, first=1)

    def cut(self):
        with self._lock:
            viewers = list(self._viewers)
        for viewer in viewers:
            viewer.put(None)

    @property
    def viewers(self):
        return len(self._viewers)

    def subscribe(self):
        viewer = queue.Queue()
        for member in self.members.values():
            lines = [member.member(), member.minute(), member.summary()]
            if not member.sequence:
                lines = lines[:1]
            viewer.put("event: merge\n" + "".join(f"data: {line}\n" for line in lines) + "\n")
        with self._lock:
            self._viewers.add(viewer)
        return viewer

    def unsubscribe(self, viewer):
        with self._lock:
            self._viewers.discard(viewer)


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
            self.merge()
        elif path.startswith("/fleet/"):
            address, _, rest = unquote(path.removeprefix("/fleet/")).partition("/")
            self.stats(fleet.members.get(address), rest)
        elif path.startswith("/stats"):
            up = (member for member in fleet.members.values() if member.presence == "up")
            self.stats(next(up, None), path.strip("/"))
        else:
            self.file(path)

    def merge(self):
        if self.fleet.stream_status != 200:
            self.answer(self.fleet.stream_status, "text/plain", b"no stream\n")
            return
        self.stream_from(self.fleet)

    def stats(self, member, path):
        if member is None or member.presence == "gone":
            self.answer(503 if member else 404, "application/problem+json", b"{}")
            return
        scene = fake_backend.Scene()
        scene.instance = member.instance
        sequence = member.sequence + 1
        if path == "stats":
            body = fake_samples.sample(scene, sequence, now_ms())
            self.answer(200, "application/json", json.dumps(body).encode())
        elif path == "stats/stream":
            self.stream_from(Sampler(scene))
        elif path == "stats/history":
            body = fake_samples.history(scene, sequence, now_ms(), 600, 1)
            self.answer(200, "application/json", json.dumps(body).encode())
        else:
            self.answer(404, "text/plain", b"not found\n")

    def stream_from(self, source):
        self.begin_stream()
        viewer = source.subscribe()
        try:
            while (text := viewer.get()) is not None:
                self.wfile.write(text.encode())
        except OSError:
            pass
        finally:
            source.unsubscribe(viewer)

    def file(self, path):
        file = DIST / (path.lstrip("/") or "index.html")
        if not file.resolve().is_relative_to(DIST.resolve()) or not file.is_file():
            self.answer(404, "text/plain", b"not found\n")
            return
        body = file.read_bytes()
        more = {"content-security-policy": policy(body)} if file.suffix == ".html" else {}
        self.answer(200, TYPES.get(file.suffix, "application/octet-stream"), body, more)


class Sampler:
    """The stream of one service."""

    def __init__(self, scene):
        self.scene = scene

    def subscribe(self):
        self.viewer = queue.Queue()
        self.stop = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()
        return self.viewer

    def run(self):
        sequence = 1
        while True:
            data = json.dumps(fake_samples.sample(self.scene, sequence, now_ms()))
            self.viewer.put(f"event: sample\ndata: {data}\n\n")
            sequence += 1
            if self.stop.wait(0.5):
                return

    def unsubscribe(self, _):
        self.stop.set()


def policy(html):
    """The frontend's policy, with the hash of each script that stands in the page."""
    scripts = re.findall(rb"<script[^>]*>(.+?)</script>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    named = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {named}; connect-src 'self'; "
        "style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
    )


def now_ms():
    return int(time.time() * 1000)
