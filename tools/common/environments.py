"""An environment: a folder of tf/environments, and its properties."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tools.common.toolchain import ROOT

TF = ROOT / "tf"
APPLICATION = "system-stats"
PRECONFIGURED_KEY = "preconfigured/terraform.tfstate"
# A preview of pull request N: its own state and names, and the files of tf/environments/preview. The environment of
# that name is the part that previews share: tf/previews.
PREVIEW = re.compile(r"pr-([1-9][0-9]{0,8})")
PATTERN = "preview"
# At the end of a line of Terraform's language.
COMMENT = r"\s*(?:(?:#|//|/\*).*)?"


class Refused(Exception):
    """Nothing was touched; the message names the fault."""


@dataclass(frozen=True)
class Environment:
    name: str
    folder: Path
    state_key: str
    region: str
    account_id: str | None
    account_role: str | None
    profile: str | None
    architecture: str
    attested_by: str | None
    protected: bool = False

    @property
    def variables(self) -> Path:
        return self.folder / "terraform.tfvars"

    @property
    def preview(self) -> bool:
        return PREVIEW.fullmatch(self.name) is not None

    @property
    def base(self) -> bool:
        """Whether it is what previews share, without services of its own."""
        return self.name == PATTERN

    @property
    def terraform(self) -> Path:
        """The folder of Terraform that describes it."""
        return TF / "previews" if self.base else TF

    @property
    def releases_key(self) -> str:
        """Where the versions are remembered that have passed the smoke test."""
        return f"environments/{self.name}/releases.json"


def named(name: str, folder: Path = TF / "environments", creates: bool = False) -> Environment:
    """The environment of that name, for a command that creates or one that does not; Refused with the names that there
    are."""
    known = sorted(path.parent.name for path in folder.glob("*/terraform.tfvars"))
    there_are = f"there are {', '.join(known)}" if known else f"{folder} has none"
    if not name:
        raise Refused(f"which environment? ENV=NAME; {there_are}")
    written = PATTERN if PREVIEW.fullmatch(name) else name
    if written not in known:
        raise Refused(f"there is no environment {name!r}; {there_are}")
    if creates and written.startswith("pr-"):
        raise Refused(f"rename the environment {name}: the role of pull requests may change what begins with pr-")
    backend_file = folder / written / "backend.hcl"
    if not backend_file.is_file():
        raise Refused(f"{backend_file} is missing: it says where the state is")
    backend = settings(backend_file.read_text(encoding="utf-8"))
    variables = settings((folder / written / "terraform.tfvars").read_text(encoding="utf-8"))
    if variables.get("environment") != written:
        raise Refused(f'tf/environments/{written}/terraform.tfvars must say environment = "{written}"')
    if backend.get("key") != state_key(written):
        raise Refused(f'tf/environments/{written}/backend.hcl must say key = "{state_key(written)}"')
    return Environment(
        name=name,
        folder=folder / written,
        state_key=state_key(name),
        region=variables.get("region", backend.get("region", "us-east-1")),
        account_id=variables.get("account_id"),
        account_role=variables.get("account_role"),
        profile=backend.get("profile", variables.get("profile")),
        architecture=variables.get("architecture", "ARM64"),
        attested_by=variables.get("attested_by"),
        protected=protects((folder / written / "terraform.tfvars").read_text(encoding="utf-8")),
    )


def state_key(name: str) -> str:
    return f"environments/{name}/terraform.tfstate"


def flush(text: str) -> str:
    """Without the blanks before settings of the top level; those of a block keep theirs."""
    depth, lines = 0, []
    for line in text.splitlines():
        lines.append(line if depth > 0 else line.lstrip())
        brackets = re.sub(r'"[^"]*"|#.*|//.*|[^][{}]', "", line)
        depth += sum(1 if one in "[{" else -1 for one in brackets)
    return "\n".join(lines)


def settings(text: str) -> dict[str, str]:
    """The settings of a file in Terraform's language that are a plain string or number at its top level."""
    found = re.findall(rf'^([a-z_]+)\s*=\s*(?:"([^"$]*)"|([0-9]+)){COMMENT}$', flush(text), re.MULTILINE)
    return {name: string or number for name, string, number in found}


def protects(text: str) -> bool:
    """Whether a file of variables sets `protect`."""
    return re.search(rf'^protect\s*=\s*"?true"?{COMMENT}$', flush(text), re.MULTILINE) is not None


def state_bucket(account: str, region: str) -> str:
    """The bucket of all states; tf/preconfigured/state.tf makes it under the same name."""
    return f"{APPLICATION}-state-{account}-{region}"
