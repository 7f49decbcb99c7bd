"""A plan that is kept, so that exactly what was looked at is applied, perhaps on another machine.

`target/plan/NAME/` has Terraform's own file and what it was planned for; it can hold values that
are nobody's business, so whoever keeps it elsewhere keeps it short. `target/report/` has what
everybody may read: which resources change, and no value of theirs.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import toolchain
from environments import Refused
from files import write
from releases import Release

PLANS = toolchain.ROOT / "target" / "plan"
REPORTS = toolchain.ROOT / "target" / "report"
# What Terraform calls its actions, and how a summary counts them.
WORDS = {
    ("create",): "new",
    ("update",): "changed",
    ("delete",): "removed",
    ("delete", "create"): "replaced",
    ("create", "delete"): "replaced",
}


@dataclass(frozen=True)
class Kept:
    """What was planned: a version, and whether it changes anything."""

    file: Path
    release: Release
    changed: bool


def folder(name: str) -> Path:
    return PLANS / name


def keep(name: str, plan_file: Path, release: Release, changed: bool) -> None:
    forget(name)
    folder(name).mkdir(parents=True)
    shutil.copyfile(plan_file, folder(name) / "plan")
    folder(name).chmod(0o700)
    write(
        folder(name) / "planned.json", json.dumps({"changed": changed, "release": asdict(release)})
    )


def forget(name: str) -> None:
    shutil.rmtree(folder(name), ignore_errors=True)


def kept(name: str, revision: str) -> Kept:
    """The plan of that name, if it is of the commit that is checked out."""
    try:
        told = json.loads((folder(name) / "planned.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refused(f"there is no plan of {name} for pushed images: `make plan` first") from None
    release = Release(**told["release"])
    if release.revision != revision:
        raise Refused(
            f"the plan of {name} is of the commit {release.revision[:12]}, and {revision[:12]} is"
            " checked out: `make plan` again"
        )
    return Kept(folder(name) / "plan", release, told["changed"])


def report(name: str, plan: dict) -> str:
    """Which resources a plan changes, as Markdown; keeps it for a comment, too."""
    actions = {
        change["address"]: WORDS[tuple(change["change"]["actions"])]
        for change in plan.get("resource_changes", [])
        if tuple(change["change"]["actions"]) in WORDS
    }
    counts = {word: list(actions.values()).count(word) for word in dict.fromkeys(WORDS.values())}
    counted = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    lines = [f"**Plan of {name}**: {counted or 'nothing changes'}"]
    if actions:
        listed = [f"{word:<8} {address}" for address, word in sorted(actions.items())]
        lines += ["<details><summary>resources</summary>", "", "```", *listed, "```", "</details>"]
    text = "\n".join(lines)
    write(REPORTS / f"plan-{name}.md", f"{text}\n")
    return text


def sizes(now: dict[str, int], main: dict[str, int]) -> str:
    """How large each image is, beside what main has, as Markdown; keeps it for a comment, too."""
    lines = [
        "**Images**, compressed",
        "",
        "| service | here | main | difference |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, size in {**now, "together": sum(now.values())}.items():
        before = main.get(name) if name in now else sum(main.values()) or None
        difference = "" if before is None else f"{size - before:+,d}"
        lines.append(
            f"| {name} | {size:,d} | {'' if before is None else f'{before:,d}'} | {difference} |"
        )
    text = "\n".join(lines)
    write(REPORTS / "sizes.md", f"{text}\n")
    return text
