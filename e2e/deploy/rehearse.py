"""The whole of `make deploy ENV=staging` on this machine, with nothing of AWS.

    python3 e2e/deploy/rehearse.py BINARIES

run under a fake of Terraform's provider. AWS is fake_aws.py, the registry is Debian's (sandbox.py);
everything else, from the make targets and Terraform to the images, the services and the smoke test, is real.
BINARIES is the folder of the three finished static binaries.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from attestations import rehearse_attestations
from fake_aws import HERE
from sandbox import Sandbox, main

from tools.supply.images import MACHINES

# Enough 5xx for the alarm from half of the requests.
VISIT_SECONDS = 0.05


def rehearse(sandbox: Sandbox) -> None:
    make = sandbox.make
    staging = sandbox.repository / "tf" / "environments" / "staging" / "terraform.tfvars"

    # Refused, each in one sentence, before anything is touched.
    make("deploy", 64, "there is no environment 'moon'; there are dev, preview, prod, staging", ENV="moon")
    make("deploy", 64, "which environment?", ENV="")
    make("deploy", 64, "no usable AWS credentials", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    make("deploy", 64, "prod needs CONFIRM=prod", ENV="prod")
    (sandbox.repository / "new-file").write_text("not committed\n")
    make("deploy", 64, "changes that are not committed")
    (sandbox.repository / "new-file").unlink()
    sandbox.git("commit", "--quiet", "--allow-empty", "--message", "not pushed")
    make("deploy", 64, "is on no remote branch")
    sandbox.git("reset", "--quiet", "--hard", "HEAD~1")
    text = staging.read_text()
    staging.write_text(text + '\naccount_id = "999999999999"\n')
    make("deploy", 64, "belongs to the account 999999999999, and these credentials are of 123456789012")
    # The same with a role there: the account is reached, and has no bucket of states.
    staging.write_text(text + '\naccount_id = "999999999999"\naccount_role = "system-stats-deploy"\n')
    make("status", 64, "the account 999999999999 is not prepared")
    staging.write_text(text)
    make("rollback", 64, "is not prepared: run `make bootstrap` first")
    make("deploy", 64, "is not prepared: run `make bootstrap` with an administrator's credentials")

    # The account, twice; a deployment that is interrupted three times, and then succeeds.
    linked = "created the service-linked role of ecs.amazonaws.com"
    make("bootstrap", 0, linked, "the state is in the bucket now", "No workflow may sign in")
    again = make("bootstrap", 0, "the account matches tf/preconfigured")
    assert linked not in again
    first = sandbox.git("rev-parse", "HEAD").strip()
    make("deploy", 130, "interrupted", until="frontend: pushing")
    make("deploy", 130, "interrupted", until='module.app.aws_lb.this["own"]: Creating...')
    make("deploy", 130, "interrupted", until="== wait until it runs")
    make("deploy", 0, "the registry has all three", "nothing to apply", "gateway: ", f"{first[:12]} runs in staging")
    sandbox.expect_stats()
    make("rollback", 64, "has had no version before this one")
    # The same again changes nothing.
    again = make(
        "deploy", 0, "the registry has all three", "No changes.", "nothing to apply", f"{first[:12]} runs in staging"
    )
    assert "pushing" not in again and "build:" not in again
    make("status", 0, f"staging: {first}", "proven")
    make("logs", 130, "frontend  ", "stats     ", until="stats     ")
    make("cost", 0, "together, US dollars a month")
    make("plan", 0, "a deployment would change nothing")

    rehearse_previews(sandbox)
    rehearse_drift(sandbox)
    make("run", 64, "S must be one of", S="moon")
    make("run", 0, "stats --version: task ", "stats ", S="stats", CMD="--version")
    make("run", 1, "exit code 64", S="stats", CMD="--nonsense")

    # A second version that is good, and back from it.
    staging.write_text(
        staging.read_text().replace("log_retention_days = 14", 'log_retention_days = 14\nlog_level = "debug"')
    )
    second = sandbox.commit("a second version, with a setting of its own")
    make("deploy", 0, "Plan:", f"{second[:12]} runs in staging")
    make("rollback", 0, f"{second[:12]} -> {first[:12]}", f"{first[:12]} runs in staging")
    make("status", 0, f"staging: {first}")
    make("deploy", 0, f"{second[:12]} runs in staging")
    second = rehearse_attestations(sandbox, staging) or second

    second = rehearse_canary(sandbox, staging)

    # A version that does not start, before traffic is shifted: ECS stops it, the target reports the reason and
    # restores the one before.
    broken = sandbox.folder / "broken"
    shutil.copytree(sandbox.variables["BINARIES"], broken)
    shutil.copy2(shutil.which("false"), broken / MACHINES[HERE] / "gateway")
    sandbox.touch("gateway")
    bad = sandbox.commit("a gateway that does not start")
    make(
        "deploy",
        1,
        "gateway: ECS rolled back to",
        "a task stopped: Essential container in task exited",
        "container gateway: exit code 1",
        f"restoring {second[:12]}",
        f"{bad[:12]} was not good; {second[:12]} is back and proven",
        BINARIES=str(broken),
    )
    sandbox.expect_stats()
    make("status", 0, f"staging: {second}")

    # A version that starts, and does not work: the smoke test fails. Its settings are restored
    # with it.
    staging.write_text(
        staging.read_text() + '\nservices = {\n  gateway = { environment = { GATEWAY_STATS = "127.0.0.1:9" } }\n}\n'
    )
    staging.write_text(
        re.sub(r"\nservices = \{\n  stats .*?\n\}\n", "\n", staging.read_text(), count=1, flags=re.DOTALL)
    )
    sandbox.touch("gateway")
    wrong = sandbox.commit("a gateway that looks for stats in the wrong place")
    make("deploy", 1, "/stats gave no good answer", f"{wrong[:12]} was not good; {second[:12]} is back and proven")
    sandbox.expect_stats()

    # And nothing is left.
    make("destroy", 64, "destroying staging needs CONFIRM=staging")
    make("destroy", 0, "Destroy complete!", CONFIRM="staging")
    make("status", 0, "staging is not deployed")
    deadline = time.monotonic() + 30
    while sandbox.aws.services:
        assert time.monotonic() < deadline, "tasks run although the environment is gone"
        time.sleep(0.2)


def rehearse_previews(sandbox: Sandbox) -> None:
    """The shared part of previews, and the cost of one; runner.py deploys a preview."""
    missing = "is not deployed: run `make deploy ENV=preview` first"
    sandbox.make("plan", 64, "pr-3 uses the network", missing, ENV="pr-3")
    sandbox.make("logs", 64, "preview is what previews share and runs no services", ENV="preview")
    sandbox.make("deploy", 0, "previews have a port each at system-stats-preview-", ENV="preview")
    sandbox.make("deploy", 0, "No changes.", ENV="preview")
    sandbox.make("status", 0, "used by no preview", ENV="preview")
    sandbox.make("drift", 0, "preview is what was deployed", ENV="preview")
    sandbox.make("cost", 0, "load balancer", "private zone", ENV="preview")
    text = sandbox.make("cost", 0, "65 of 168 hours a week", "public addresses", ENV="pr-3")
    dollars = float(text.rstrip().rsplit(" ", 1)[-1])
    if "\n  load balancer" in text or not 5 < dollars < 10:
        raise SystemExit(f"rehearsal: a preview costs {dollars} dollars, or has a load balancer")
    sandbox.make("destroy", 64, "needs CONFIRM=preview", ENV="preview")
    sandbox.make("destroy", 0, "Destroy complete!", ENV="preview", CONFIRM="preview")
    sandbox.make("status", 0, "preview is not deployed", ENV="preview")


def rehearse_drift(sandbox: Sandbox) -> None:
    """A setting changes outside of Terraform, and a resource remains that is in no state."""
    sns, tags = sandbox.account.client("sns"), {"application": "system-stats", "environment": "staging"}
    orphan, managed = (
        sns.create_topic(
            Name=f"system-stats-staging-{name}", Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
        )["TopicArn"]
        for name in ("old", "alarms")
    )
    good = sandbox.aws.change_state('"retention_in_days": 14', '"retention_in_days": 1')
    text = sandbox.make(
        "drift",
        1,
        'module.app.aws_cloudwatch_log_group.this["gateway"] differs from the code: retention_in_days',
        f"{orphan} is in no state",
    )
    assert f"{managed} is in no state" not in text, text
    sandbox.aws.write_state(good)
    sns.delete_topic(TopicArn=orphan)
    sandbox.make("drift", 0, "staging is what was deployed, and nothing else is there")


def rehearse_canary(sandbox: Sandbox, staging: Path) -> str:
    """A part of the traffic goes to the new tasks first, and their 5xx bring all of it back."""
    make, before = sandbox.make, staging.read_text()
    shift = '{ strategy = "CANARY", percent = 50, minutes = 5, bake_minutes = 1 }'
    gateway = "gateway  = { replicas = 2, spot_percent = 50"
    assert gateway in before
    good = before.replace(gateway, f'{gateway}, deployment = {shift}, environment = {{ LOG_LEVEL = "warn" }}')
    staging.write_text(good)
    first = sandbox.commit("a gateway whose traffic is shifted")
    with Visitors(f"{sandbox.aws.url}/stats") as visitors:
        make("deploy", 0, "2 of 2 tasks run, 2 of the version before", f"{first[:12]} runs in staging")
    visitors.expect_failures("a good version", 0, 0)
    images = sandbox.outputs()["images"]
    rehearse_way_back(sandbox, staging, before)

    staging.write_text(good.replace("environment = { ", 'environment = { GATEWAY_STATS = "127.0.0.1:9", '))
    sandbox.touch("gateway")
    bad = sandbox.commit("a gateway that looks for stats in the wrong place, for half of the requests")
    with Visitors(f"{sandbox.aws.url}/stats") as visitors:
        make(
            "deploy",
            1,
            "gateway: ECS rolled back to",
            "alarm system-stats-staging-gateway-errors was triggered",
            f"restoring {first[:12]}",
            f"{bad[:12]} was not good; {first[:12]} is back and proven",
        )
    # Until the alarm, half of the requests failed, and never all of them.
    visitors.expect_failures("a bad version", 5, 60)
    sandbox.expect_stats()
    outputs = sandbox.outputs()
    assert (outputs["release"], outputs["images"]) == (first, images), outputs
    assert "127.0.0.1:9" not in sandbox.aws.state()
    make("status", 0, f"staging: {first}")
    staging.write_text(good)
    return first


def rehearse_way_back(sandbox: Sandbox, staging: Path, rolling: str) -> None:
    """A rolling deployment is refused while the second target group has the traffic."""
    shifting = staging.read_text()
    text = sandbox.aws.state()
    state = json.loads(text)
    (rule,) = (one for one in state["resources"] if (one["type"], one["name"]) == ("aws_lb_listener_rule", "shifted"))
    for group in rule["instances"][0]["attributes"]["action"][0]["forward"][0]["target_group"]:
        group["weight"] = 100 - group["weight"]
    sandbox.aws.write_state(json.dumps(state))
    staging.write_text(rolling)
    sandbox.commit("no shift any more")
    sandbox.make("deploy", 64, "the second target group of gateway has the traffic")
    sandbox.aws.write_state(text)
    sandbox.git("reset", "--quiet", "--hard", "HEAD~1")
    sandbox.git("push", "--quiet", "--force", "origin", "HEAD:main")
    assert staging.read_text() == shifting


class Visitors:
    """Requests to a URL for as long as a block takes, and how many of them failed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: list[int] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._visit, daemon=True)

    def __enter__(self) -> Visitors:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self.thread.join(timeout=30)

    def _visit(self) -> None:
        while not self.over.wait(VISIT_SECONDS):
            try:
                with urllib.request.urlopen(self.url, timeout=10) as response:
                    self.statuses.append(response.status)
            except urllib.error.HTTPError as error:
                self.statuses.append(error.code)
            except OSError:
                self.statuses.append(0)

    def expect_failures(self, title: str, least: int, most: int) -> None:
        """The number of requests that failed, and their share from the first to the last of them in percent."""
        failed = [number for number, status in enumerate(self.statuses) if status != 200]
        share = 100 * len(failed) // (failed[-1] - failed[0] + 1) if failed else 0
        print(
            f"rehearsal: {title}: {len(failed)} of {len(self.statuses)} requests failed, {share} percent meanwhile",
            flush=True,
        )
        if len(failed) < least or share > most:
            raise SystemExit(f"rehearsal: {title}: not {least} or more, and at most {most} percent")


if __name__ == "__main__":
    main(Sandbox, rehearse)
