"""The images on a Docker engine: what is in them, how they stop, what breaks with what."""

import io
import json
import subprocess
import tarfile
import time
import uuid

import pytest
from conftest import eventually, request

from tools.common import catalog

# Megabytes as `docker image inspect` counts them.
LIMITS = {name: service.image_megabytes for name, service in catalog.ALL.items()}
# Empty files and folders that the engine puts into every container for its mounts.
ENGINE_PATHS = {".dockerenv", "dev", "etc", "proc", "sys"}


@pytest.fixture(scope="module")
def tag(request):
    tag = request.config.getoption("images")
    if not tag:
        pytest.skip("needs --images TAG and a Docker engine")
    return tag


def docker(*arguments, check=True):
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, timeout=60, check=check)
    return done.stdout


@pytest.fixture
def trio(tag):
    """The three containers on a network of their own; gives their ids by name."""
    network = f"e2e-{uuid.uuid4().hex[:12]}"
    docker("network", "create", network)
    ids = {}
    try:
        for name in LIMITS:
            publish = ["--publish", "127.0.0.1::3050"] if name == "gateway" else []
            hardening = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
            options = ["--detach", f"--network={network}", f"--network-alias={name}"]
            image = f"system-stats/{name}:{tag}"
            started = docker("run", *options, *hardening, *publish, image)
            ids[name] = started.decode().strip()
        yield ids
    finally:
        for container in ids.values():
            docker("rm", "--force", container, check=False)
        docker("network", "rm", network, check=False)


def published(gateway):
    ports = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", gateway))
    return f"http://127.0.0.1:{ports['3050/tcp'][0]['HostPort']}"


def ready(base):
    return lambda: request(f"{base}/stats").status == 200 and request(f"{base}/").status == 200


@pytest.mark.parametrize("name", LIMITS)
def test_an_image_is_one_small_file_and_no_root(tag, name):
    image = f"system-stats/{name}:{tag}"
    config = json.loads(docker("image", "inspect", image))[0]
    assert config["Size"] <= LIMITS[name] * 1e6, f"{config['Size']} bytes"
    user, _, group = config["Config"]["User"].partition(":")
    assert int(user) > 0 and int(group) > 0
    assert config["Config"]["Healthcheck"]["Test"] == ["CMD", f"/{name}", "healthcheck"]
    container = docker("create", image).decode().strip()
    try:
        exported = docker("export", container)
    finally:
        docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported)) as entries:
        files = {entry.name for entry in entries if entry.name.split("/")[0] not in ENGINE_PATHS}
    assert files == {name}


def test_stats_frontend_and_gateway_are_small_together(tag):
    sizes = [
        int(docker("image", "inspect", "--format", "{{.Size}}", f"system-stats/{name}:{tag}"))
        for name in ("stats", "frontend", "gateway")
    ]
    assert sum(sizes) <= 8e6, sizes


def stop(container):
    """How long it takes; again, how long the engine itself does."""
    begun = time.monotonic()
    docker("stop", container)
    return time.monotonic() - begun


def test_each_stops_within_two_seconds_with_exit_code_0(trio):
    eventually(ready(published(trio["gateway"])))
    for name, container in trio.items():
        took = stop(container) - stop(container)
        code = docker("inspect", "--format", "{{.State.ExitCode}}", container).decode().strip()
        assert (code, took < 2) == ("0", True), f"{name}: exit code {code} after {took:.2f} s"


def test_the_health_checks_pass_inside_the_containers(trio):
    eventually(ready(published(trio["gateway"])))
    for name, container in trio.items():
        docker("exec", container, f"/{name}", "healthcheck")


def test_each_half_stays_up_when_the_other_is_down(trio):
    base = published(trio["gateway"])
    eventually(ready(base))
    docker("stop", trio["stats"])
    # The gateway may hand the last sample out for a second. Then it is refused at once, or not
    # resolvable any more: the answer must not hang.
    eventually(lambda: request(f"{base}/stats").status in (502, 503, 504), 12)
    begun = time.monotonic()
    assert request(f"{base}/stats").status in (502, 503, 504)
    assert time.monotonic() - begun < 5
    assert request(f"{base}/").status == 200
    docker("start", trio["stats"])
    eventually(lambda: request(f"{base}/stats").status == 200)
    docker("stop", trio["frontend"])
    assert request(f"{base}/").status in (502, 503, 504)
    assert request(f"{base}/stats").status == 200
