"""Checks the Markdown documents: links, wording and length.

`make check` runs this, and `typos` beside it for the spelling (`typos.toml`). STYLE.md has the rules in words.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.ci.check import CRATES, SERVICES
from tools.common.toolchain import ROOT

# Written by scripts: their wording is checked where they are written.
GENERATED = {"docs/adversarial.md", "docs/benchmarks.md", "docs/plan.md"}
GENERATED_PART = re.compile(r"<!-- made by .*?<!-- until here -->", re.DOTALL)

# The largest number of lines and words of a document; None for no limit.
LIMITS = {"README.md": (120, 900), "docs/architecture.md": (None, 1800), "STYLE.md": (70, None)}
DECISIONS = "docs/decisions/"
DECISION_LINES = 25

# A phrase, and what to write in its place. Case does not matter; code is left out.
BANNED = {
    r"nobody|somebody|anybody|whoever|whomever|whose figures": "the name of the role or component",
    r"who (asks?|wants?|deploys?|doubts?|may know)": "the name of the role or component",
    r"strangers?": "client, outside contributor",
    r"(is|are|be|was|were|being) told|\w+, not told|told (here|nowhere)": "receives, is configured with, not available",
    r"tells( \w+)? (its|the|no|nothing|which|what|of)": "reports, returns, contains",
    r"(says|say|decides|shows|compares|judges) whether": "checks, validates",
    r"beyond doubt": "strictly valid",
    r"(is|are) to be": "must be, or the plain present",
    r"of which": "two sentences",
    r"what somebody|what it (takes|answers)|what others take": "a noun",
    r"anew": "again",
    r"manners|wellness|judgement|whereabouts": "bootstrap, behavior, health",
    r"(?<!third-person )verbs?": "command",
    r"hands? (on|out|in|over)|handed (on|out|in)": "passes, returns",
    r"(wants|knows|asks for) a secret": "requires authentication",
    r"(is|are) well(?! [\w-]+(ed|wn)\b)|who is well": "is healthy",
    r"in vain|put back|goes back|go back|broken off": "without result, restored, interrupted",
}
QUESTION = re.compile(r"(what|who|whom|whose|where|when|why|how)\b", re.IGNORECASE)

SECTION = re.compile(r"^\[(.+)\]$")
DEPENDENCY = re.compile(r"^([A-Za-z0-9_-]+)(?:\.| *=)")

FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)[^)\n]*\)")
# A path from the root of the repository, in code.
PLACE = re.compile(r"`((?:bench|crates|docs|e2e|services|tf|tools)/[\w./-]+)[^`\n]*`")
# Written by tests or by the reader.
EXAMPLES = re.compile(r"e2e/artifacts|services/hello|tf/preconfigured/accounts/[0-9]+\.tfvars")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)


def main() -> int:
    faults = [fault for name in documents(ROOT) for fault in check(ROOT, name)]
    faults.extend(unlisted(ROOT))
    faults.extend(undocumented(ROOT))
    for fault in faults:
        print(f"documents: {fault}", file=sys.stderr)
    return 1 if faults else 0


def documents(root: Path) -> list[str]:
    """The Markdown files of the repository, as paths below its root."""
    return listed(root, "*.md")


def listed(root: Path, *patterns: str) -> list[str]:
    """The files that git has or would add, as paths below the root of the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, encoding="utf-8", timeout=60)
    if done.returncode:
        raise SystemExit(f"check: git lists no files of {root}; after an archive: `git init && git add --all`")
    return sorted(name for name in set(done.stdout.split("\0")) if (root / name).is_file())


def check(root: Path, name: str) -> Iterator[str]:
    """A message for each fault of one document."""
    text = (root / name).read_text(encoding="utf-8")
    yield from too_long(name, text)
    yield from broken_links(root, name, text)
    if name not in GENERATED:
        yield from banned_phrases(name, text)


def too_long(name: str, text: str) -> Iterator[str]:
    most_lines, most_words = LIMITS.get(name, (None, None))
    if name.startswith(DECISIONS) and re.match(r"\d{4}-", Path(name).name):
        most_lines = DECISION_LINES
    lines, words = len(text.splitlines()), len(text.split())
    if most_lines is not None and lines > most_lines:
        yield f"{name} has {lines} lines; at most {most_lines} are allowed"
    if most_words is not None and words > most_words:
        yield f"{name} has {words} words; at most {most_words} are allowed"


def broken_links(root: Path, name: str, text: str) -> Iterator[str]:
    """Relative links whose file or heading does not exist, and paths of no file."""
    for number, line in prose(text, keep_code=True):
        for place in PLACE.findall(line):
            if not (root / place).exists() and not EXAMPLES.fullmatch(place):
                yield f"{name}:{number}: {place} does not exist"
        for target in LINK.findall(line):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            path, _, anchor = target.partition("#")
            file = root / name if not path else (root / name).parent / path
            if not file.exists():
                yield f"{name}:{number}: {target} does not exist"
            elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                yield f"{name}:{number}: {target}: no heading has this anchor"


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    found: set[str] = set()
    for heading in HEADING.findall(blanked(FENCE, file.read_text(encoding="utf-8"))):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        number = 0
        while (unique := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(unique)
    return found


def unlisted(root: Path) -> Iterator[str]:
    """Decisions that the index does not list, or that have the number of another."""
    folder = root / DECISIONS
    index = (folder / "README.md").read_text(encoding="utf-8")
    numbers: set[str] = set()
    for file in sorted(folder.glob("[0-9]*.md")):
        if f"]({file.name})" not in index:
            yield f"{DECISIONS}{file.name} is not listed in {DECISIONS}README.md"
        if file.name[:4] in numbers:
            yield f"{DECISIONS}{file.name} has the number of another decision"
        numbers.add(file.name[:4])


def undocumented(root: Path) -> Iterator[str]:
    """Crates without a row in docs/dependencies.md, and rows of crates that are not used."""
    text = (root / "docs/dependencies.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (?!---)(.*?) \|", text.partition("\n## Tools")[0], re.MULTILINE)
    listed = {name for cell in cells for name in cell.split(", ")}
    used = dependencies(root)
    for name in sorted(used - listed):
        yield f"the crate {name} has no row in docs/dependencies.md"
    for name in sorted(listed - used - {"crate"}):
        yield f"docs/dependencies.md lists {name}, which no crate uses"


def dependencies(root: Path) -> set[str]:
    """The crates from outside that the members of the workspace name."""
    found: set[str] = set()
    manifests = [*root.glob("crates/*/Cargo.toml"), *root.glob("services/**/Cargo.toml")]
    for manifest in (*manifests, root / "bench" / "Cargo.toml"):
        if manifest.parent.name == "fuzz" or not manifest.is_file():
            continue
        section = ""
        for line in manifest.read_text(encoding="utf-8").splitlines():
            if header := SECTION.match(line):
                section = header[1]
            elif section.endswith("dependencies") and (name := DEPENDENCY.match(line)):
                found.add(name[1])
    return found - CRATES - SERVICES


def banned_phrases(name: str, text: str) -> Iterator[str]:
    for number, line in prose(blanked(GENERATED_PART, text)):
        yield from banned(f"{name}:{number}", line, BANNED)
        heading = HEADING.match(line)
        if heading and QUESTION.match(heading.group(1)):
            yield f'{name}:{number}: heading "{heading.group(1)}"; use a noun phrase'


def banned(place: str, text: str, phrases: dict[str, str]) -> Iterator[str]:
    for phrase, instead in phrases.items():
        if found := re.search(rf"\b({phrase})\b", text, re.IGNORECASE):
            yield f'{place}: "{found[0]}"; write instead: {instead}'


def prose(text: str, *, keep_code: bool = False) -> Iterator[tuple[int, str]]:
    """The numbered lines of a document without fenced blocks, and without code in a line."""
    for number, line in enumerate(blanked(FENCE, text).splitlines(), start=1):
        yield number, line if keep_code else CODE.sub("", line)


def blanked(pattern: re.Pattern[str], text: str) -> str:
    """The text without what matches; the numbers of the lines stay."""
    return pattern.sub(lambda match: "\n" * match.group(0).count("\n"), text)


if __name__ == "__main__":
    sys.exit(main())
