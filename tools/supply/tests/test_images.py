"""Images and the registries that they are in."""

from __future__ import annotations

import unittest
from unittest import mock

from tools.supply import images

DIGEST = f"sha256:{'1' * 64}"


class TheRegistry(unittest.TestCase):
    def region(self, host: str) -> str | None:
        """The region whose credentials are asked for."""
        with mock.patch.object(images, "credentials", return_value=("user", "password")) as asked:
            images.registry_of(f"{host}/system-stats/stats@{DIGEST}")
        return asked.call_args.args[0].region if asked.called else None

    def test_amazon_has_credentials_in_every_partition(self) -> None:
        for region, suffix in (
            ("us-east-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
        ):
            self.assertEqual(self.region(f"123456789012.dkr.ecr.{region}.{suffix}"), region)

    def test_no_other_registry_gets_them(self) -> None:
        for host in ("ghcr.io", "123456789012.dkr.ecr.us-east-1.amazonaws.com.example.org"):
            self.assertIsNone(self.region(host), host)
