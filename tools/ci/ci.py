"""The targets of workflows beside those of deploy.py; each also runs by hand.

registry  which images of this commit are still to be pushed
apply     what `make plan` showed, unless something else would change now; then wait until it runs
supersede cancel earlier runs of main that wait for an approval
mark-good what runs has passed its tests: a rollback comes back to it
drift     what differs from the code that was deployed, and what belongs to no state
run       one task of the service S with the command CMD, to its end
output    Terraform's outputs, as JSON
plan-offline   a plan without credentials
screenshot     the page at URL
comment        the one comment of a pull request
codeowners     .github/CODEOWNERS, from which GitHub requests reviews
stale-previews previews whose pull request is closed
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.build import build
from tools.ci import github, infrastructure
from tools.cloud import bootstrap, deploy, drift, oneoff, plans, rollout, safety, terraform
from tools.cloud.releases import Release, with_newest
from tools.cloud.rollout import Deployed
from tools.cloud.session import Session, account_session, account_terraform, confirm, now, of_account, session, version
from tools.common import environments, toolchain
from tools.common.environments import Refused
from tools.common.files import write
from tools.common.progress import Failed, say, step
from tools.common.toolchain import ROOT
from tools.local import screenshot
from tools.supply.images import Images

MARKER = "<!-- system-stats: the preview of this pull request -->"
# A user, a team of an organization, or an e-mail address.
OWNER = re.compile(r"@[A-Za-z0-9-]+(/[A-Za-z0-9._-]+)?|[^@\s]+@[^@\s]+\.[^@\s]+")
# GitHub takes 65,536 characters.
COMMENT_CHARACTERS = 60_000


def do_registry() -> None:
    if os.environ.get("CHANGED") == "true":
        raise Failed(
            "the account differs from tf/preconfigured: an administrator runs `make bootstrap`, then restarts this run"
        )
    here = session(prepared=False, registry=True)
    images = Images(here.home, here.environment, build.revision())
    found = images.found(multi_platform=True)
    for place in images.places:
        for name, address in place.items():
            say(f"{name:<9} {address}")
    for name, tag in images.tags.items():
        say(f"{name:<9} {tag[:12]} {'is there' if name in found else 'must be pushed'}")
    missing = [name for name in build.SERVICES if name not in found]
    github.output("registry", missing=json.dumps(missing))


def do_apply() -> None:
    here = session(creates=True)
    revision = version()
    planned = plans.kept(here.environment.name, revision)
    outputs = here.terraform().output()
    running = outputs.get("release", "")
    if superseded(revision, running):
        raise Refused(
            f"{here.environment.name} runs {running[:12]} already, which came after"
            f" {revision[:12]}; run `make rollback` for an older version"
        )
    confirm(here.environment, "applying to")
    protected(here.environment)
    with step("attestations"):
        deploy.attested(here, planned.release.images)
    with step("plan again"):
        # Terraform's own file would hold secrets in clear text, and is refused once anything else was applied.
        run = here.terraform()
        changed = run.plan(*here.variables(planned.release))
        shown = run.show(str(run.plan_file))
        created = f"{plans.age(planned.release.time, now())} ({planned.release.time})"
        if plans.digest(shown) != planned.digest:
            raise Refused(
                f"{here.environment.name} has changed since its plan was made {created}, and something else would"
                " be applied now: `make plan` again, and look; in a workflow, run all of its jobs again"
            )
        say(f"these are the changes of the plan that was made {created}")
        safety.keeps_network(here.environment.name, shown)
        safety.keeps_traffic(shown)
    before = rollout.over(here.aws, outputs)
    # From here on a failure is one of this version, and not of the plan, the credentials or the rules of a review.
    github.output("apply", begun="true")
    deploy.applied(here, run, changed, before)


def protected(environment: environments.Environment) -> None:
    """Refused in a workflow where a protected environment has no rule that makes its job wait."""
    name = environment.name
    if not environment.protected or os.environ.get("GITHUB_ACTIONS") != "true":
        return
    if not github.Repository().reviewed(name):
        raise Refused(
            f"the environment {name} of the repository's settings has no protection rule, so every push to"
            f" main would reach it: add required reviewers (GitHub has them for public repositories and in"
            f" Enterprise Cloud), or set the variable PROD to off and run `make deploy ENV={name}` by hand"
        )


def do_supersede() -> None:
    number = int(github.required_variable("GITHUB_RUN_NUMBER"))
    superseded_runs = github.Repository().supersede("main.yaml", number)
    say(f"earlier runs that waited: {', '.join(f'#{run}' for run in superseded_runs) or 'none'}")


def superseded(revision: str, running: str, root: Path = ROOT) -> bool:
    """Whether what runs came after a commit: a run that was slower must not undo a newer one."""
    command = ["git", "-C", str(root), "merge-base", "--is-ancestor", revision, running]
    return running != revision and toolchain.answer(command) is not None


def do_mark_good() -> None:
    here = session()
    outputs = here.deployed()
    release = Release(outputs["release"], outputs["images"], now())
    here.releases.write(with_newest(here.releases.read(), release))
    say(f"{release.revision[:12]} is proven in {here.environment.name}")


def do_output() -> None:
    run = account_terraform() if of_account() else session(base=True).terraform()
    outputs = run.output()
    text = json.dumps(outputs, separators=(",", ":"), sort_keys=True)
    print(text)
    github.output("output", outputs=text, url=outputs.get("url", ""))


def do_drift() -> None:
    """Compare what is there with the code that was deployed; fails where they differ."""
    here = session(base=True)
    name = here.environment.name
    run = here.terraform()
    outputs = run.output()
    if not outputs:
        say(f"{name} is not deployed")
        return
    if here.environment.base:
        # It is deployed by hand and has no version, so that what was merged and not deployed is drift, too.
        place, variables = "tf/previews", here.variables(None)
    else:
        release = Release(outputs["release"], outputs["images"], now())
        run = here.terraform(bootstrap.clone_of(release.revision, terraform.DATA / "source" / release.revision))
        place, variables = f"tf/ at {release.revision[:12]}", here.variables(release, run.folder)
    with step(f"compare {name} with {place}"):
        run.plan(*variables, lock=False)
        changes = drift.differences(run.show(str(run.plan_file)))
    with step("find resources that belong to no state"):
        stateless = drift.stateless(drift.tagged(here.aws, name), run.show())
        untracked = [arn for arn in stateless if drift.there(here.aws, arn)]
    github.summary(drift.report(name, changes, untracked))
    for line in (*changes, *(f"{resource} is in no state" for resource in untracked)):
        say(line)
    if changes or untracked:
        raise Failed(
            f"{name} is not what was deployed: `make deploy ENV={name}` restores it; remove resources that are in no"
            " state by hand"
        )
    say(f"{name} is what was deployed, and nothing else is there")


def do_run() -> None:
    """One task of the service S with the command CMD, to its end."""
    here = session()
    name, command = os.environ.get("S", ""), os.environ.get("CMD", "")
    if name not in build.SERVICES or not command:
        raise Refused(
            f"S must be one of {', '.join(build.SERVICES)}, and CMD the arguments of its program, such as"
            ' S=stats CMD="--version"'
        )
    outputs = here.deployed()
    confirm(here.environment, "running a task in")
    oneoff.run(here.aws, Deployed.of(outputs), name, command, say)


def do_plan_offline() -> None:
    environment = environments.named(os.environ.get("ENV", ""))
    terraform.check()
    infrastructure.plan_offline(environment.variables)


def do_screenshot() -> None:
    url = github.required_variable("URL", "the address of a page, such as URL=http://localhost:3050")
    build.ensure_tools("deploy", "browser")
    with step(f"screenshot of {url}"):
        screenshot.take(url, plans.REPORTS / "page.png")


def do_comment() -> None:
    """Put together what the jobs before have left in target/report/."""
    text = comment(os.environ, plans.REPORTS)
    github.summary(text)
    if os.environ.get("GITHUB_TOKEN"):
        say(github.Repository().comment(github.pull_request(), MARKER, text))
    else:
        print(text)


def comment(variables: Mapping[str, str], folder: Path) -> str:
    """The summary for reviewers."""
    url, page = variables.get("URL"), variables.get("SCREENSHOT")
    lines = [f"## Preview: {url}" if url else "## There is no preview"]
    links = [f"[screenshot]({page})"] if page else []
    links += [f"[run]({variables['RUN']})"] if variables.get("RUN") else []
    if links:
        lines.append(" · ".join(links))
    for file in sorted(folder.glob("*.md")):
        lines += ["", file.read_text(encoding="utf-8").strip()]
    if variables.get("COMMIT"):
        lines += ["", f"<sub>{variables['COMMIT']}</sub>"]
    text = "\n".join(lines)
    return text if len(text) <= COMMENT_CHARACTERS else f"{text[:COMMENT_CHARACTERS]}\n…"


def do_codeowners() -> None:
    owners = " ".join(code_owners())
    file = ROOT / ".github" / "CODEOWNERS"
    write(
        file,
        "# Written by `make codeowners`. Require their review in the rules of main: a change of any file\n"
        "# may change what is deployed, by whom, and with which rights.\n"
        f"* {owners}\n",
    )
    print(f"codeowners: {file.relative_to(ROOT)}: {owners}")


def code_owners() -> list[str]:
    """OWNERS, or the account of the repository. For an organization GitHub requires people or teams."""
    owners = os.environ.get("OWNERS", "").split() or [f"@{github.repository_name().split('/')[0]}"]
    for owner in owners:
        if OWNER.fullmatch(owner) is None:
            raise Refused(f"OWNERS has {owner!r}, but must have @user, @organization/team or e-mail addresses")
    return owners


def do_stale_previews() -> None:
    """The previews with a state that no open pull request has."""
    aws, account, _ = account_session()
    previews = Session(environments.named(environments.PATTERN), aws, account, aws).previews()
    there = github.Repository().open_pull_requests()
    stale = [name for name in previews if int(name.removeprefix("pr-")) not in there]
    say(f"previews without an open pull request: {', '.join(stale) or 'none'}")
    github.output("stale-previews", previews=json.dumps(stale))


TARGETS = {name[3:].replace("_", "-"): function for name, function in list(globals().items()) if name.startswith("do_")}


if __name__ == "__main__":
    sys.exit(deploy.main(sys.argv[1:], TARGETS))
