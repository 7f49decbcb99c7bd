"""Figures in README.md and docs/architecture.md agree with the report.

`documented_claims.json` has the sentences, their documents, and the figures of the report that support them.
"""

from __future__ import annotations

import json
import unittest
from pathlib import Path

import budgets
import targets
from scenario import ROOT
from scenarios import BY_NAME

CLAIMS = json.loads(Path(__file__).with_name("documented_claims.json").read_text(encoding="utf-8"))
REPORT = ROOT / "docs" / "benchmarks" / "results.json"


class DocumentedClaims(unittest.TestCase):
    def test_the_documents_contain_the_sentences(self) -> None:
        for one in CLAIMS:
            self.assertIn(one["text"], (ROOT / one["file"]).read_text(encoding="utf-8"), one["file"])
            self.assertIn(one["scenario"], BY_NAME)

    def test_the_report_supports_the_sentences(self) -> None:
        if not REPORT.exists():
            self.skipTest("there is no report yet: `make bench` makes it")
        found = json.loads(REPORT.read_text(encoding="utf-8"))
        self.assertFalse(found["quick"], "the report is of a trial run")
        for one in CLAIMS:
            value = budgets.measured(one, found["scenarios"])
            self.assertIsNotNone(value, f"{one['file']}: {one['text']}: the report has nothing about it")
            self.assertLessEqual(value, one["at_most"], f"{one['file']}: {one['text']}")

    def test_the_report_has_every_promise(self) -> None:
        if not REPORT.exists():
            self.skipTest("there is no report yet: `make bench` makes it")
        found = json.loads(REPORT.read_text(encoding="utf-8"))["scenarios"]
        self.assertEqual([row[1] for row in targets.rows(found) if "**not known**" in row[-1]], [])


if __name__ == "__main__":
    unittest.main()
