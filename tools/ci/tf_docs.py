"""The tables in the README of each folder of tf/, and docs/plan.md: generated from the configuration.

`python3 -m tools.ci.tf_docs` writes the inputs and outputs again, `python3 -m tools.ci.tf_docs check` reports
differences. `python3 -m tools.ci.tf_docs plan FILE...` writes docs/plan.md from files of `terraform show
-json`, named ENVIRONMENT.json.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

from tools.cloud import cost
from tools.common.environments import TF
from tools.common.toolchain import ROOT

FOLDERS = (TF, TF / "modules" / "app", TF / "preconfigured", TF / "previews")
BEGIN, END = "<!-- made by tools/ci/tf_docs.py -->", "<!-- until here -->"
PLAN = ROOT / "docs" / "plan.md"


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["plan"] and len(arguments) > 1:
        PLAN.write_text(
            plan({Path(file).stem: json.loads(Path(file).read_text(encoding="utf-8")) for file in arguments[1:]}),
            encoding="utf-8",
        )
        return 0
    if arguments not in ([], ["check"]):
        print("usage: python3 -m tools.ci.tf_docs [check|plan FILE...]", file=sys.stderr)
        return 64
    stale = []
    for folder in FOLDERS:
        readme = folder / "README.md"
        text = readme.read_text(encoding="utf-8")
        fresh = with_tables(text, folder)
        if text != fresh:
            stale.append(str(readme.relative_to(ROOT)))
            if not arguments:
                readme.write_text(fresh, encoding="utf-8")
    if stale and arguments:
        print(f"{', '.join(stale)}: outdated; run `python3 -m tools.ci.tf_docs`", file=sys.stderr)
        return 1
    return 0


def with_tables(text: str, folder: Path) -> str:
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{tables(folder)}\n{END}{rest.partition(END)[2]}"


def tables(folder: Path) -> str:
    inputs = blocks("variable", (folder / "variables.tf").read_text(encoding="utf-8"))
    outputs = blocks("output", (folder / "outputs.tf").read_text(encoding="utf-8"))
    rows = ["| input | type | default | meaning |", "| --- | --- | --- | --- |"]
    rows += [f"| `{name}` | {kind(body)} | {default(body)} | {description(body)} |" for name, body in inputs.items()]
    rows += ["", "| output | meaning |", "| --- | --- |"]
    rows += [f"| `{name}` | {description(body)} |" for name, body in outputs.items()]
    return "\n".join(rows) + "\n"


def blocks(word: str, text: str) -> dict[str, str]:
    """The blocks of one kind by name; each ends at the first brace that begins a line."""
    return dict(re.findall(rf'^{word} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL))


def description(body: str) -> str:
    long = re.search(r"description = <<-EOT\n(.*?)^\s*EOT$", body, re.MULTILINE | re.DOTALL)
    if long:
        lines = [line.strip() for line in long.group(1).splitlines()]
        return re.sub(r"\s+", " ", " ".join(lines)).strip().replace(" - `", "; `")
    short = re.search(r'description = "((?:[^"\\]|\\.)*)"', body)
    return short.group(1) if short else ""


def kind(body: str) -> str:
    found = re.search(r"^  type\s*= (.*)$", body, re.MULTILINE)
    text = found.group(1) if found else "any"
    return text.replace("({", "").rstrip("(") if text.endswith("({") else text


def default(body: str) -> str:
    found = re.search(r"^  default\s*= (.*)$", body, re.MULTILINE)
    if not found:
        return "needed"
    return "see `variables.tf`" if found.group(1) == "{" else f"`{found.group(1)}`"


def plan(shown: dict[str, dict]) -> str:
    """Planned resources of each environment, by type."""
    counts = {
        name: Counter(one["type"] for one in cost.resources(planned(structure)) if one["mode"] == "managed")
        for name, structure in shown.items()
    }
    types = sorted(set().union(*counts.values()))
    lines = [
        "# What a first deployment makes",
        "",
        "Made by `python3 -m tools.ci.tf_docs plan` from the plans of the environments as they are in this"
        " repository. The account's part (`make bootstrap`) is not in it.",
        "",
        f"| resource | {' | '.join(counts)} |",
        f"| --- |{' ---: |' * len(counts)}",
    ]
    lines += [f"| `{kind}` | {' | '.join(str(count[kind] or '') for count in counts.values())} |" for kind in types]
    lines.append(f"| together | {' | '.join(str(sum(count.values())) for count in counts.values())} |")
    for name, structure in shown.items():
        found = cost.lines({"values": {"root_module": planned(structure)}})
        lines += [
            "",
            f"## What {name} costs",
            "",
            " ".join(cost.__doc__.split("\n\n")[1].split()),
            "",
            "| what | number | dollars |",
            "| --- | ---: | ---: |",
        ]
        lines += [f"| {line.what} | {line.count:g} | {line.dollars:.2f} |" for line in found]
        lines.append(f"| together | | {sum(line.dollars for line in found):.2f} |")
    return "\n".join(lines) + "\n"


def planned(structure: dict) -> dict:
    return structure["planned_values"]["root_module"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
