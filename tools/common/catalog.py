"""The services of this repository, as `services.json` declares them.

Build, local runs, packages, tests and Terraform read the declaration (JSON, because both Python 3.9
and Terraform read it without a library); `make new SERVICE=NAME` adds to it. The fields are those of
`Service`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.common.toolchain import ROOT

FILE = "services.json"


@dataclass(frozen=True)
class Service:
    """One service. Its name is that of its package, binary, image and host."""

    name: str
    # Folder of the package.
    crate: str
    port: int
    # The path that reports whether a task or container can be used.
    health: str
    # Clients connect to it. Exactly one service is public: the gateway.
    public: bool
    # The binary contains the page.
    page: bool
    # The gateway sends this path, and everything below it, to the service.
    route: str | None
    # The gateway's setting for the service's address; without one, its route is in GATEWAY_ROUTES.
    address_setting: str | None
    # What follows the address in GATEWAY_ROUTES, such as "check=/healthz auth=bearer".
    route_options: str
    compose_memory_mib: int
    # Size of a task unless an environment chooses another: units of 1/1024 processor, and memory.
    task_cpu: int
    task_memory_mib: int
    # Limits that the tests check: size of the image, resident memory after the first response.
    image_megabytes: float
    resident_mib: int
    # Files and folders that the binary is built from, beside its crate and the shared ones.
    inputs: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """The first part of the names of its settings."""
        return self.name.upper().replace("-", "_")

    @property
    def listen_setting(self) -> str:
        return f"{self.prefix}_LISTEN"

    def declaration(self) -> dict:
        """The service as a value of services.json."""
        fields = asdict(self)
        del fields["name"]
        return {**fields, "inputs": list(self.inputs)}


def read(root: Path = ROOT) -> dict[str, Service]:
    """The declared services by name, in the order in which they start."""
    return parse((root / FILE).read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Service]:
    return {
        name: Service(name, **{**fields, "inputs": tuple(fields["inputs"])})
        for name, fields in json.loads(text).items()
    }


def written(services: Mapping[str, Service]) -> str:
    """The text of services.json."""
    declarations = {name: service.declaration() for name, service in services.items()}
    return json.dumps(declarations, indent=2) + "\n"


def public(services: Iterable[Service]) -> Service:
    """The gateway."""
    (gateway,) = (service for service in services if service.public)
    return gateway


def gateway_settings(
    services: Iterable[Service], addresses: Mapping[str, str], more_routes: str = ""
) -> dict[str, str]:
    """The gateway's settings that contain the addresses of the other services."""
    found: dict[str, str] = {}
    routes = []
    for service in services:
        if service.address_setting:
            found[service.address_setting] = addresses[service.name]
        elif service.route:
            routes.append(f"{service.route} {addresses[service.name]} {service.route_options}".rstrip())
    if more_routes:
        routes.append(more_routes)
    return {**found, "GATEWAY_ROUTES": "; ".join(routes)} if routes else found


ALL = read()
NAMES = tuple(ALL)
