"""Task definitions of ECS: their containers, key by key, and the sizes that Fargate has.

Source: the API reference of Amazon ECS (ContainerDefinition, RegisterTaskDefinition).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from values import Object, is_unknown

# The shape of a container in JSON: `!` marks a key that must be there, a list has elements of one shape, and the
# values of a map are strings.
CONTAINER = json.loads((Path(__file__).parent / "data" / "container_definition.json").read_text(encoding="utf-8"))
SCALARS = {"string": (str, "a string"), "integer": (int, "a whole number"), "boolean": (bool, "true or false")}
# Fargate stops a container after two minutes at the latest.
FARGATE_STOP_SECONDS = 120
# Units of processor, 1024 to a core, and the memory in MiB that Fargate has with them.
FARGATE: dict[int, Any] = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}


def task_definition(config: Object) -> Iterator[tuple[str, str]]:
    """The attribute and the message of each problem."""
    fargate = "FARGATE" in (config.get("requires_compatibilities") or [])
    if fargate:
        yield from _fargate(config)
    text = config.get("container_definitions")
    if is_unknown(text):
        return
    try:
        definitions = json.loads(text)
    except ValueError as error:
        yield "container_definitions", f"container_definitions must be JSON: {error}"
        return
    problems = list(_shape([CONTAINER], definitions, "container_definitions"))
    if not problems:
        problems = list(_containers(config, definitions, fargate))
    yield from (("container_definitions", problem) for problem in problems)


def _fargate(config: Object) -> Iterator[tuple[str, str]]:
    mode, cpu, memory = (config.get(name) for name in ("network_mode", "cpu", "memory"))
    if mode != "awsvpc" and not is_unknown(mode):
        yield "network_mode", f"Fargate needs the network_mode awsvpc, not {mode}"
    if is_unknown(cpu) or is_unknown(memory):
        return
    try:
        units, size = int(cpu), int(memory)
    except (TypeError, ValueError):
        yield "cpu", f"Fargate needs cpu in units and memory in MiB, got {cpu!r} and {memory!r}"
        return
    if units not in FARGATE:
        yield "cpu", f"Fargate has no size with cpu {units}; it has {', '.join(map(str, FARGATE))}"
    elif size not in FARGATE[units]:
        sizes = ", ".join(map(str, FARGATE[units]))
        yield "memory", f"Fargate has no size with cpu {units} and memory {size}; memory can be {sizes}"


def _shape(shape: Any, value: Any, where: str) -> Iterator[str]:
    """The differences between a value in JSON and a shape."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} must be a list"
            return
        for number, element in enumerate(value):
            yield from _shape(shape[0], element, f"{where}[{number}]")
    elif isinstance(shape, dict) or shape == "map":
        if not isinstance(value, dict):
            yield f"{where} must be an object"
            return
        keys = dict.fromkeys(value, "string") if shape == "map" else {key.rstrip("!"): shape[key] for key in shape}
        for key, element in value.items():
            if key not in keys:
                yield f"{where} has the unknown key {key!r}"
            elif element is not None or shape == "map":
                yield from _shape(keys[key], element, f"{where}.{key}")
        for key in keys:
            if f"{key}!" in shape and value.get(key) in (None, ""):
                yield f"{where} needs the key {key!r}"
    else:
        kind, noun = SCALARS[shape]
        # In Python, true and false are numbers.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            yield f"{where} must be {noun}, not {json.dumps(value)}"


def _containers(config: Object, definitions: list[Object], fargate: bool) -> Iterator[str]:
    """Problems between keys, once each has the right shape."""
    names = [container["name"] for container in definitions]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"there are several containers {name!r}"
    if not any(container.get("essential", True) for container in definitions):
        yield "at least one container must be essential"
    for container in definitions:
        name = container["name"]
        for other in container.get("dependsOn") or []:
            if other["containerName"] not in names:
                yield f"{name} depends on the container {other['containerName']!r}, which does not exist"
        for mapping in container.get("portMappings") or []:
            host_port = mapping.get("hostPort", mapping.get("containerPort"))
            if config.get("network_mode") == "awsvpc" and host_port != mapping.get("containerPort"):
                yield f"{name}: with the network_mode awsvpc, hostPort must equal containerPort"
        driver = (container.get("logConfiguration") or {}).get("logDriver")
        if fargate and (driver == "awslogs" or container.get("secrets")) and not config.get("execution_role_arn"):
            yield f"{name}: Fargate needs an execution_role_arn for the log driver awslogs and for secrets"
        if fargate and (container.get("stopTimeout") or 0) > FARGATE_STOP_SECONDS:
            yield f"{name}: on Fargate, stopTimeout must be at most {FARGATE_STOP_SECONDS}"


def ports(text: Any) -> dict[str, set[int]]:
    """The ports of each container of a task definition, by its name."""
    return {
        container["name"]: {mapping.get("containerPort") for mapping in container.get("portMappings") or []}
        for container in json.loads(text)
    }
