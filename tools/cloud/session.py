"""An environment, the credentials for its account, and the checks before a make target touches it."""

from __future__ import annotations

import datetime
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.build import build, commit
from tools.cloud import bootstrap, terraform
from tools.cloud.aws import Aws, AwsError
from tools.cloud.releases import Release, Releases
from tools.cloud.terraform import Terraform
from tools.common import environments
from tools.common.environments import APPLICATION, PREVIEW, TF, Environment, Refused, state_bucket
from tools.common.toolchain import ROOT


@dataclass
class Session:
    """An environment, and the right to work in its account."""

    environment: Environment
    aws: Aws
    account: str
    # The registry's account, whose credentials these are; another one's only where a role is assumed.
    home: Aws

    @property
    def away(self) -> bool:
        return self.aws is not self.home

    @property
    def place(self) -> str:
        return f"{self.environment.name}: account {self.account}, {self.environment.region}"

    @property
    def bucket(self) -> str:
        return state_bucket(self.account, self.environment.region)

    @property
    def releases(self) -> Releases:
        return Releases(self.aws, self.bucket, self.environment.releases_key)

    def terraform(self, folder: Path | None = None) -> Terraform:
        own = self.environment
        one = Terraform(folder or own.terraform, own.name, own.region, own.profile, self.aws.role)
        one.init_s3(self.bucket, own.state_key, own.region)
        return one

    def deployed(self) -> dict:
        """The outputs of what is deployed; Refused where nothing is."""
        outputs = self.terraform().output()
        if not outputs:
            raise Refused(f"{self.environment.name} is not deployed")
        return outputs

    def variables(self, release: Release | None, folder: Path = TF) -> list[str]:
        """Terraform arguments for a plan; None for what previews share, which has no images."""
        self.need_base()
        return variables_of(self.environment, release, folder, self.away)

    def need_base(self) -> None:
        """Refused for a preview without the shared part: Terraform would only find that there is no load balancer."""
        base = environments.PATTERN
        if self.environment.preview and base not in self.states(base):
            raise Refused(
                f"{self.environment.name} uses the network and load balancer of the environment {base}, which is"
                f" not deployed: run `make deploy ENV={base}` first"
            )

    def states(self, beginning: str) -> list[str]:
        """The environments with a state whose names begin so."""
        prefix = f"environments/{beginning}"
        pages = self.aws.pages("s3", "list_objects_v2", Bucket=self.bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return sorted({name for key in keys if key == environments.state_key(name := key.split("/")[1])})

    def previews(self) -> list[str]:
        return [name for name in self.states("pr-") if PREVIEW.fullmatch(name)]


def session(prepared: bool = True, base: bool = False, creates: bool = False, registry: bool = False) -> Session:
    """Everything that can be wrong before anything is touched; the account prepared, or not yet. Most commands
    are about services, which the base of previews does not have. A command for the registry assumes no role."""
    environment = environments.named(os.environ.get("ENV", ""), creates=creates)
    if environment.base and not base:
        raise Refused(
            f"{environment.name} is what previews share and runs no services: name a preview, such as ENV=pr-7"
        )
    if prepared:
        terraform.check()
    ensure_aws()
    region = bootstrap.variables()["region"]
    if environment.region != region:
        raise Refused(
            f"{environment.name} is in {environment.region}, and the account is prepared in"
            f" {region} (tf/preconfigured/terraform.tfvars)"
        )
    home = Aws(environment.region, environment.profile)
    aws = home if registry and environment.account_role else of_environment(environment, home)
    account = environment.account_id or home.account()
    here = Session(environment, aws, account, home)
    if prepared and not bootstrap.exists(aws, here.bucket):
        raise Refused(f"the account {account} is not prepared: run `make bootstrap` first")
    return here


def of_environment(environment: Environment, home: Aws) -> Aws:
    """Credentials of the environment's account: those that there are, or those of its role there."""
    wanted, account = environment.account_id, home.account()
    if wanted in (None, account):
        return home
    belongs = f"{environment.name} belongs to the account {wanted}, and these credentials are of {account}"
    if environment.account_role is None:
        raise Refused(f"{belongs}: use others, or name a role to assume there (`account_role`, docs/deploy.md)")
    role = f"arn:{partition(environment.region)}:iam::{wanted}:role/{environment.account_role}"
    aws = Aws(environment.region, environment.profile, role)
    try:
        aws.call("sts", "get_caller_identity")
    except AwsError as error:
        raise Refused(f"{belongs}, which may not assume {role} ({error})") from None
    return aws


# The parts of AWS with accounts, names and addresses of their own, by the beginning of their regions.
PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc"}


def partition(region: str) -> str:
    return next((name for beginning, name in PARTITIONS.items() if region.startswith(beginning)), "aws")


def ensure_aws() -> None:
    build.ensure_tools("deploy")


def version() -> str:
    """The commit that is deployed: what others can look at too."""
    revision = build.revision()
    if revision == "unknown":
        raise Refused("this is no git work tree, so what is deployed would have no name")
    if revision.endswith("-dirty") or git("status", "--porcelain"):
        raise Refused(
            "the work tree has changes that are not committed: commit or stash them, so that what"
            " is deployed can be found again"
        )
    if commit.cut_off():
        raise Refused(
            "this clone has no history, by which the services know their commits: run"
            " `git fetch --unshallow`, or check out with fetch-depth: 0"
        )
    if not git("branch", "--remotes", "--contains", "HEAD"):
        raise Refused(f"the commit {revision[:12]} is on no remote branch: push it first")
    return revision


def git(*arguments: str) -> str:
    return commit.git(ROOT, *arguments) or ""


def confirm(environment: Environment, what: str, always: bool = False) -> None:
    """A protected environment requires its name as confirmation; CONFIRM=prod confirms in advance."""
    name = environment.name
    if not (always or environment.protected) or os.environ.get("CONFIRM") == name:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{what} {name} needs CONFIRM={name}")
    print(f"{what} {name}: type its name to go on: ", end="", flush=True)
    # Ctrl-D is no name either.
    if sys.stdin.readline().strip() != name:
        raise Refused("that was not its name; nothing was touched")


def variables_of(environment: Environment, release: Release | None, folder: Path = TF, away: bool = False) -> list[str]:
    """Terraform arguments with an environment's variables and images; what previews share has no images."""
    file = Terraform(folder, environment.name, environment.region, None).own("release.tfvars.json")
    if release is None:
        own = {
            "region": environment.region,
            "account_id": environment.account_id,
            "account_role": environment.account_role if away else None,
        }
        file.write_text(json.dumps(own), encoding="utf-8")
        return [f"-var-file={file}"]
    values: dict[str, object] = {
        "environment": environment.name,
        # backend.hcl may be the only file that has it.
        "region": environment.region,
        "images": release.images,
        "release": release.revision,
    }
    if environment.account_role and not away:
        # The credentials are of the account itself.
        values["account_role"] = None
    file.write_text(json.dumps(values), encoding="utf-8")
    return [f"-var-file={folder}/environments/{environment.folder.name}/terraform.tfvars", f"-var-file={file}"]


def of_account() -> bool:
    """DIRECTORY: true when a target concerns tf/preconfigured instead of an environment."""
    directory = os.environ.get("DIRECTORY") or "tf"
    if directory not in ("tf", "tf/preconfigured"):
        raise Refused(f"DIRECTORY is {directory!r}, but must be tf or tf/preconfigured")
    return directory != "tf"


def account_session() -> tuple[Aws, str, dict[str, str]]:
    """Credentials of the account that tf/preconfigured is for."""
    ensure_aws()
    wanted = bootstrap.variables()
    aws = Aws(wanted["region"], wanted.get("profile"))
    account = aws.account()
    wanted = bootstrap.variables(account)
    if wanted.get("name") not in (None, APPLICATION):
        raise Refused(
            f'name = "{wanted["name"]}" in tf/preconfigured: the commands know the names of {APPLICATION} only'
        )
    if wanted.get("account_id") not in (None, account):
        raise Refused(
            f"tf/preconfigured is for the account {wanted['account_id']}, and these credentials are of {account}"
        )
    return aws, account, wanted


def account_terraform() -> Terraform:
    """tf/preconfigured with its state, to read it."""
    terraform.check()
    aws, account, wanted = account_session()
    return bootstrap.state(aws, account, wanted.get("profile"))


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
