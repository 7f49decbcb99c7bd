"""A disk that is unmounted and mounted while stats runs, in a mount namespace of its own."""

import os
import subprocess

import pytest
from conftest import eventually, require_namespaces

import services

# The filesystem below the disk is full, and has another size.
MOUNTS = """
mount --make-rprivate / &&
mount -t tmpfs -o size=8m tmpfs "$STATS_ROOT" &&
mkdir "$STATS_ROOT/disk" && truncate -s 8m "$STATS_ROOT/full" &&
{ cat /dev/zero > "$STATS_ROOT/full" 2> /dev/null || true; } &&
mount --bind "$DISK" "$STATS_ROOT/disk" &&
exec "$@"
"""
LOCAL_KINDS = ("btrfs", "ext4", "xfs")


@pytest.fixture
def machine(pytestconfig, tmp_path):
    """The service, and a function that runs a command in its mount namespace."""
    require_namespaces("-m", programs=["nsenter"])
    root, disk = tmp_path / "root", tmp_path / "disk"
    root.mkdir()
    disk.mkdir()
    kind = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", disk]
    if subprocess.run(kind, capture_output=True, text=True).stdout.strip() not in LOCAL_KINDS:
        pytest.skip("needs a disk below the temporary folder")
    settings = {"STATS_ROOT": str(root), "DISK": str(disk), "PATH": os.environ["PATH"]}
    prefix = ("unshare", "-m", "sh", "-c", MOUNTS, "sh")
    with services.stats(pytestconfig, prefix=prefix, **settings) as own:

        def run(*command):
            subprocess.run(["nsenter", "-m", "-t", str(own.process.pid), *command], check=True, timeout=10)

        yield own, run, root / "disk", disk


def test_an_unmounted_disk_never_has_the_size_of_the_filesystem_below_it(machine):
    own, run, point, disk = machine

    seen = {}

    def newest():
        sample = own.fetch("/stats").json()
        sizes = {filesystem["mount"]: filesystem["total_bytes"] for filesystem in sample["filesystems"]}
        seen[sample["sequence"]] = sizes, [alert.get("target") for alert in sample["alerts"]]
        return sample["sequence"], sizes

    sequence, before = eventually(lambda: newest() if "/disk" in newest()[1] else None)
    assert before["/"] == 8 << 20 != before["/disk"]
    run("umount", point)
    eventually(lambda: newest()[0] >= sequence + 4)
    for sizes, alerts in seen.values():
        assert sizes.get("/disk") in (None, before["/disk"]), seen
        assert "/disk" not in alerts, seen
    assert "/disk" not in newest()[1], seen
    # At the next sample, not with the next of the regular reads.
    run("mount", "--bind", disk, point)
    sequence = newest()[0]
    again = eventually(lambda: newest()[0] if "/disk" in newest()[1] else None)
    assert again <= sequence + 2, seen
