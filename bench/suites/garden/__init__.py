"""Request smuggling: the payloads of HTTP Garden, and origins that must read them as the proxy did.

HTTP Garden (github.com/narfindustries/http-garden) collects requests that some servers read in
different ways. Each is sent to the proxy, as it is and with a valid Host field. A recorder behind the
proxy keeps the bytes that the proxy forwards; then each origin receives the same bytes. An origin
agrees if it reports the requests that the recorder found, or rejects them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import servers
from processes import NotToBeHad, listening, output_of

from tools.common import debian_program
from tools.common.ports import free_port

from ..suite import PYTHON, SUITE_SECONDS, Figure, Subject, Suite

HERE = Path(__file__).resolve().parent
BUGS = "TROPHIES.md"
BIN = PYTHON / "bin"
APP = [str(BIN / "python"), "app.py"]
PACKAGES = {
    "aiohttp": [*APP, "aiohttp", "PORT"],
    "cheroot": [str(BIN / "cheroot"), "--bind", "127.0.0.1:PORT", "app:wsgi"],
    "daphne": [str(BIN / "daphne"), "-b", "127.0.0.1", "-p", "PORT", "app:asgi"],
    "gevent": [*APP, "gevent", "PORT"],
    "granian": [str(BIN / "granian"), "--host", "127.0.0.1", "--port", "PORT", "--interface", "asginl", "app:asgi"],
    "gunicorn": [str(BIN / "gunicorn"), "-k", "gthread", "-b", "127.0.0.1:PORT", "app:wsgi"],
    "hypercorn": [str(BIN / "hypercorn"), "-b", "127.0.0.1:PORT", "app:asgi"],
    "tornado": [*APP, "tornado", "PORT"],
    "twisted": [str(BIN / "twist"), "web", "--listen", "tcp:PORT:interface=127.0.0.1", "--wsgi", "app.wsgi"],
    "uvicorn with h11": [str(BIN / "uvicorn"), "--http", "h11", "--port", "PORT", "app:asgi"],
    "uvicorn with httptools": [str(BIN / "uvicorn"), "--http", "httptools", "--port", "PORT", "app:asgi"],
    "waitress": [str(BIN / "waitress-serve"), "--listen", "127.0.0.1:PORT", "app:wsgi"],
}
# Programs of Debian's packages of the same name, and their options.
DEBIAN = {
    "apache2": ("usr/sbin/apache2", ["-X", "-f", "CONFIGURATION"]),
    "lighttpd": ("usr/sbin/lighttpd", ["-D", "-m", "MODULES", "-f", "CONFIGURATION"]),
    "nginx": ("usr/sbin/nginx", ["-e", "stderr", "-p", "FOLDER", "-c", "CONFIGURATION"]),
}
ORIGINS = (*PACKAGES, "node", *DEBIAN)


@contextlib.contextmanager
def recorder(_checkout: Path) -> Iterator[int]:
    """The port where replay.py will listen."""
    yield free_port()


def garden(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """Pairs of a payload and an origin that agree."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        # Outside of this package, whose other modules granian would import.
        shutil.copy(HERE / "app.py", folder)
        ports = [f"{name}={running.enter_context(server)}" for name, server in origins(Path(folder))]
        replay = [str(BIN / "python"), str(HERE / "replay.py"), str(subject.port), str(subject.origin_port)]
        result = json.loads(output_of([*replay, str(checkout / BUGS), *ports], SUITE_SECONDS))
    differences = tuple(result["differences"])
    return {"tests": Figure(result["tried"] - len(differences), result["tried"], differences)}


def origins(folder: Path) -> Iterator[tuple[str, contextlib.AbstractContextManager[int]]]:
    for name, command in PACKAGES.items():
        yield name, application(command, folder)
    node = shutil.which("node")
    if node is None:
        raise NotToBeHad("needs Node.js (Debian: nodejs)")
    yield "node", application([node, str(HERE / "node_app.mjs"), "PORT"], folder)
    for name in DEBIAN:
        yield name, behind_scgi(name, folder)


@contextlib.contextmanager
def application(command: list[str], folder: Path) -> Iterator[int]:
    """A server of app.py or node_app.mjs at a free port."""
    port = free_port()
    words = [word.replace("PORT", str(port)) for word in command]
    with listening(words, port, {"PYTHONPATH": str(folder), "HOME": str(folder)}, folder):
        yield port


@contextlib.contextmanager
def behind_scgi(name: str, folder: Path) -> Iterator[int]:
    """A server of Debian's with app.py behind it."""
    place = folder / name
    (place / "temporary").mkdir(parents=True)
    inside, options = DEBIAN[name]
    program = debian_program.find(name, inside)
    places = {"FOLDER": place, "MODULES": servers.unpacked(name) / "usr" / "lib" / name}
    with application([*APP, "scgi", "PORT"], folder) as scgi:
        port = free_port()
        configuration = servers.filled(f"garden_{name}.conf", place, **places, PORT=port, SCGI=scgi)
        words = {**places, "CONFIGURATION": configuration}
        with listening([*program, *(str(words.get(option, option)) for option in options)], port):
            yield port


SUITE = Suite(
    "http-garden",
    "https://github.com/narfindustries/http-garden",
    "ffb9164c6603f6201c1dc70afb08fd229e2778bc",
    "[HTTP Garden](https://github.com/narfindustries/http-garden)",
    garden,
    recorder,
)
