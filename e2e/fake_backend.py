"""A fake stats service with configurable responses, in front of a real frontend.

`/stats` and what is below it are answered here, from a `Scene`; every other request goes to the
frontend. A tick is made by the test (`tick`) or by a clock (`ticking`).
"""

import http.client
import json
import queue
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import fake_samples

# History that the service keeps for a new page: ten minutes.
READY_SECONDS = 600
# What another replica has counted more than this one.
OTHER_AHEAD = 5000
# From a sample to its figures on a slow machine.
SHOWN_MS = 15_000


@contextmanager
def repeating(action, every, first=0):
    """Calls the action by the clock while the block runs: first after that many periods."""
    stop = threading.Event()

    def run():
        begun = time.monotonic()
        count = first
        while not stop.wait(max(0.0, begun + count * every - time.monotonic())):
            action()
            count += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Scene:
    """Content and behavior of responses. A test changes the part it is about."""

    def __init__(self):
        self.instance = "0123456789abcdef"
        self.cores = 4
        # host, container or task.
        self.scope = "host"
        # Time between two samples, independent of the clock.
        self.interval_ms = 1000
        # Takes a sample before it is sent and gives what is sent: an object, or the text itself.
        self.change = lambda sample: sample
        # The same for a history.
        self.change_history = lambda history: history
        # The instance that answers a path, where it is not this one: replicas behind a load balancer.
        self.answered_by = lambda path: None
        # Addresses of the members that a gateway knows; a fleet of one page has none.
        self.members = []
        # What happened, as /stats/events reports it.
        self.events = []
        # The status of a stream's request; anything but 200 is a refusal.
        self.stream_status = 200
        # The status of /stats/history.
        self.history_status = 200
        # What a sign-in puts in place of the service: "redirect", "html" or "401".
        self.sign_in = None
        # Ends of paths that are gone, as during a rolling deployment.
        self.missing = ()
        # Bytes of a stream that a proxy holds back, and its speed; 0 is neither.
        self.buffer_bytes = 0
        self.bytes_per_second = 0
        # Whether the upstream is down, as behind a gateway: 502.
        self.is_down = False
        # Seconds before a path with this end is answered.
        self.delays = {}


class Served:
    """A server on a free port, where `url` is, and the viewers of its streams."""

    def __init__(self, handler, **attributes):
        self.asked = []
        self._viewers = {}
        # Held from the content of an event to its way to the viewers, so that none gets an older one after it.
        self._lock = threading.RLock()
        self._server = Server(("127.0.0.1", 0), type("Handler", (handler,), attributes))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.cut()
        self._server.shutdown()
        self._server.server_close()

    def send(self, event):
        """Send the text to every open stream; `None` ends it."""
        with self._lock:
            viewers = list(self._viewers)
        for viewer in viewers:
            viewer.put(event)

    def cut(self):
        """End every open stream, as a restarted proxy does."""
        self.send(None)

    @property
    def viewers(self):
        return len(self._viewers)

    def subscribe(self, *events, instance=None):
        """The queue of a new viewer, which gets these events first."""
        viewer = queue.Queue()
        for event in events:
            viewer.put(event)
        with self._lock:
            self._viewers[viewer] = instance
        return viewer

    def unsubscribe(self, viewer):
        with self._lock:
            self._viewers.pop(viewer, None)


class FakeBackend(Served):
    """The stats service of one instance; the page is the frontend's."""

    def __init__(self, frontend_port):
        self.scene = Scene()
        self.sequence = 0
        self.frontend_port = frontend_port
        self._time_unix_ms = int(time.time() * 1000)
        super().__init__(Handler, backend=self)

    def tick(self, count=1):
        """Take samples and send them to every open stream."""
        for _ in range(count):
            with self._lock:
                self.sequence += 1
                self._time_unix_ms += self.scene.interval_ms
                events = {instance: self.event(instance) for instance in set(self._viewers.values())}
                for viewer, instance in self._viewers.items():
                    viewer.put(events[instance])

    def show(self, page, count=1):
        """Take samples, and wait until the page has the last one."""
        self.tick(count)
        page.wait_for_selector(f'.page[data-sequence="{self.sequence}"]', timeout=SHOWN_MS)

    def ticking(self, every=0.2):
        """Ticks by the clock while the block runs."""
        return repeating(self.tick, every)

    def set_time(self, moment):
        """Let a tick be at this time, and all history before it."""
        self._time_unix_ms = int(moment.timestamp() * 1000)
        self.tick()

    def restart(self, instance):
        """Another process answers from now on, and counts from the beginning."""
        self.scene.instance = instance
        self.sequence = 0
        self.cut()
        self.tick()

    def sample(self, instance=None):
        """The body of `/stats`."""
        scene = self.scene
        said = scene.change(fake_samples.sample(scene, self.sequence, self._time_unix_ms))
        if instance:
            said = {**said, "instance": instance, "sequence": self.sequence + OTHER_AHEAD}
        return said if isinstance(said, str) else json.dumps(said)

    def event(self, instance=None):
        data = self.sample(instance).replace("\n", "\ndata: ")
        name = instance or self.scene.instance
        return f"id: {name}-{self.sequence}\nevent: sample\ndata: {data}\n\n"

    def history(self, seconds, step, instance=None):
        scene = self.scene
        told = fake_samples.history(scene, self.sequence, self._time_unix_ms, seconds, step)
        said = scene.change_history({**told, "instance": instance or scene.instance})
        return said if isinstance(said, str) else json.dumps(said)

    def follow(self, instance=None):
        """A viewer of the stream: the past comes first."""
        with self._lock:
            past = self.history(READY_SECONDS, 1, instance)
            name = f"{instance or self.scene.instance}-{self.sequence}"
            events = [f"retry: 300\n\nid: {name}\nevent: history\ndata: {past}\n\n"]
            if self.sequence:
                events.append(self.event(instance))
            return self.subscribe(*events, instance=instance)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # A browser opens several connections at once.
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A browser that leaves is no fault."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend = None

    def do_GET(self):
        scene, url = self.backend.scene, urlsplit(self.path)
        # No test of one service's page is about the question whether there are more.
        if url.path == "/fleet":
            members = [{"member": address} for address in scene.members]
            self.answer(200, "application/json", json.dumps({"members": members}).encode())
            return
        self.backend.asked.append(self.path)
        self.instance = scene.answered_by(self.path)
        if url.path.startswith("/fleet/"):
            # The gateway's path to the instance of that name.
            _, _, self.instance, rest = url.path.split("/", 3)
            if self.instance == scene.instance:
                self.instance = None
            url = url._replace(path=f"/{rest}")
        for end, seconds in list(scene.delays.items()):
            if url.path.endswith(end):
                time.sleep(seconds)
        if url.path.endswith(tuple(scene.missing)):
            self.answer(404, "text/plain", b"gone\n")
        elif url.path == "/login":
            self.answer(200, "text/html", b"<h1>Sign in</h1>")
        elif url.path != "/stats" and not url.path.startswith("/stats/"):
            self.pass_on()
        elif scene.sign_in:
            self.ask_to_sign_in(scene.sign_in)
        elif scene.is_down:
            self.answer(502, "text/plain", b"nobody answers\n")
        elif url.path == "/stats":
            self.json(self.backend.sample(self.instance))
        elif url.path == "/stats/stream":
            self.stream(self.backend, scene.stream_status, self.instance)
        elif url.path == "/stats/history" and scene.history_status != 200:
            self.answer(scene.history_status, "text/plain", b"no history\n")
        elif url.path == "/stats/history":
            asked = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
            seconds = asked.get("seconds", READY_SECONDS)
            self.json(self.backend.history(seconds, asked.get("step", 1), self.instance))
        elif url.path == "/stats/events":
            name = self.instance or scene.instance
            self.json(json.dumps({"instance": name, "events": scene.events}))
        else:
            self.answer(404, "text/plain", b"there is nothing here\n")

    def stream(self, source, status, *who):
        """Sends what a viewer of the source gets, or a refusal."""
        if status != 200:
            self.answer(status, "text/plain", b"no stream\n")
            return
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-store")
        self.send_header("connection", "close")
        self.end_headers()
        viewer = source.follow(*who)
        try:
            held = b""
            while (text := viewer.get()) is not None:
                held += text.encode()
                size = self.backend.scene.buffer_bytes
                ready = len(held) if not size else len(held) // size * size
                self.write_slowly(held[:ready])
                held = held[ready:]
        except OSError:
            pass
        finally:
            source.unsubscribe(viewer)

    def write_slowly(self, text):
        speed = self.backend.scene.bytes_per_second
        if not speed:
            self.wfile.write(text)
            return
        for begin in range(0, len(text), speed // 10):
            self.wfile.write(text[begin : begin + speed // 10])
            self.wfile.flush()
            time.sleep(0.1)

    def ask_to_sign_in(self, how):
        if how == "redirect":
            self.send_response(302)
            self.send_header("location", "/login")
            self.send_header("content-length", "0")
            self.end_headers()
        elif how == "html":
            self.answer(200, "text/html", b"<h1>Sign in</h1>")
        else:
            self.answer(401, "text/plain", b"sign in\n")

    def json(self, text):
        if self.backend.sequence:
            self.answer(200, "application/json", text.encode())
        else:
            self.answer(503, "application/problem+json", b'{"status":503}')

    def answer(self, status, content_type, body):
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def pass_on(self):
        frontend = http.client.HTTPConnection("127.0.0.1", self.backend.frontend_port, timeout=10)
        try:
            frontend.request("GET", self.path, headers=dict(self.headers))
            answer = frontend.getresponse()
            body = answer.read()
            # By itself this server would add fields of its own.
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        finally:
            frontend.close()

    def log_message(self, *_):
        pass
