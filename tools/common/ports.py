"""Free ports of the loopback interface."""

import contextlib
import random
import socket


def free_port(host: str = "127.0.0.1") -> int:
    """A port that no connection takes before it is used: the kernel gives these ports from 32768 on (ip(7))."""
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server((host, port)):
            return port
    raise OSError(f"no port of {host} is free")


def free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
