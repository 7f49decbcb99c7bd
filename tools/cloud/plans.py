"""A plan that is kept, so that what was reviewed is what is applied, perhaps days later on another machine.

`target/plan/NAME/planned.json` has the version and a digest of every change. Terraform's own file is not kept: it
holds secrets in clear text. `make apply` plans again and compares. `target/report/` has what may be published: which
resources change, and no value of theirs.
"""

import datetime
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.cloud.releases import Release
from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.files import write

PLANS = toolchain.ROOT / "target" / "plan"
REPORTS = toolchain.ROOT / "target" / "report"
# Terraform's actions, and their names in a summary.
WORDS = {
    ("create",): "new",
    ("update",): "changed",
    ("delete",): "removed",
    ("delete", "create"): "replaced",
    ("create", "delete"): "replaced",
}


@dataclass(frozen=True)
class Kept:
    """A plan: the version, whether it changes anything, and the digest of the changes."""

    release: Release
    changed: bool
    digest: str


def folder(name: str) -> Path:
    return PLANS / name


def keep(name: str, release: Release, changed: bool, digest: str) -> None:
    forget(name)
    folder(name).mkdir(parents=True)
    planned = {"changed": changed, "digest": digest, "release": asdict(release)}
    write(folder(name) / "planned.json", json.dumps(planned))


def digest(plan: dict) -> str:
    """The changes of a plan in one number: of each resource the actions and every attribute that differs."""
    changes = [
        {"address": one["address"], **difference(one["change"])}
        for one in plan.get("resource_changes", [])
        if one["change"]["actions"] not in (["no-op"], ["read"])
    ]
    outputs = {
        name: difference(change)
        for name, change in plan.get("output_changes", {}).items()
        if change["actions"] != ["no-op"]
    }
    ordered = [sorted(changes, key=lambda one: one["address"]), outputs]
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()


def difference(change: dict) -> dict:
    """Without the attributes that stay: a number of tasks that follows the load is no other change."""
    before, after = change.get("before"), change.get("after")
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        before = {name: before.get(name) for name in names}
        after = {name: after.get(name) for name in names}
    unknown = change.get("after_unknown")
    return {"actions": change["actions"], "before": before, "after": after, "unknown": unknown}


def forget(name: str) -> None:
    shutil.rmtree(folder(name), ignore_errors=True)


def kept(name: str, revision: str) -> Kept:
    """The plan of that name, if it is of the commit that is checked out."""
    try:
        planned = json.loads((folder(name) / "planned.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refused(f"there is no plan of {name} for pushed images: `make plan` first") from None
    release = Release(**planned["release"])
    if release.revision != revision:
        raise Refused(
            f"the plan of {name} is of the commit {release.revision[:12]}, and {revision[:12]} is"
            " checked out: `make plan` again"
        )
    return Kept(release, planned["changed"], planned["digest"])


def age(planned: str, now: str) -> str:
    """The time since a plan was made, as words; both times are written as session.now() does."""
    ends = (datetime.datetime.fromisoformat(one.replace("Z", "+00:00")) for one in (now, planned))
    hours = int((next(ends) - next(ends)).total_seconds() // 3600)
    count, unit = (hours // 24, "day") if hours >= 24 else (hours, "hour")
    return f"{count} {unit}{'' if count == 1 else 's'} ago" if count > 0 else "less than an hour ago"


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
    lines = ["**Images**, compressed", "", "| service | here | main | difference |", "| --- | ---: | ---: | ---: |"]
    for name, size in {**now, "together": sum(now.values())}.items():
        before = main.get(name) if name in now else sum(main.values()) or None
        difference = "" if before is None else f"{size - before:+,d}"
        lines.append(f"| {name} | {size:,d} | {'' if before is None else f'{before:,d}'} | {difference} |")
    text = "\n".join(lines)
    write(REPORTS / "sizes.md", f"{text}\n")
    return text
