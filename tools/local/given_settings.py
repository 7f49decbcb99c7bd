"""Settings in the environment of `make up` and `make dev` that could not take effect.

A service refuses a wrong or unknown setting itself. What never reaches it is refused here.
"""

import re
from collections.abc import Iterator, Mapping

from tools.common import catalog
from tools.common.toolchain import ROOT

PREFIXES = tuple(f"{service.prefix}_" for service in catalog.ALL.values())
# Kubernetes and Docker links set these for every service (crates/service/src/config.rs).
LINKS = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?)$")
PUBLISHED = "the published address is set with BIND and PORT"
OWN_IMAGES = "the images are packed here; `docker compose up` uses published ones"
OWN_MOUNTS = "docker-compose.yaml sets it to where the host's files are mounted"
# Settings that the way of running decides, and what to do instead.
FIXED = {
    "containers": {
        **{
            service.listen_setting: f"in a container the address is always 0.0.0.0:{service.port}"
            for service in catalog.ALL.values()
        },
        **dict.fromkeys(("GATEWAY_LISTEN", "GATEWAY_PUBLISHED_ADDRESS"), PUBLISHED),
        **dict.fromkeys(("STATS_PROC", "STATS_ROOT"), OWN_MOUNTS),
        **dict.fromkeys(("IMAGES", "PULL_POLICY"), OWN_IMAGES),
    },
    "processes": {"GATEWAY_LISTEN": PUBLISHED, "FILES": "processes read the host's files: give their paths"},
}
# A container sees the folder FILES as /files, and no other file of the host.
FILES = (
    *("STATS_HISTORY_FILE", "STATS_ANNOUNCE_SECRET_FILE", "GATEWAY_ANNOUNCE_SECRET_FILE", "GATEWAY_SECRET_FILE"),
    *("GATEWAY_ROUTES_FILE", "GATEWAY_TLS_CERTIFICATE", "GATEWAY_TLS_KEY", "GATEWAY_UPSTREAM_CA"),
)


def ineffective_settings(kind: str, given: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each setting that could not take effect with `containers` or `processes`."""
    given = {name: value for name, value in given.items() if value}
    for name, reason in FIXED[kind].items():
        if name in given:
            yield f"{name} has no effect with {kind}: {reason}"
    if kind == "processes":
        return
    for name in FILES:
        value = given.get(name)
        if value and not (value.startswith("/files/") and "FILES" in given):
            yield (
                f"{name} is {value!r}, which is outside of the container: put the file into a folder,"
                f" and give FILES=./folder {name}=/files/{value.rsplit('/', 1)[-1]}"
            )
    for name in sorted(given):
        own = name.startswith(PREFIXES) and not LINKS.search(name)
        if own and name not in FIXED[kind] and name not in compose_variables():
            yield f"{name} is not a setting"


def compose_variables() -> set[str]:
    """The variables that docker-compose.yaml passes to the services or uses itself."""
    text = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    return set(re.findall(r"\$\{([A-Z_0-9]+)", text))
