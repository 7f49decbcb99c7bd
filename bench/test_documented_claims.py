"""Values in README.md and docs/architecture.md.

`documented_claims.json` has the sentences, their documents, and the measured values that support them. `make bench`
fails when a value does not.
"""

from __future__ import annotations

import json
import unittest
from pathlib import Path

import budgets
import targets
from processes import ROOT
from scenarios import BY_NAME

CLAIMS = json.loads(Path(__file__).with_name("documented_claims.json").read_text(encoding="utf-8"))
SUMMARY = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def sizes(value: int) -> dict:
    row = {"subject": "all three", "case": "one file", "figures": {"all_bytes": {"median": value}}}
    return {"sizes": {"rows": [row], "ratios": []}}


class DocumentedClaims(unittest.TestCase):
    def test_the_documents_contain_the_sentences(self) -> None:
        for one in CLAIMS:
            self.assertIn(one["text"], (ROOT / one["file"]).read_text(encoding="utf-8"), one["file"])
            self.assertIn(one["scenario"], BY_NAME)

    def test_a_claim_without_support_is_reported(self) -> None:
        claims = [one for one in CLAIMS if one["scenario"] == "sizes"]
        self.assertEqual(budgets.unsupported(claims, sizes(7_900_000)), [])
        self.assertEqual(
            budgets.unsupported(claims, sizes(8_100_000)),
            ["README.md: less than 8 MB: 8,100,000 measured, 8,000,000 claimed"],
        )
        self.assertEqual(budgets.unsupported(claims, {}), ["README.md: less than 8 MB: not measured"])

    def test_the_summary_has_every_target_and_is_of_a_complete_run(self) -> None:
        for target in targets.TARGETS:
            self.assertIn(f"| {target.of} | {target.what} | {target.aim} |", SUMMARY)
        self.assertNotIn("**unknown**", SUMMARY)
        self.assertNotIn("Trial run", SUMMARY)


if __name__ == "__main__":
    unittest.main()
