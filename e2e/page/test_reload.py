"""The script of the development server that reloads open tabs: a browser opens six connections to an origin."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import eventually

SCRIPT = Path(__file__).resolve().parents[2] / "services/frontend/server/src/dev/reload.js"
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
TABS = 7


class Development(BaseHTTPRequestHandler):
    """A page of one build, its script, and the stream of builds."""

    def do_GET(self):
        build, ended = self.server.build, self.server.ended
        if self.path == "/dev/reload":
            self.respond("text/event-stream", f"retry: 300\n\nevent: build\ndata: {build}\n\n")
            while not ended.wait(0.05):
                if build != (build := self.server.build):
                    self.wfile.write(f"event: build\ndata: {build}\n\n".encode())
        elif self.path == "/dev/reload.js":
            self.respond("text/javascript", SCRIPT.read_text(encoding="utf-8"))
        else:
            self.server.loads.append(build)
            self.respond("text/html", f'<script src="/dev/reload.js" data-build="{build}"></script><h1>{build}</h1>')

    def respond(self, media_type, body):
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-security-policy", POLICY)
        self.end_headers()
        self.wfile.write(body.encode())
        self.wfile.flush()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Development)
    server.daemon_threads = True
    # A stream that the browser has closed.
    server.handle_error = lambda *_: None
    server.build, server.ended, server.loads = "one", threading.Event(), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def tabs(browser, server):
    context = browser.new_context()
    pages = [context.new_page() for _ in range(TABS)]
    for page in pages:
        page.goto(f"http://127.0.0.1:{server.server_port}/")
    yield pages
    context.close()


def shown(pages):
    return {page.locator("h1").inner_text() for page in pages}


def test_seven_tabs_load_and_reload_once(tabs, server):
    assert shown(tabs) == {"one"}
    server.build = "two"
    eventually(lambda: shown(tabs) == {"two"})
    tabs[0].wait_for_timeout(1_000)
    assert server.loads == ["one"] * TABS + ["two"] * TABS


def test_a_server_that_restarts_is_found_again(tabs, server):
    server.ended.set()
    tabs[0].wait_for_timeout(500)
    server.build = "two"
    server.ended.clear()
    eventually(lambda: shown(tabs) == {"two"})


def test_without_shared_workers_each_tab_has_its_stream(browser, server):
    context = browser.new_context()
    context.add_init_script("delete window.SharedWorker;")
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    server.build = "two"
    eventually(lambda: shown([page]) == {"two"})
    context.close()
