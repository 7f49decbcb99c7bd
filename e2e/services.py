"""A service of a test's own: one binary as a process on a free port."""

import fcntl
import os
import socket
import subprocess
from contextlib import contextmanager
from typing import NamedTuple

from conftest import eventually, folder_of_binaries, request

from tools.common import catalog
from tools.common.ports import free_port


class Own(NamedTuple):
    process: subprocess.Popen
    host: str
    port: int

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    def fetch(self, path, method="GET", headers=None, body=None):
        return request(self.url + path, method, headers, body)

    def exchange(self, text, seconds=1):
        """Send bytes as they are, and read until the service closes or is silent for so long."""
        with socket.create_connection((self.host, self.port), seconds) as stream:
            stream.sendall(text)
            answer = b""
            try:
                while part := stream.recv(65536):
                    answer += part
            except (TimeoutError, socket.timeout, ConnectionResetError):
                pass
        return answer


def service(config, name):
    """The service of this name without upstreams, once it is alive."""
    settings = without_upstreams(name)
    if settings:
        settings["GATEWAY_ADMIN_LISTEN"] = "off"
    return _service(config, name, "/healthz", settings)


def without_upstreams(name):
    """Settings of a service whose upstreams are addresses, so that it starts without a name server."""
    if not catalog.ALL[name].public:
        return {}
    return catalog.gateway_settings(catalog.ALL.values(), dict.fromkeys(catalog.NAMES, "127.0.0.1:1"))


# Of these three, `prefix` is a command that runs the service, such as one that gives it another clock; `streams` says
# where its output goes, as for subprocess.Popen; without `port` it has a free one.


def stats(config, prefix=(), streams=None, port=None, **settings):
    """A stats service with these settings, once it has a sample."""
    # Behind a gateway it is asked for the names of the gateway's clients.
    return _service(config, "stats", "/readyz", {"STATS_HOSTS": "*", **settings}, prefix, streams, port)


def frontend(config, streams=None, **settings):
    """A frontend service with these settings."""
    return _service(config, "frontend", "/healthz", {"FRONTEND_HOSTS": "*", **settings}, streams=streams)


def gateway(config, stats, frontend, prefix=(), streams=None, port=None, **settings):
    """A gateway in front of two addresses, with these settings."""
    # Several run at once, and the port of the metrics is one.
    usual = {"GATEWAY_STATS": stats, "GATEWAY_FRONTEND": frontend, "GATEWAY_ADMIN_LISTEN": "off", "GATEWAY_HOSTS": "*"}
    return _service(config, "gateway", "/healthz", {**usual, **settings}, prefix, streams, port)


@contextmanager
def full_pipe():
    """Output to a pipe that is full, as of a container runtime on a disk that hangs: writes to it block."""
    reading, writing = os.pipe()
    try:
        os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)))
        yield {"stdout": writing}
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def _service(config, name, path, settings, prefix=(), streams=None, port=None):
    program = folder_of_binaries(config) / name
    port = port or free_port()
    listen = {catalog.ALL[name].listen_setting: f"127.0.0.1:{port}"}
    environment = {**listen, "LOG_LEVEL": "warn", **settings}
    command = [*prefix, program]
    process = subprocess.Popen(command, env=environment, **(streams or {}))
    own = Own(process, "127.0.0.1", port)
    try:
        eventually(lambda: own.fetch(path).status == 200)
        yield own
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        finally:
            process.kill()
