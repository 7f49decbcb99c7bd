"""Executes the workflows on this machine, as GitHub would, and checks the results: `python3 runner.py BINARIES`.

workflow_run.py executes the jobs of .github/workflows. AWS, the registry and ECS are those of sandbox.py; GitHub is
fake_github.py.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from fake_aws import HERE
from sandbox import main, run
from workflow_run import ROLES, WorkflowRun
from workflow_sandbox import REPOSITORY, Unexpected, WorkflowSandbox

from tools.ci import policies, workflows
from tools.ci.ci import MARKER
from tools.common import catalog
from tools.common.toolchain import ROOT
from tools.supply.images import MACHINES
from tools.supply.oci import Registry

# Services whose actions have another prefix in IAM.
IAM_PREFIXES = {"resourcegroupstaggingapi": "tag"}


def expect(title: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Unexpected(f"{title}: {found!r}, and not {expected!r}")
    print(f"runner: {title}: as it should be", flush=True)


def expect_text(title: str, text: str, *needles: str) -> None:
    missing = [needle for needle in needles if needle not in text]
    expect(f"{title} contains {', '.join(needles)}", missing, [])


def rehearse(sandbox: WorkflowSandbox) -> None:
    staging = sandbox.repository / "tf" / "environments" / "staging" / "terraform.tfvars"

    # main, for the first time: everything is pushed for both processors, staging comes before prod.
    sandbox.github.waiting = [{"run_number": number, "id": number * 10} for number in (4, 6)]
    first = run_push(sandbox)
    expect("the runs that waited for an approval and ended", sandbox.github.cancelled, [40])
    expect("main", set(first.results.values()) - {"skipped"}, {"success"})
    services = catalog.NAMES
    expect(
        "the roles of main",
        first.roles,
        {
            "preconfigured / plan": "plan-main",
            "registry": "plan-main",
            **{f"images {name}": "push" for name in services},
            **{f"{name} / plan": "plan-main" for name in ("staging", "prod")},
            **{f"{name} / apply": "deploy" for name in ("staging", "prod")},
        },
    )
    expect("prod is after staging", first.order[-2:], ["prod / plan", "prod / apply"])
    expect_text("prod, approved later", first.logs["prod / apply: apply"], "plan that was made 4 days ago")
    expect("attestations: provenance and bill of materials", len(sandbox.attested), 3 * len(services))
    for image in sandbox.attested[::3]:
        address, _, digest = image.partition("@")
        registry = Registry(address)
        found = {registry.manifest(digest, machine)["config"]["digest"] for machine in MACHINES}
        expect(f"{address.rpartition('/')[2]} for two processors", len(found), 2)

    # A pull request that changes one service: that one is pushed, apart, and all of it is seen.
    sandbox.github.open.add(7)
    sandbox.github.comments.append(
        {"id": 0, "body": f"{MARKER}\nnot a workflow's", "user": {"login": "b", "type": "User"}}
    )
    sandbox.touch("stats")
    sandbox.commit("another stats", "topic")
    opened = run_pull_request(sandbox)
    expect("a pull request", set(opened.results.values()) - {"skipped"}, {"success"})
    expect(
        "the roles of a pull request",
        opened.roles,
        {
            "preconfigured / plan": "plan",
            "registry": "plan",
            "images stats": "preview",
            "preview / plan": "plan",
            "preview / apply": "preview",
        },
    )
    made = json.loads(sandbox.environments["pr-7"].state())["resources"]
    kinds = {resource["type"] for resource in made if resource["mode"] == "managed"}
    expect("what a preview makes and its role may not", kinds - policies.OF_PREVIEW, set())
    sandbox.make("destroy", 64, "is used by pr-7", ENV="preview", CONFIRM="preview")
    expect("where it is pushed", "/system-stats/preview/stats@" in sandbox.attested[-1], True)
    expect("the comments", [comment["user"]["type"] for comment in sandbox.github.comments], ["User", "Bot"])
    expect_text(
        "the comment",
        sandbox.github.comments[1]["body"],
        *("## Preview: http", "artifacts/screenshot", "**Plan of pr-7**: ", " new", "| stats | "),
        *("| together | ", "**Tests on "),
    )

    # At night it is stopped, and that is no failure.
    preview = sandbox.environments["pr-7"]
    preview.asleep = True
    sandbox.make("status", 0, "stopped by its schedule", "pr-7 sleeps", ENV="pr-7")
    preview.asleep = False

    # A further push that changes no image: the same comment, and nothing is pushed.
    (sandbox.repository / "a-word").write_text("another\n")
    sandbox.commit("a word", "topic")
    again = run_pull_request(sandbox)
    expect("its images", again.results["images"], "skipped")
    expect("its preview", again.results["preview"], "success")
    expect("the comments", len(sandbox.github.comments), 2)
    sha = sandbox.git("rev-parse", "HEAD").strip()
    expect_text("the comment", sandbox.github.comments[1]["body"], sha)

    # A pull request of a fork, and of Dependabot: tests and a plan, without a role or a token.
    tokens = set(sandbox.github.tokens)
    for head, login in workflows.FORKS:
        restricted = run_pull_request(sandbox, head=head.replace("acme/system-stats", REPOSITORY), login=login)
        ran = {name.split(" ")[0] for name in restricted.order}
        expect(f"what runs for {login}", ran, {"test", "plan-offline"})
        expect(f"the roles of {login}", restricted.roles, {})
        expect_text(
            "its plan", restricted.logs["plan-offline: plan-offline"], "module.app.aws_lb_listener.http", "1 passed"
        )
    expect("the tokens that were used", sandbox.github.tokens, tokens)

    # Its pull request was closed, and no workflow ran: the night finds it.
    sandbox.github.open.clear()
    swept = WorkflowRun(sandbox, "schedule", "main", {}).execute("previews.yaml")
    expect("the sweep", swept.roles, {"stale-previews": "plan-main", "sweep pr-7 / destroy": "preview"})
    expect_text("the sweep", swept.logs["sweep pr-7 / destroy: destroy"], "Destroy complete!")
    expect("what is left", sandbox.environments["pr-7"].state(), "")
    closed = run_pull_request(sandbox, "previews.yaml")
    expect("closing", closed.results["closed"], "success")
    expect_text("closing", closed.logs["closed / destroy: destroy"], "pr-7 is not deployed")
    expect_text(
        "the night after",
        WorkflowRun(sandbox, "schedule", "main", {}).execute("previews.yaml").logs["stale-previews: stale-previews"],
        "none",
    )

    # main with a gateway that starts and does not work: staging rolls back, and prod is unchanged.
    sandbox.git("checkout", "--quiet", "-B", "main", "origin/main")
    wrong = '\n  gateway = { environment = { GATEWAY_STATS = "127.0.0.1:9" } }\n'
    text = staging.read_text()
    staging.write_text(
        text[: text.index("services = {")] + "services = {" + wrong + "}\n" + f'architecture = "{HERE}"\n'
    )
    sandbox.commit("a gateway that looks for stats in the wrong place")
    broken = run_push(sandbox)
    expect("its staging", broken.results["staging"], "failure")
    expect("its images", broken.results["images"], "skipped")
    expect("its prod", broken.results["prod"], "skipped")
    expect_text("its smoke test", broken.logs["staging / apply: smoke"], "gave no good answer")
    expect_text("rollback", broken.logs["staging / apply: rollback"], f"{first.sha[:12]} runs in staging")
    expect("whether it was marked as good", "staging / apply: mark-good" in broken.logs, False)

    # A plan of another commit is not applied.
    sandbox.make("plan", 0)
    sandbox.commit("another commit")
    sandbox.make("apply", 64, "is checked out: `make plan` again")

    # prod is not reached without a reviewer.
    staging.write_text(text)
    sandbox.commit("the settings that were good")
    sandbox.github.rules["prod"] = ["branch_policy"]
    unreviewed = run_push(sandbox)
    expect("its prod", unreviewed.results["prod / apply"], "failure")
    expect_text("its prod", unreviewed.logs["prod / apply: apply"], "has no protection rule")
    expect("whether prod was rolled back", "prod / apply: rollback" in unreviewed.logs, False)

    # Nor with another plan than the reviewer has seen: in the four days, a setting has changed.
    sandbox.github.rules["prod"] += ["required_reviewers"]
    prod = sandbox.environments["prod"]
    before = prod.state()
    sandbox.during_review = lambda: prod.change_state('"retention_in_days": 90', '"retention_in_days": 1')
    later = run_push(sandbox)
    sandbox.during_review = lambda: None
    expect("its prod", later.results["prod / apply"], "failure")
    expect_text(
        "its prod",
        later.logs["prod / apply: apply"],
        *("prod has changed since its plan was made 4 days ago", "in a workflow, run all of its jobs again"),
    )
    expect("whether prod was rolled back", "prod / apply: rollback" in later.logs, False)
    prod.write_state(before)

    # Scheduled workflows, and a release.
    daily = WorkflowRun(sandbox, "schedule", "main", {}).execute("drift.yaml")
    expect("every day", set(daily.results.values()), {"success"})
    expect("its roles", set(daily.roles.values()), {"plan-main"})
    expect(
        "every week",
        set(WorkflowRun(sandbox, "schedule", "main", {}).execute("weekly.yaml").results.values()),
        {"success"},
    )
    version = run(
        [sys.executable, "-c", "from tools.supply import release; print(release.version())"], cwd=ROOT
    ).strip()
    changelog = sandbox.repository / "CHANGELOG.md"
    changelog.write_text(changelog.read_text() + f"\n## {version} - 2026-11-25\n\nThe first one.\n")
    sandbox.commit("a release")
    sandbox.commit("the tag", f"v{version}")
    released = WorkflowRun(sandbox, "push", f"v{version}", {}).execute("release.yaml")
    expect("the binaries of a tag that is not on main", released.results["binaries"], "failure")
    expect("the images of a tag that is not on main", released.results["images"], "skipped")
    expect("a tag that is not on main", released.results["release"], "skipped")
    run(["git", "update-ref", f"refs/heads/v{version}", "refs/heads/main"], cwd=sandbox.origin)
    attested = len(sandbox.attested)
    released = WorkflowRun(sandbox, "push", f"v{version}", {}).execute("release.yaml")
    expect("a release", released.results["release"], "success")
    (made,) = sandbox.github.releases
    expect("its name and state", (made["name"], made["draft"]), (f"v{version}", False))
    expect_text("its text", made["body"], "The first one.")
    expect_text("its text", made["body"], f"{REPOSITORY}/releases/download/v{version}/docker-compose.yaml")
    # Two archives, two bills of materials for each service, their sums and the Compose file.
    expect("its files", len(made["assets"]), 4 + 2 * len(services))
    # Three attestations of each image, and one of each archive.
    expect("attestations of a release", len(sandbox.attested) - attested, 2 + 3 * len(services))
    for service in services:
        registry = Registry(f"{sandbox.registry}/{REPOSITORY}/{service}")
        expect(f"the newest {service}", registry.digest_of("latest"), registry.digest_of(version))
        expect(f"whether {service} is published", registry.digest_of(version) is None, False)

    # tools/ci/policies.py checks every role against what calls.tsv lists for it. The last call needs no permission.
    for name, role in policies.ROLES.items():
        made = {
            f"{IAM_PREFIXES.get(service, service)}:{action}"
            for caller, service, action in sandbox.account.calls
            if caller == name
        }
        listed = {call.action for call in policies.calls() if call.kind.startswith("(") and role.makes(call)}
        expect(f"calls of the role {name} that calls.tsv lacks", made - listed, {"sts:GetCallerIdentity"})


def run_push(sandbox: WorkflowSandbox) -> WorkflowRun:
    return WorkflowRun(sandbox, "push", "main", {}).execute("main.yaml")


def run_pull_request(
    sandbox: WorkflowSandbox, file: str = "main.yaml", head: str = REPOSITORY, login: str = "a"
) -> WorkflowRun:
    sha = sandbox.git("rev-parse", "HEAD").strip()
    about = {"number": 7, "user": {"login": login}, "head": {"sha": sha, "repo": {"full_name": head}}}
    return WorkflowRun(sandbox, "pull_request", "topic", {"pull_request": about}).execute(file)


if __name__ == "__main__":
    main(WorkflowSandbox, rehearse)
