"""Provenance of the release binaries."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import services
from tools.common import catalog

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tools.build import commit  # noqa: E402
from tools.supply import oci, sbom  # noqa: E402

SERVICES = catalog.NAMES
VERSION = re.compile(
    r"(?P<name>\w+) (?P<version>\d+\.\d+\.\d+) \((?P<commit>[0-9a-f]{40}(-dirty)?) (?P<built>\S+Z)\)\n"
)


@pytest.fixture(params=SERVICES)
def binary(request, binaries):
    return binaries / request.param


@pytest.fixture
def version(binary):
    """The version, the commit and its time, as the binary prints them."""
    if commit.git(ROOT, "rev-parse", "HEAD") is None or commit.cut_off():
        pytest.skip("there is no history here that the commit could come from")
    printed = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, timeout=10, check=True, text=True).stdout
    found = VERSION.fullmatch(printed)
    assert found, printed
    return found


def test_version_and_health_report_the_same_commit(version, binary, request):
    with services.service(request.config, binary.name) as service:
        health = service.fetch("/healthz").json()
    assert health == {"status": "ok", **{name: version[name] for name in ("version", "commit", "built")}}
    # The image reads it out of the binary, without running it.
    assert oci.revision(binary.read_bytes())[oci.REVISION] == version["commit"]


def test_the_commit_is_one_of_this_repository_with_its_date(version):
    date = ["log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"]
    assert commit.git(ROOT, *date, version["commit"].split("-")[0]) == version["built"]


def test_everything_that_cargo_read_counts_as_an_input_of_the_service(binary):
    """Otherwise a change of it would be in a binary with an older commit."""
    read = binary.with_suffix(".d").read_text().replace("\\ ", "\0").split(": ", 1)[1].split()
    files = {Path(name.replace("\0", " ")) for name in read}
    files = {Path(os.path.normpath(file)) for file in files}
    ours = {str(file.relative_to(ROOT)) for file in files if file.is_relative_to(ROOT)}
    # The page's sources are Trunk's to read; what it makes of them is what is packed.
    ours = {name for name in ours if not name.startswith(("target/", "services/frontend/app/dist"))}
    assert any(name.startswith("crates/service/") for name in ours)
    inputs = commit.INPUTS[binary.name]
    stray = {name for name in ours if not any(name == place or name.startswith(f"{place}/") for place in inputs)}
    assert not stray


def test_the_binary_lists_what_it_is_made_of(binary):
    listed = sbom.packages(binary.read_bytes())
    names = {package["name"] for package in listed}
    assert {"service", "server", "tokio"} <= names
    assert ("pingora-core" in names) == (binary.name == "gateway")
    assert ("wire" in names) == (binary.name == "stats")
    (root,) = [package for package in listed if package.get("root")]
    assert root["name"] == binary.name
    lock = (ROOT / "Cargo.lock").read_text()
    for package in listed:
        assert f'name = "{package["name"]}"\nversion = "{package["version"]}"' in lock


def test_the_binary_contains_no_build_paths(binary):
    content = binary.read_bytes()
    for place in (str(ROOT), str(Path.home()), "/registry/src/", "/.rustup/", "/.cargo/", "/toolchains/"):
        # A home that is the root, or a folder that everybody has, would be found by chance.
        if len(place) > 4:
            at = content.find(place.encode())
            assert at < 0, content[max(0, at - 40) : at + 120]


@pytest.fixture(scope="session")
def bills(binaries):
    """The bills of materials of all services, as `make sbom` writes them."""
    known = sbom.Crates.of_workspace()
    return {name: sbom.sbom(name, (binaries / name).read_bytes(), known) for name in SERVICES}


@pytest.mark.parametrize("name", SERVICES)
def test_the_bill_of_materials_is_valid_cyclonedx(bills, name):
    cyclonedx = pytest.importorskip("cyclonedx.validation.json", reason="needs cyclonedx-python-lib")
    from cyclonedx.schema import SchemaVersion

    validator = cyclonedx.JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(bills[name])) is None
    broken = {**bills[name], "components": [{"name": "no type"}]}
    assert validator.validate_str(json.dumps(broken)) is not None


@pytest.mark.parametrize("name", SERVICES)
def test_the_bill_fits_its_binary_and_no_other(bills, name, binaries):
    binary = (binaries / name).read_bytes()
    assert sbom.differences(name, bills[name], binary) == []
    assert sbom.differences(name, bills[name], binary + b"\0") == ["it is of a binary with another checksum"]
    components = bills[name]["components"]
    assert all("licenses" in entry for entry in components)
    # Our own crates come from no registry; all others have the registry's checksum.
    ours = {"service", "http-semantics", "server", "wire", "app"}
    assert {entry["name"] for entry in components if "hashes" not in entry} <= ours
    page = {entry["name"] for entry in components if sbom.PAGE in entry.get("properties", [])}
    assert ("yew" in page) == catalog.ALL[name].page
