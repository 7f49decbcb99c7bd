"""Which versions an environment has had: those that have passed the smoke test, the newest last.

The list is a file beside the state, so that the permission to deploy includes rollbacks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tools.cloud.aws import Aws, AwsError

KEPT = 20


@dataclass(frozen=True)
class Release:
    """A commit, the image of each service by digest, and when it was proven."""

    revision: str
    images: dict[str, str]
    time: str

    def same(self, other: Release | None) -> bool:
        return other is not None and (self.revision, self.images) == (other.revision, other.images)


class Releases:
    def __init__(self, aws: Aws, bucket: str, key: str) -> None:
        self.aws, self.bucket, self.key = aws, bucket, key

    def read(self) -> list[Release]:
        try:
            found = self.aws.call("s3", "get_object", Bucket=self.bucket, Key=self.key)
        except AwsError as error:
            if error.code in ("NoSuchKey", "404"):
                return []
            raise
        return [Release(**entry) for entry in json.loads(found["Body"].read())]

    def write(self, releases: list[Release]) -> None:
        entries = [asdict(release) for release in releases[-KEPT:]]
        body = json.dumps(entries, indent=1).encode() + b"\n"
        self.aws.call("s3", "put_object", Bucket=self.bucket, Key=self.key, Body=body)


def with_newest(releases: list[Release], release: Release) -> list[Release]:
    """The list after a deployment has proven well; the same version again is no new entry."""
    return releases if releases and release.same(releases[-1]) else [*releases, release]


def before(releases: list[Release], current: Release, failed: str = "") -> list[Release]:
    """The versions proven before what is applied now, or before the commit whose apply failed; the last of them is the
    target of a rollback.

    What was applied and never proven is not in the list, so all of it came before.
    """
    if not releases:
        return []
    gone = releases[-1].revision == failed if failed else releases[-1].same(current)
    return releases[:-1] if gone else releases
