"""One-time setup of an account: tf/preconfigured, whose state is kept in the bucket that it makes.

Safe to repeat, and to break off: the state is a file on this machine only until the bucket is
there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Callable

from tools.cloud.aws import Aws, AwsError
from tools.cloud.terraform import Terraform, TerraformError
from tools.common import catalog
from tools.common.environments import PRECONFIGURED_KEY, TF, Refused, settings, state_bucket
from tools.common.files import write

FOLDER = TF / "preconfigured"
LOCAL_STATE = FOLDER / "terraform.tfstate"
# Beats backend "s3" of versions.tf while it is there.
OVERRIDE = FOLDER / "backend_override.tf"
OVERRIDE_TEXT = 'terraform {\n  backend "local" {}\n}\n'


# AWS's services act in the account with roles of their own. A new account has none of them, and what needs one fails
# the first time with an error about permissions.
LINKED_ROLES = ("ecs.amazonaws.com", "elasticloadbalancing.amazonaws.com", "ecs.application-autoscaling.amazonaws.com")


def linked_roles(aws: Aws, say: Callable[[str], None]) -> None:
    """Create the service-linked roles that the account does not have yet."""
    for service in LINKED_ROLES:
        # AWS chooses the name, and the path is always this.
        path = f"/aws-service-role/{service}/"
        if not aws.call("iam", "list_roles", PathPrefix=path)["Roles"]:
            aws.call("iam", "create_service_linked_role", AWSServiceName=service)
            say(f"created the service-linked role of {service}")


def variables(account: str = "") -> dict[str, str]:
    """The plain settings of tf/preconfigured/terraform.tfvars, and over them those of another account."""
    files = [FOLDER / "terraform.tfvars", *more_settings(account)]
    found = [settings(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    return {"region": "us-east-1", **{name: value for one in found for name, value in one.items()}}


def more_settings(account: str) -> list[Path]:
    """The file of an account that is not the registry's, where there is one."""
    file = FOLDER / "accounts" / f"{account}.tfvars"
    return [file] if account and file.is_file() else []


def github_lines() -> str:
    """The part of terraform.tfvars with the workflows that may assume the roles; empty where there is none."""
    file = FOLDER / "terraform.tfvars"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = re.search(r"^github\s*=.*", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def exists(aws: Aws, bucket: str) -> bool:
    try:
        aws.call("s3", "head_bucket", Bucket=bucket)
    except AwsError as error:
        if error.code == "404":
            return False
        if error.code == "403":
            raise Refused(f"the bucket {bucket} is there, and these credentials may not see it") from None
        raise
    return True


def ensure(aws: Aws, account: str, profile: str | None, say: Callable[[str], None], may_create: bool = False) -> None:
    """Applies tf/preconfigured to the account; without a difference nothing changes. Only `make bootstrap` may create
    it: credentials of a wrong account would get all of it at the first deployment."""
    bucket = state_bucket(account, aws.region)
    terraform = folder(aws, account, profile)
    if unfinished(aws, account) or not exists(aws, bucket):
        if not may_create:
            raise Refused(
                f"the account {account} is not prepared: run `make bootstrap` with an administrator's credentials"
            )
        begin(terraform, aws, bucket, say)
    terraform = state(aws, account, profile)
    # Without a lock, so that those may look who may not change.
    if not terraform.plan(lock=False):
        say("the account matches tf/preconfigured")
        return
    shown = terraform.show(str(terraform.plan_file))
    if not may_create:
        keeps(shown)
    keeps_images(aws, shown)
    one_provider(aws, shown)
    try:
        terraform.apply()
    except TerraformError as error:
        raise TerraformError(f"{error}; changes of tf/preconfigured need an administrator: `make bootstrap`") from None


def keeps(plan: dict) -> None:
    """Refused for a plan that removes a part of the account, such as that of a branch without the newest service."""
    changes = plan.get("resource_changes", [])
    removed = [one["address"] for one in changes if "delete" in one["change"]["actions"]]
    if removed:
        raise Refused(
            f"tf/preconfigured of this commit would remove {', '.join(removed)} from the account: is the commit old?"
            " Otherwise run `make bootstrap` first"
        )


def keeps_images(aws: Aws, plan: dict) -> None:
    """Refused for a plan that removes a repository with images: ECR refuses it, after the roles are gone."""
    removed = [
        one["change"]["before"]["name"]
        for one in plan.get("resource_changes", [])
        if one["address"].startswith("aws_ecr_repository.") and "delete" in one["change"]["actions"]
    ]
    full = [name for name in removed if aws.call("ecr", "list_images", repositoryName=name, maxResults=1)["imageIds"]]
    if full:
        commands = " and ".join(f"`aws ecr delete-repository --force --repository-name {name}`" for name in full)
        raise Refused(
            f"{', '.join(full)} would be removed and has images: if no environment runs them, {commands} first"
        )


def one_provider(aws: Aws, plan: dict) -> None:
    """Refused for a plan that makes a provider of GitHub's tokens beside one of another project: IAM refuses it when a
    half of the plan is applied."""
    changes = [one for one in plan.get("resource_changes", []) if one.get("type") == "aws_iam_openid_connect_provider"]
    if not any(one["change"]["actions"] == ["create"] for one in changes):
        return
    for one in aws.call("iam", "list_open_id_connect_providers")["OpenIDConnectProviderList"]:
        if one["Arn"].endswith("/token.actions.githubusercontent.com"):
            raise Refused(
                "the account has a provider of GitHub's tokens already: add"
                f' `provider_arn = "{one["Arn"]}"` to `github` in tf/preconfigured/terraform.tfvars'
            )


def unfinished(aws: Aws, account: str) -> bool:
    """Whether this machine has the state of a first run that was interrupted; Refused where that was in another account
    or region, whose resources Terraform would no longer know."""
    if not LOCAL_STATE.exists():
        return False
    try:
        local = json.loads(LOCAL_STATE.read_text(encoding="utf-8") or "{}")
    except ValueError:
        raise Refused(f"{LOCAL_STATE} is cut off; {LOCAL_STATE.name}.backup beside it is the one before") from None
    places = [attributes(local, kind, name) for kind, name in (("caller_identity", "account_id"), ("region", "region"))]
    for found, here in zip(places, (account, aws.region)):
        if found not in (None, here):
            raise Refused(
                f"tf/preconfigured/{LOCAL_STATE.name} is of a `make bootstrap` in {found} that was interrupted, and"
                f" this one is for {here}: finish it there first"
            )
    moved = remote(aws, state_bucket(account, aws.region))
    if moved is None:
        return True
    if moved.get("lineage") != local.get("lineage"):
        raise Refused(
            f"the bucket has a state of tf/preconfigured, and {LOCAL_STATE} is another one, of a `make bootstrap` that"
            " was interrupted: remove what it has made, and then this file"
        )
    # Interrupted after the move. The bucket may have a newer one by now.
    forget()
    return False


def attributes(state: dict, kind: str, name: str) -> str | None:
    """An attribute of the only data source of a kind, where the state has it."""
    of_kind = (one for one in state.get("resources", []) if one.get("type") == f"aws_{kind}")
    return next((instance["attributes"].get(name) for one in of_kind for instance in one["instances"]), None)


def remote(aws: Aws, bucket: str) -> dict | None:
    """The state of tf/preconfigured in its bucket, where both are there."""
    try:
        return json.loads(aws.call("s3", "get_object", Bucket=bucket, Key=PRECONFIGURED_KEY)["Body"].read())
    except AwsError as error:
        if error.code in ("NoSuchBucket", "NoSuchKey", "404"):
            return None
        raise


def elsewhere(aws: Aws, account: str) -> None:
    """Refused where the account is prepared in another region: its roles have the same names there."""
    beginning = state_bucket(account, "")
    found = [one["Name"] for one in aws.call("s3", "list_buckets", Prefix=beginning)["Buckets"]]
    if found and state_bucket(account, aws.region) not in found:
        raise Refused(
            f"the account {account} is prepared in {found[0].removeprefix(beginning)} ({found[0]}), and its roles exist"
            f" once: {aws.region} needs another account"
        )


def forget() -> None:
    """Remove the state of this machine."""
    for leftover in FOLDER.glob("terraform.tfstate*"):
        leftover.unlink()


def folder(aws: Aws, account: str, profile: str | None) -> Terraform:
    one = Terraform(FOLDER, "preconfigured", aws.region, profile)
    one.settings = [f"-var-file={file}" for file in more_settings(account)]
    return one


def state(aws: Aws, account: str, profile: str | None) -> Terraform:
    """tf/preconfigured with the state in its bucket; Refused where there is none."""
    bucket = state_bucket(account, aws.region)
    if not exists(aws, bucket):
        raise Refused(f"the account {account} is not prepared: run `make bootstrap` first")
    OVERRIDE.unlink(missing_ok=True)
    terraform = folder(aws, account, profile)
    terraform.init_s3(bucket, PRECONFIGURED_KEY, aws.region)
    if not terraform.output():
        raise Refused(
            f"the bucket {bucket} is there, but holds no state of tf/preconfigured: another `make bootstrap` is"
            " running, or it was started on another machine; continue there"
        )
    return terraform


def begin(terraform: Terraform, aws: Aws, bucket: str, say: Callable[[str], None]) -> None:
    """The first time: with a state on this machine, which then moves into the bucket."""
    say(f"the bucket {bucket} is made first; until then the state is {LOCAL_STATE.name} in tf/preconfigured")
    write(OVERRIDE, OVERRIDE_TEXT)
    try:
        terraform.init("-reconfigure")
        if terraform.plan():
            one_provider(aws, terraform.show(str(terraform.plan_file)))
            terraform.apply()
    finally:
        OVERRIDE.unlink(missing_ok=True)
    aws.wait("s3", "bucket_exists", Bucket=bucket)
    terraform.init_s3(bucket, PRECONFIGURED_KEY, aws.region, "-migrate-state", "-force-copy")
    if not terraform.output():
        raise TerraformError(f"the state did not arrive in {bucket}; it still is {LOCAL_STATE}")
    forget()
    say("the state is in the bucket now")


def clone_of(revision: str, goal: Path) -> Path:
    """tf/ at a commit, with the services that it deploys, so that a version gets matching settings."""
    goal.mkdir(parents=True, exist_ok=True)
    # Older commits list the services in tf/ itself.
    listed = git(revision, "ls-tree", "--name-only", revision, "--", "tf", catalog.FILE)
    archive = git(revision, "archive", revision, *listed.decode().split())
    subprocess.run(["tar", "-x", "-C", str(goal)], input=archive, check=True, timeout=60)
    # A provider does not read a state that a newer one has written, so the way back is gone with today's.
    for name in ("versions.tf", ".terraform.lock.hcl"):
        if (TF / name).is_file():
            shutil.copyfile(TF / name, goal / "tf" / name)
    return goal / "tf"


def git(revision: str, *arguments: str) -> bytes:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=TF.parent, capture_output=True, timeout=60)
    if done.returncode:
        why = done.stderr.decode().strip()
        raise Refused(f"the commit {revision} is not here ({why}): git fetch --unshallow")
    return done.stdout
