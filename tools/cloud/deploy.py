"""The make targets for AWS: bootstrap, plan, push, verify, deploy, smoke, rollback, destroy, logs,
status, cost. Targets that only workflows need are in ci.py.

`ENV=staging python3 -m tools.cloud.deploy deploy`, or shorter `make deploy ENV=staging`. What each does
to the account is in Terraform's language in tf/; its own calls to AWS are in aws.py.
"""

import os
import sys
import time
from pathlib import Path
from typing import Callable

from tools.build import build, commit
from tools.ci import github
from tools.cloud import bootstrap, cost, logs, plans, prove, rollout, safety, status, subjects, terraform
from tools.cloud.aws import AwsError
from tools.cloud.releases import Release, Releases, before, with_newest
from tools.cloud.rollout import Deployed, RolledBack
from tools.cloud.session import (
    Session,
    account_session,
    account_terraform,
    confirm,
    ensure_aws,
    git,
    now,
    of_account,
    session,
    version,
)
from tools.cloud.terraform import Terraform, TerraformError
from tools.common import environments
from tools.common.environments import TF, Refused
from tools.common.progress import Failed, exit_code, say, step
from tools.supply import sbom, verify
from tools.supply.images import Images, credentials, registry_of
from tools.supply.oci import Registry


def main(arguments: list[str], targets: dict[str, Callable[[], None]]) -> int:
    target = targets.get(arguments[0]) if len(arguments) == 1 else None
    if target is None:
        print(f"usage: make {'|'.join(targets)}", file=sys.stderr)
        return 64
    terraform.end_in_order()
    code = exit_code(arguments[0], target, "FAILED: ")
    if code == 130:
        print(f"\n{arguments[0]}: interrupted; run the same command again to continue", file=sys.stderr)
    return code


# The make targets.


def do_bootstrap() -> None:
    terraform.check()
    aws, account, wanted = account_session()
    with step(f"prepare the account {account} in {wanted['region']}"):
        bootstrap.unfinished(aws, account)
        bootstrap.elsewhere(aws, account)
        bootstrap.linked_roles(aws, say)
        bootstrap.ensure(aws, account, wanted.get("profile"), say, may_create=True)
    if text := subjects.advice(git("remote", "get-url", "origin"), bootstrap.github_lines()):
        print(text)


def do_plan() -> None:
    """Show what a deployment would change, and keep it; nothing is touched, not even the lock."""
    if of_account():
        plan_account()
        return
    here = session(base=True, creates=True)
    name = here.environment.name
    with step("plan"):
        run = here.terraform()
        release, pushed = (None, False) if here.environment.base else planned_release(here, run)
        plans.forget(name)
        changed = run.plan(*here.variables(release), lock=False)
    if release and pushed:
        plans.keep(name, release, changed, plans.digest(run.show(str(run.plan_file))))
        if here.environment.preview:
            github.summary(plans.sizes(*compared(here, release)))
    publish(name, run, changed)
    say("a deployment would change this" if changed else "a deployment would change nothing")


def compared(here: Session, release: Release) -> tuple[dict[str, int], dict[str, int]]:
    """The bytes of each image, and of those that staging runs, which is what main is."""
    images = Images(here.home, here.environment, release.revision)
    sizes = {name: images.size(image) for name, image in release.images.items()}
    staging = Releases(here.aws, here.bucket, environments.named("staging").releases_key).read()
    before = staging[-1].images if staging else {}
    return sizes, {name: images.size(image) for name, image in before.items()}


def plan_account() -> None:
    """Pending changes of `make bootstrap`, which an administrator applies."""
    with step("plan of the account"):
        run = account_terraform()
        changed = run.plan(lock=False)
    publish("preconfigured", run, changed)
    say(
        "`make bootstrap` would change this; it needs an administrator"
        if changed
        else "the account matches tf/preconfigured"
    )


def publish(name: str, run: Terraform, changed: bool) -> None:
    github.summary(plans.report(name, run.show(str(run.plan_file))))
    github.output("plan", changed=str(changed).lower())


def planned_release(here: Session, run: Terraform) -> tuple[Release, bool]:
    """The images of this commit and whether they are pushed; else those that run."""
    revision = build.revision()
    found = Images(here.home, here.environment, revision).found()
    if len(found) == len(build.SERVICES):
        return Release(revision, found, now()), True
    outputs = run.output()
    if outputs:
        say("the images of this commit are not pushed; planned with those that run")
        return Release(outputs["release"], of_services(outputs["images"]), now()), False
    say("no images are pushed yet; planned with a digest of zeros")
    return Release(revision, of_services({}), now()), False


def of_services(images: dict[str, str]) -> dict[str, str]:
    """Images for the services of this commit, which may not be those that run. The address of one that is missing does
    not exist; its plan is not applied."""
    return {name: images.get(name, f"not-pushed/{name}@sha256:{'0' * 64}") for name in build.SERVICES}


def do_push() -> None:
    """Build and push alone, all services or S, for both processors; its role sees no state."""
    wanted = os.environ.get("S")
    if wanted and wanted not in build.SERVICES:
        raise Refused(f"S is {wanted!r}, but there are {', '.join(build.SERVICES)}")
    here = session(prepared=False, registry=True)
    images = Images(here.home, here.environment, version())
    for name in [wanted] if wanted else build.SERVICES:
        with step(f"image of {name}"):
            whole = images.ensure_multi_platform(say, name)
        for architecture, (_, binary) in whole.parts.items():
            os.environ["ARCHITECTURE"] = architecture
            say(f"bill of {name} for {architecture}: {sbom.write(name, binary, architecture)}")
        address, _, digest = whole.image.partition("@")
        digests = {architecture: part[0] for architecture, part in whole.parts.items()}
        attest = str(bool(whole.parts) and github.can_attest()).lower()
        github.output("push", name=address, digest=digest, attest=attest, **digests)


def do_deploy() -> None:
    begun = time.monotonic()
    with step("checks"):
        terraform.check()
        here = session(prepared=False, base=True, creates=True)
        revision = version()
        say(f"{revision[:12]} to {here.place}, {here.environment.architecture}")
        confirm(here.environment, "deploying to")
    with step("account"):
        if not here.away:
            bootstrap.ensure(here.aws, here.account, here.environment.profile, say)
        elif not bootstrap.exists(here.aws, here.bucket):
            raise Refused(f"the account {here.account} is not prepared: its administrator runs `make bootstrap`")
    if here.environment.base:
        deploy_base(here)
        return
    here.need_base()
    with step("images"):
        images = Images(here.home, here.environment, revision).to_deploy(say)
    with step("attestations"):
        attested(here, images)
    release = Release(revision, images, now())
    before = here.releases.read()
    planned = plan_release(here, release, TF)
    try:
        carry_out(here, *planned)
    except (RolledBack, Failed, TerraformError) as error:
        say(f"FAILED: {error}")
        restore(here, before, release)
    here.releases.write(with_newest(before, release))
    say(f"{revision[:12]} runs in {here.environment.name}, after {time.monotonic() - begun:.0f} s")


def deploy_base(here: Session) -> None:
    """The shared part of previews, where no task runs and nothing is waited for."""
    with step("plan"):
        run = here.terraform()
        changed = run.plan(*here.variables(None))
        safety.keeps_network(here.environment.name, run.show(str(run.plan_file)))
    if changed:
        with step("apply"):
            run.apply()
    say(f"previews have a port each at {run.output()['load_balancer']}")


def attested(here: Session, images: dict[str, str]) -> None:
    """Verifies who built the images to apply, or reports that nothing was verified."""
    if here.environment.attested_by is None:
        say(
            "NOT VERIFIED who built these images: everyone with push permission decides what runs"
            f" (`attested_by` in tf/environments/{here.environment.name}/terraform.tfvars)"
        )
        return
    builder = verify.Builder.parse(here.environment.attested_by)
    secret = credentials(here.home)
    for name, image in images.items():
        found = commit.made_from(name)
        expected = found.split(" ")[0] if found else None
        registry = Registry(verify.split(image)[0], *secret)
        verify.verify(image, builder, registry, expected, say, here.environment.preview)


def plan_release(here: Session, release: Release, folder: Path, back: bool = False) -> tuple[Terraform, bool, set[str]]:
    """A plan, whether it changes anything, and the deployments of ECS that are over."""
    with step("plan"):
        run = here.terraform(folder)
        before = rollout.over(here.aws, run.output())
        changed = run.plan(*here.variables(release, folder))
        shown = run.show(str(run.plan_file))
        safety.keeps_network(here.environment.name, shown)
        safety.keeps_traffic(shown, say if back else None)
    return run, changed, before


def carry_out(here: Session, run: Terraform, changed: bool, before: set[str]) -> None:
    """Apply a plan, wait until it is what runs, and see that it works."""
    outputs = applied(here, run, changed, before)
    with step("smoke test"):
        prove.prove(here.home, outputs)


def applied(here: Session, run: Terraform, changed: bool, before: set[str]) -> dict:
    """The outputs of a plan, after its apply and when it is what runs."""
    if changed:
        with step("apply"):
            run.apply()
    else:
        say("nothing to apply")
    outputs = run.output()
    with step("wait until it runs"):
        rollout.wait(here.aws, Deployed.of(outputs), say, before=before)
    return outputs


def restore(here: Session, before: list[Release], failed: Release) -> None:
    """After a failure: the last version that was proven, as it was then. Always ends in Failed."""
    previous = next((one for one in reversed(before) if not one.same(failed)), None)
    if previous is None:
        raise Failed("there is no earlier version to restore; correct it and deploy again")
    say(f"restoring {previous.revision[:12]}, proven at {previous.time}")
    try:
        apply_release(here, previous)
    except (RolledBack, Failed, Refused, AwsError, TerraformError) as error:
        raise Failed(f"the new version failed, AND {previous.revision[:12]} could not be restored: {error}") from None
    raise Failed(f"{failed.revision[:12]} was not good; {previous.revision[:12]} is back and proven")


def apply_release(here: Session, release: Release) -> None:
    folder = bootstrap.clone_of(release.revision, terraform.DATA / "source" / release.revision)
    carry_out(here, *plan_release(here, release, folder, back=True))


def do_rollback() -> None:
    """Back to the version before: its images, with the settings of its commit. After a failed apply, outputs may still
    be those of the good version: FAILED names the commit that is replaced then."""
    here = session()
    releases = here.releases.read()
    outputs = here.terraform().output()
    current = Release(outputs["release"], outputs["images"], now()) if outputs else None
    failed = os.environ.get("FAILED", "")
    kept = before(releases, current, failed) if current else []
    if not current or not kept:
        raise Refused(f"{here.environment.name} has had no version before this one")
    previous = kept[-1]
    confirm(here.environment, "rolling back")
    say(f"{(failed or current.revision)[:12]} -> {previous.revision[:12]}, proven at {previous.time}")
    apply_release(here, previous)
    # The next rollback skips the version that was just replaced.
    here.releases.write(kept)
    say(f"{previous.revision[:12]} runs in {here.environment.name}")


def do_smoke() -> None:
    """Test what runs at URL, or in ENV; with both, what ENV is said to run, at that URL."""
    url = os.environ.get("URL")
    if url and not os.environ.get("ENV"):
        ensure_aws()
        with step(f"smoke test of {url}"):
            prove.smoke(url)
        return
    here = session()
    outputs = here.deployed()
    with step(f"smoke test of {url or outputs['url']}"):
        prove.prove(here.home, outputs)


def do_verify() -> None:
    """Whether IMAGE was built by the workflow of REPOSITORY, or of ENV's `attested_by`."""
    wanted = os.environ.get("REPOSITORY") or os.environ.get("GITHUB_REPOSITORY")
    if not wanted and os.environ.get("ENV"):
        wanted = environments.named(os.environ["ENV"]).attested_by
    image = os.environ.get("IMAGE", "")
    ensure_aws()
    verify.verify(image, verify.Builder.parse(wanted or ""), registry_of(image), None, say)


def do_destroy() -> None:
    """Everything of one environment; the account's part and the images stay."""
    here = session(base=True)
    environment = here.environment
    users = here.previews() if environment.base else []
    if users:
        raise Refused(f"{environment.name} is used by {', '.join(users)}: destroy them first")
    say(f"destroying {here.place}")
    confirm(environment, "destroying", always=True)
    run = here.terraform()
    outputs = run.output()
    safety.unprotected(environment, run.show())
    # A first deployment that broke off has made something, and has no outputs yet.
    if not outputs and "values" not in run.show():
        say(f"{environment.name} is not deployed")
    else:
        images = of_services(outputs.get("images", {}))
        release = None if environment.base else Release(outputs.get("release", "unknown"), images, now())
        with step(f"destroy {environment.name}"):
            run.destroy(*here.variables(release))
    # The list of proven versions does not apply to a new environment of the same name.
    if environment.preview or environment.base:
        for key in (environment.releases_key, environment.state_key):
            here.aws.call("s3", "delete_object", Bucket=here.bucket, Key=key)
    elif here.releases.read():
        # Also after a run that was interrupted when all was removed.
        here.releases.write([])


def do_logs() -> None:
    """Follow the logs of all three services, until Ctrl-C."""
    here = session()
    groups = here.terraform().output().get("log_groups")
    if not groups:
        raise Refused(f"{here.environment.name} is not deployed")
    logs.follow(here.aws, groups, lambda line: print(line, flush=True))


def do_status() -> None:
    here = session(base=True)
    outputs = here.terraform().output()
    if not outputs:
        say(f"{here.environment.name} is not deployed")
        return
    status.show(here, outputs)


def do_cost() -> None:
    here = session(base=True)
    run = here.terraform()
    if run.output():
        structure = run.show()
    else:
        say("not deployed: estimated from a plan")
        release = None if here.environment.base else planned_release(here, run)[0]
        run.plan(*here.variables(release), lock=False)
        structure = {"values": run.show(str(run.plan_file))["planned_values"]}
    print(cost.table(cost.lines(structure)))


TARGETS = {name[3:]: function for name, function in list(globals().items()) if name.startswith("do_")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], TARGETS))
