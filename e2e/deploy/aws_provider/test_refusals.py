"""Mistakes in a configuration that `terraform validate` reports with the fake provider.

Each file of mistakes/ is validated once, beside resources without a mistake (good.tf). The comment above a resource
is a part of the message about it.
"""

from __future__ import annotations

import json
import re
import tempfile
import unittest
from pathlib import Path

from trial import Trial

MISTAKES = Path(__file__).parent / "mistakes"
EXPECTED = re.compile(r'^# (.+)\nresource "\w+" "(\w+)"', re.MULTILINE)


class Refusals(unittest.TestCase):
    def check(self, file: str) -> None:
        good, text = ((MISTAKES / name).read_text(encoding="utf-8") for name in ("good.tf", file))
        with tempfile.TemporaryDirectory() as folder:
            output = Trial(Path(folder), good + text).terraform("validate", "-json", expect=1)
        # By the name of the resource.
        messages: dict[str, list[str]] = {}
        for diagnostic in json.loads(output)["diagnostics"]:
            name = diagnostic["snippet"]["context"].rsplit('"', 2)[1]
            messages.setdefault(name, []).append(f"{diagnostic['summary']}. {diagnostic['detail']}")
        expected = EXPECTED.findall(text)
        self.assertEqual(len(expected), text.count("\nresource "), "a resource has no message")
        for message, name in expected:
            with self.subTest(name):
                found = messages.pop(name, [])
                self.assertTrue(any(message in each for each in found), found)
        self.assertEqual(messages, {}, "a resource without a mistake is refused")

    def test_a_violation_of_the_schema_is_refused(self) -> None:
        self.check("schema.tf")

    def test_a_value_that_aws_does_not_accept_is_refused(self) -> None:
        self.check("arguments.tf")


if __name__ == "__main__":
    unittest.main()
