"""Settings of a local run, and what both forms of it have in common."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.common import catalog
from tools.common.progress import TargetError

# From the start of the last process to the first real answer: the stats service needs 0.25 s, a
# container engine a few seconds for health-ordered start; ten times that is taken for broken.
READY_SECONDS = 60
# The service that SCALE multiplies, and how many of it a machine with two cores can run beside a build.
SCALED, MAX_SCALE = "stats", 20
# The system is on this machine, whatever proxy leads out of it.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StackError(TargetError):
    """The system cannot run; the message has the reason."""


class PortTaken(StackError):
    """Another program has the port, or the user may not use it."""


def port() -> int:
    """The published port: PORT, or 3050."""
    return _number("PORT", 3050, 65535)


def scale() -> int:
    """How many instances of stats to run: SCALE, or 1."""
    return _number("SCALE", 1, MAX_SCALE)


def _number(name: str, default: int, most: int) -> int:
    text = os.environ.get(name) or str(default)
    if (number := number_in(text, most)) is None:
        raise StackError(f"{name} is {text!r}, but must be a number from 1 to {most}")
    return number


def number_in(text: str, most: int = 65535) -> int | None:
    """The number from 1 to `most` that a text names, or None."""
    return int(text) if re.fullmatch("[0-9]{1,5}", text) and 1 <= int(text) <= most else None


def bind() -> str:
    """The address to publish on: BIND, or loopback."""
    text = os.environ.get("BIND") or "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise StackError(f"BIND is {text!r}, but must be an address such as 127.0.0.1, 0.0.0.0 or ::1") from None


def published_address() -> str:
    """The address as it stands before a port."""
    return f"[{bind()}]" if ":" in bind() else bind()


def for_compose() -> dict[str, str]:
    """PORT, BIND and FILES as Compose reads them."""
    settings = {"PORT": str(port()), "BIND": published_address()}
    if folder := os.environ.get("FILES"):
        # A bare name would be that of a volume.
        settings["FILES"] = str(Path(folder).resolve())
    return settings


def url() -> str:
    """Where the page is for a browser on this machine."""
    address = ipaddress.ip_address(bind())
    # Not for ::1, to which /etc/hosts does not always lead.
    if str(address) in ("127.0.0.1", "0.0.0.0", "::"):
        return f"http://localhost:{port()}"
    return f"http://{f'[{address}]' if address.version == 6 else address}:{port()}"


def asked() -> str:
    """The same address for this script: /etc/hosts may lead localhost to ::1, or nowhere. Browsers do without it."""
    return url().replace("localhost", "127.0.0.1")


def refuse_taken_port(name: str, address: str, number: int, remedy: str) -> None:
    """One sentence instead of the container engine's message about a taken port."""
    error = _listening_fault(address, number)
    if name == "gateway" and error is None and url().startswith("http://localhost"):
        # Browsers ask this address of localhost first: a page of another program would open.
        other = _listening_fault("::1", number)
        error = other if other and other.errno == errno.EADDRINUSE else None
    if error is None:
        return
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        raise StackError(f"{address} for the {name} is no address of this machine: `ip address` lists them")
    reason = "only root may use it" if error.errno == errno.EACCES else error.strerror
    stop = "stop what has it, or " if error.errno == errno.EADDRINUSE else ""
    raise PortTaken(f"port {number} for the {name} cannot be used ({reason}): {stop}{remedy}")


def _listening_fault(address: str, number: int) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, number))
            probe.listen(1)
    except OSError as error:
        return error
    return None


def wait_until_ready(still_running: Callable[[], object]) -> None:
    """Wait for the first response of each service through the gateway, and print the address."""
    routes = {name: service.route for name, service in catalog.ALL.items() if service.route}
    deadline = time.monotonic() + READY_SECONDS
    base, last = asked(), "no answer"
    while time.monotonic() < deadline:
        still_running()
        try:
            answers = {name: answer(base + route) for name, route in routes.items()}
            sample = json.loads(answers["stats"])
            sample["cpu"] + sample["ram"]  # Both are numbers.
            print(f"ready: {url()}", flush=True)
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            last = str(error)
        time.sleep(0.25)
    raise StackError(f"no real answer from {base} within {READY_SECONDS} s ({last})")


def follow(command: list[str], **options: Any) -> subprocess.Popen:
    """A command that prints logs, and ends with this process, however that ends."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent, **options)


def _end_with_parent() -> None:
    # A Python that was compiled without libffi has no ctypes.
    with contextlib.suppress(ImportError):
        import ctypes

        # PR_SET_PDEATHSIG of prctl(2).
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def answer(url: str) -> bytes:
    with DIRECT.open(url, timeout=2) as response:
        return response.read()
