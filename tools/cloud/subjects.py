"""Which GitHub tokens may take which role: the lines for tf/preconfigured/terraform.tfvars.

A token's `sub` names the repository, in repositories created or renamed since 2026-07-15 with ids:
`repo:OWNER@ID/NAME@ID:...` (GitHub, "OpenID Connect reference"). Both forms are written down, and the repository's id
is compared besides.
"""

from __future__ import annotations

import json
import os
import re
import urllib.request
from dataclasses import dataclass

# The part of `sub` behind the repository, for each role. Environments deploy only from main: see
# docs/releases.md.
CONTEXTS = {
    "plan": ("pull_request",),
    "plan_main": ("ref:refs/heads/main",),
    "push": ("environment:images",),
    "deploy": ("environment:staging", "environment:prod"),
    "preview": ("environment:preview",),
}
ORIGIN = re.compile(r"(?:https://|ssh://git@|git@)(?:[^@/]*@)?github\.com[:/]([^/]+)/([^/]+?)(?:\.git)?/?$")
# The owner and the name in a pattern of a token's `sub`, without their ids.
SUBJECT = re.compile(r'"repo:([^/@"]+)(?:@\d+)?/([^:@"]+)(?:@\d+)?:')
ANSWER_SECONDS = 15


@dataclass(frozen=True)
class Repository:
    owner: str
    name: str
    owner_id: str = "OWNER_ID"
    identity: str = "REPOSITORY_ID"

    @property
    def known(self) -> bool:
        return self.identity.isdigit()

    def patterns(self, role: str) -> list[str]:
        beginnings = [
            f"repo:{self.owner}/{self.name}",
            f"repo:{self.owner}@{self.owner_id}/{self.name}@{self.identity}",
        ]
        return [f"{one}:{context}" for context in CONTEXTS[role] for one in beginnings]


def of_origin(url: str) -> Repository | None:
    """The repository that a remote's address names; None where it is not one of github.com."""
    found = ORIGIN.fullmatch(url.strip())
    return Repository(found[1], found[2]) if found else None


def with_ids(repository: Repository) -> Repository:
    """With the ids from GitHub; unchanged where they are not available."""
    base = os.environ.get("GITHUB_API_URL") or "https://api.github.com"
    headers = {"accept": "application/vnd.github+json"}
    if os.environ.get("GITHUB_TOKEN"):
        headers["authorization"] = f"Bearer {os.environ['GITHUB_TOKEN']}"
    url = f"{base}/repos/{repository.owner}/{repository.name}"
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            found = json.load(answer)
        return Repository(found["owner"]["login"], found["name"], str(found["owner"]["id"]), str(found["id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return repository


def lines(repository: Repository) -> str:
    width = max(len(role) for role in (*CONTEXTS, "repository_id"))
    rows = [f'  {"repository_id":<{width}} = "{repository.identity}"']
    for role in CONTEXTS:
        rows.append(f"  {role:<{width}} = {json.dumps(repository.patterns(role))}")
    return "\n".join(["github = {", *rows, "}"])


def advice(origin: str, present: str = "") -> str:
    """Lines for terraform.tfvars that let this repository's workflows sign in; empty where those that are `present` do,
    or name none."""
    repository = of_origin(origin)
    if repository is None:
        return "" if present else "No workflow may sign in: origin is not a repository of github.com."
    admitted = {f"{owner}/{name}".lower() for owner, name in SUBJECT.findall(present)}
    if present and (not admitted or f"{repository.owner}/{repository.name}".lower() in admitted):
        return ""
    repository = with_ids(repository)
    others = f"THE WORKFLOWS OF {', '.join(sorted(admitted))} may take the roles, and not those of origin. "
    what = "replace `github` in" if present else "add to"
    text = f"For the workflows of {repository.owner}/{repository.name}, {what} tf/preconfigured/terraform.tfvars:\n\n"
    text = f"{others if present else ''}{text}"
    text += f"{lines(repository)}\n"
    if not repository.known:
        text += (
            "\nGitHub did not tell the ids (a private repository needs GITHUB_TOKEN). Replace OWNER_ID and"
            "\nREPOSITORY_ID: `gh api repos/OWNER/NAME --jq '.owner.id, .id'`.\n"
        )
    return text
