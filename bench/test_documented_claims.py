"""Values in README.md and docs/architecture.md.

`documented_claims.json` has the sentences, their documents, and the measured values that support them. `make bench`
fails when a value does not.
"""

from __future__ import annotations

import json
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


def test_the_documents_contain_the_sentences() -> None:
    for claim in CLAIMS:
        assert claim["text"] in (ROOT / claim["file"]).read_text(encoding="utf-8"), claim["file"]
        assert claim["scenario"] in BY_NAME


def test_a_claim_without_support_is_reported() -> None:
    claims = [claim for claim in CLAIMS if claim["scenario"] == "sizes"]
    assert budgets.unsupported(claims, sizes(5_900_000)) == []
    assert budgets.unsupported(claims, sizes(6_100_000)) == [
        "README.md: less than 6 MB: 6,100,000 measured, 6,000,000 claimed"
    ]
    assert budgets.unsupported(claims, {}) == ["README.md: less than 6 MB: not measured"]


def test_the_summary_has_every_target_and_is_of_a_complete_run() -> None:
    for target in targets.TARGETS:
        assert f"| {target.service} | {target.title} | {target.aim} |" in SUMMARY
    assert "**unknown**" not in SUMMARY
    assert "Trial run" not in SUMMARY
