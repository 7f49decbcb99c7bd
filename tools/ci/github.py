"""Outputs, job summaries and the pull request comment of a workflow.

Outside of GitHub there are no such files, and the targets only print.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tools.cloud.subjects import ORIGIN
from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.progress import Failed, say
from tools.common.toolchain import ROOT

# Outputs of each target for later steps and jobs. tools/ci/workflows/rules.py checks the workflows against it.
OUTPUTS = {
    "registry": ("missing",),
    "push": ("name", "digest", "attest", "amd64", "arm64"),
    "publish": ("name", "digest", "attest", "amd64", "arm64"),
    "plan": ("changed",),
    "apply": ("begun",),
    "output": ("outputs", "url"),
    "stale-previews": ("previews",),
}
# One call of GitHub's interface; it answers within a second, or not at all.
CALL_SECONDS = 30
PAGE = 100
# Pages of a hundred: more comments or pull requests than that are no case to wait for.
PAGES = 50


class GitHubError(Failed):
    """GitHub has refused a call; the text is its own, and there is no `code` where it did not answer."""


def output(target: str, **values: str) -> None:
    """Hand values to the steps after this one; a name that OUTPUTS does not have is a mistake."""
    unknown = set(values) - set(OUTPUTS[target])
    if unknown:
        raise ValueError(f"{target} sets {sorted(unknown)}, which OUTPUTS does not list")
    lines = [f"{name}={value}" for name, value in values.items()]
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError(f"{target}: a value has several lines")
    _append("GITHUB_OUTPUT", "\n".join(lines))


def summary(text: str) -> None:
    """Show Markdown on the page of the run."""
    _append("GITHUB_STEP_SUMMARY", text)


def can_attest() -> bool:
    """Whether GitHub signs attestations for the repository of this run."""
    if os.environ.get("PRIVATE") != "true" or os.environ.get("ATTEST") == "on":
        return True
    say(
        "NOT ATTESTED: GitHub attests for private repositories in Enterprise Cloud only; there, set"
        " the repository's variable ATTEST to on"
    )
    return False


def _append(variable: str, text: str) -> None:
    if os.environ.get(variable):
        with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


class Repository:
    """The repository that the workflow runs for, with the token of its job."""

    def __init__(self) -> None:
        self.name = required_variable("GITHUB_REPOSITORY")
        self.base = os.environ.get("GITHUB_API_URL") or "https://api.github.com"
        self.token = required_variable("GITHUB_TOKEN")

    def comment(self, number: int, marker: str, text: str) -> str:
        """Create the comment that begins with the marker, or update it."""
        body = {"body": f"{marker}\n{text}"}
        comments = f"repos/{self.name}/issues/{number}/comments"
        for comment in self._list(comments):
            # Every user could write the marker; only a workflow's own comment is updated.
            if comment["body"].startswith(marker) and comment["user"]["type"] == "Bot":
                place = f"repos/{self.name}/issues/comments/{comment['id']}"
                return self._call("PATCH", place, body)["html_url"]
        return self._call("POST", comments, body)["html_url"]

    def open_pull_requests(self) -> set[int]:
        return {pull_request["number"] for pull_request in self._list(f"repos/{self.name}/pulls?state=open")}

    def reviewed(self, environment: str) -> bool:
        """Whether a job of that environment waits for a reviewer; branch policies are no review."""
        path = f"repos/{self.name}/environments/{environment}"
        rules = self._call("GET", path).get("protection_rules", [])
        return any(rule["type"] != "branch_policy" for rule in rules)

    def supersede(self, workflow: str, number: int) -> list[int]:
        """Cancel the earlier runs of a workflow on main that wait for an approval."""
        path = f"repos/{self.name}/actions/workflows/{workflow}/runs?branch=main&status=waiting"
        # One page: more than a hundred runs do not wait at a time.
        found = self._call("GET", f"{path}&per_page={PAGE}")["workflow_runs"]
        earlier = sorted((run["run_number"], run["id"]) for run in found if run["run_number"] < number)
        return [number for number, identity in earlier if self._cancel(identity)]

    def _cancel(self, identity: int) -> bool:
        """Whether a run was canceled; it may have ended since it was listed."""
        try:
            self._call("POST", f"repos/{self.name}/actions/runs/{identity}/cancel", {})
        except GitHubError as error:
            if error.code != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    def release(self, tag: str, notes: str, files: list[Path]) -> str:
        """Make a release of a tag with its files; safe to repeat."""
        # A version such as 1.0.0-rc.1 is not what `releases/latest` leads to.
        attributes = {"body": notes, "prerelease": "-" in tag}
        draft = {"tag_name": tag, "name": tag, "draft": True, **attributes}
        releases = self._list(f"repos/{self.name}/releases")
        found = next((candidate for candidate in releases if candidate["tag_name"] == tag), None)
        if found is None:
            found = self._call("POST", f"repos/{self.name}/releases", draft)
        elif not found["draft"]:
            return found["html_url"]
        place = found["upload_url"].split("{")[0]
        assets = found.get("assets", [])
        # An upload that broke off leaves a name without content, which is in the way of the next one.
        for asset in (candidate for candidate in assets if candidate["state"] != "uploaded"):
            self._call("DELETE", f"repos/{self.name}/releases/assets/{asset['id']}")
        uploaded = {asset["name"] for asset in assets if asset["state"] == "uploaded"}
        for file in files:
            if file.name not in uploaded:
                name = urllib.parse.urlencode({"name": file.name})
                self._call("POST", f"{place}?{name}", file.read_bytes())
        # Published last, so that a release is never visible without its files.
        change = {"draft": False, **attributes}
        return self._call("PATCH", f"repos/{self.name}/releases/{found['id']}", change)["html_url"]

    def _list(self, path: str) -> Iterator[dict]:
        for page in range(1, PAGES + 1):
            query = f"{'&' if '?' in path else '?'}per_page={PAGE}&page={page}"
            found = self._call("GET", path + query)
            yield from found
            if len(found) < PAGE:
                return

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        url = path if "://" in path else f"{self.base}/{path}"
        headers = {
            "accept": "application/vnd.github+json",
            "authorization": f"Bearer {self.token}",
            "content-type": kind,
        }
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")[:300]
            raise GitHubError(f"{method} {path}: {error.code} {text}", error.code) from None
        except (OSError, ValueError) as error:
            raise GitHubError(f"{method} {path}: {error}") from None


def required_variable(name: str, description: str | None = None) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise Refused(f"{name} is not set: {description or 'a workflow sets it'}")
    return value


def repository_name() -> str:
    """OWNER/NAME of this repository: GITHUB_REPOSITORY, or the remote `origin`."""
    remote = toolchain.answer(["git", "-C", str(ROOT), "remote", "get-url", "origin"]) or ""
    found = ORIGIN.fullmatch(remote)
    name = os.environ.get("GITHUB_REPOSITORY") or (f"{found[1]}/{found[2]}" if found else "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise Refused(
            "the repository's name is not known: set GITHUB_REPOSITORY=owner/name, or the git remote"
            f" `origin` (it is {remote or 'not set'})"
        )
    return name


def pull_request() -> int:
    """The number of the pull request that the workflow runs for."""
    event = json.loads(Path(required_variable("GITHUB_EVENT_PATH")).read_text(encoding="utf-8"))
    number = event.get("pull_request", {}).get("number")
    if not isinstance(number, int):
        raise Refused("this run is not for a pull request")
    return number
