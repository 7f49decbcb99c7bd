"""The workflows played on this machine, job by job, as GitHub would: `python3 runner.py BINARIES`.

Jobs, conditions, matrices, environment and targets are read out of .github/workflows. Each job has a
clone of its own, outputs and artifacts go from job to job, and a role is only had where the
workflow asks for one. AWS, the registry and ECS are those of rehearse.py; GitHub is fake_github.py.
"""

from __future__ import annotations

import datetime
import fnmatch
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

from fake_aws import ACCOUNT, HERE, REGION
from fake_github import FakeGitHub
from rehearse import Rehearsal, run

from tools.ci import policies, workflows
from tools.ci.ci import MARKER
from tools.ci.workflows import expressions
from tools.common import catalog, toolchain
from tools.common.toolchain import ROOT
from tools.supply.images import MACHINES
from tools.supply.oci import Registry

REPOSITORY = "acme/system-stats"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
# One target takes 5 to 60 s.
STEP_SECONDS = 240
# As tools/cloud/session.py writes it.
TIME = "%Y-%m-%dT%H:%M:%SZ"
# An approval comes after a weekend.
REVIEW_DAYS = 4
# Targets that contain this test, or that need more than the fakes; only their existence is checked.
ELSEWHERE = {
    "check",
    "test",
    "cold",
    "conform",
    "bench",
    "exporter",
    "bench-check",
    "fuzz",
    "audit",
    "reproducible",
    "test-arm64",
    "outdated",
}
# Programs that a job may start only after an action has installed them.
INSTALLED_BY = {"hashicorp/setup-terraform": "terraform"}
# Services whose actions have another prefix in IAM.
PREFIXES = {"resourcegroupstaggingapi": "tag"}
# Of tf/preconfigured, as each environment's variable AWS_ROLE names it.
ROLES = {
    "": "plan",
    "images": "push",
    "preview": "preview",
    "staging": "deploy",
    "prod": "deploy",
    "release": "",
}


class Wrong(Exception):
    """The workflows do something else than they should."""


class Runner:
    """One run of a workflow, with its artifacts."""

    def __init__(self, scene: Scene, event_name: str, ref: str, event: dict) -> None:
        self.scene, self.ref = scene, ref
        self.workflows = workflows.read(scene.scene.repository / ".github" / "workflows")
        self.sha = run(["git", "rev-parse", f"refs/heads/{ref}"], cwd=scene.origin).strip()
        self.folder = Path(tempfile.mkdtemp(dir=scene.scene.folder, prefix="run-"))
        self.event = self.folder / "event.json"
        self.event.write_text(json.dumps(event))
        # Days since the run began, and the day on which each artifact expires.
        self.day = 0
        self.expires: dict[str, int] = {}
        self.github = {
            "event_name": event_name,
            "event": event,
            "repository": REPOSITORY,
            "ref": f"refs/heads/{ref}",
            "sha": self.sha,
            "run_id": "1",
            "server_url": "https://github.example",
            "token": "a token of this job",
        }
        # Events for later assertions.
        self.results: dict[str, str] = {}
        self.roles: dict[str, str] = {}
        self.said: dict[str, str] = {}
        self.order: list[str] = []

    def play(self, file: str) -> Runner:
        print(f"runner: == {file} for {self.github['event_name']} of {self.ref}", flush=True)
        self._jobs(self.workflows[file], {}, "")
        return self

    def _jobs(self, workflow: workflows.Workflow, inputs: dict, prefix: str) -> tuple[str, dict]:
        results: dict[str, Any] = {}
        outputs: dict[str, dict] = {}
        for name in workflows.run_order(workflow.jobs):
            job = workflow.jobs[name]
            needed = {other: {"result": results[other], "outputs": outputs[other]} for other in workflows.needs(job)}
            context = {"github": self.github, "inputs": inputs, "needs": needed}
            context["vars"] = self._variables("")
            if workflows.decided(workflow.jobs, name, context, results):
                results[name], outputs[name] = self._job(job, context, f"{prefix}{name}")
            else:
                results[name], outputs[name] = "skipped", {}
            self.results[f"{prefix}{name}"] = results[name]
        handed = {}
        for key, about in (workflow.call.get("outputs") or {}).items():
            seen = {"jobs": {name: {"outputs": found} for name, found in outputs.items()}}
            handed[key] = expressions.written(expressions.fill(about["value"], seen))
        bad = "failure" in results.values()
        return "failure" if bad else "success", handed

    def _variables(self, environment: str) -> dict:
        """The settings of the repository, and over them those of an environment."""
        role = ROLES[environment]
        arn = f"arn:aws:iam::{ACCOUNT}:role/"
        return {
            "AWS_REGION": REGION,
            "AWS_ROLE": role and f"{arn}{role}",
            "AWS_ROLE_MAIN": f"{arn}plan-main",
        }

    def _job(self, job: dict, context: dict, name: str) -> tuple[str, dict]:
        matrix = (job.get("strategy") or {}).get("matrix") or {}
        lists = {
            key: expressions.fill(value, context) if isinstance(value, str) else value
            for key, value in matrix.items()
            if key != "include"
        }
        entries = [dict(zip(lists, each)) for each in itertools.product(*lists.values())]
        entries = matrix.get("include") or entries
        # Once is enough for what differs in the machine only.
        if is_elsewhere(job) and name in self.scene.played:
            entries = entries[:1]
        self.scene.played.add(name)
        results, outputs = [], {}
        for entry in entries:
            one = f"{name} {' '.join(map(str, entry.values()))}".strip()
            seen = {**context, "matrix": entry}
            callee = workflows.called(job)
            if callee:
                inputs = {k: v.get("default", "") for k, v in self.workflows[callee].call.get("inputs", {}).items()}
                inputs.update({k: expressions.fill(v, seen) for k, v in job.get("with", {}).items()})
                result, outputs = self._jobs(self.workflows[callee], inputs, f"{one} / ")
            else:
                result, outputs = Job(self, job, seen, one).play()
            results.append(result)
            self.results[one] = result
        return "failure" if "failure" in results else "success", outputs


def is_elsewhere(job: dict) -> bool:
    """Whether nothing is done in a job but what these rehearsals leave out."""
    lines = "\n".join(step["run"].strip() for step in job.get("steps", []) if "run" in step).splitlines()
    return bool(lines) and all(workflows.RUN.fullmatch(line.strip())[1] in ELSEWHERE for line in lines)


class Job:
    """One job on a machine of its own."""

    def __init__(self, runner: Runner, job: dict, context: dict, name: str) -> None:
        self.runner, self.job, self.name = runner, job, name
        self.scene = runner.scene
        environment = job.get("environment", {})
        place = expressions.fill(environment.get("name", ""), {**context, "env": {}})
        self.context = {
            **context,
            "vars": runner._variables(place),
            "runner": {"os": "Linux", "arch": "X64"},
            "steps": {},
        }
        if "required_reviewers" in self.scene.github.rules.get(place, []):
            self.runner.day += self.scene.review()
        self.env = self._filled(job.get("env", {}), self.context)
        self.place = runner.folder / name.replace("/", "-").replace(" ", "")
        self.state: dict[str, str] = {}
        self.installed: set[str] = set()
        self.failed = False
        runner.order.append(name)

    def _filled(self, values: dict, context: dict) -> dict[str, str]:
        return {k: expressions.written(expressions.fill(v, context)) for k, v in values.items()}

    def may(self, scope: str) -> bool:
        return (self.job.get("permissions") or {}).get(scope) == "write"

    def play(self) -> tuple[str, dict]:
        for number, step in enumerate(self.job["steps"]):
            before = ["failure" if self.failed else "success"]
            seen = {**self.context, "env": self.env, "status": workflows.statuses(before)}
            runs = expressions.condition(step.get("if", ""), seen)
            outcome, outputs = self._step(step, seen, number) if runs else ("skipped", {})
            self.failed = self.failed or outcome == "failure"
            if "id" in step:
                self.context["steps"][step["id"]] = {"outcome": outcome, "outputs": outputs}
        outputs = self._filled(self.job.get("outputs", {}), self.context)
        return "failure" if self.failed else "success", outputs

    def _step(self, step: dict, seen: dict, number: int) -> tuple[str, dict]:
        settings = self._filled(step.get("with", {}), seen)
        if "run" in step:
            env = {**self.env, **self._filled(step.get("env", {}), seen)}
            # The name of AWS's registry leads nowhere.
            env = {k: v.replace(REGISTRY, self.scene.scene.registry) for k, v in env.items()}
            return self._run(step["run"], env, number)
        action = step["uses"].split("@")[0]
        self.installed.add(INSTALLED_BY.get(action, ""))
        if action not in ACTIONS:
            raise Wrong(f"{self.name}: no fake for {action}")
        return "success", ACTIONS[action](self, settings) or {}

    def _run(self, text: str, env: dict[str, str], number: int) -> tuple[str, dict]:
        for line in text.strip().splitlines():
            target = workflows.RUN.fullmatch(line.strip())[1]
            output, page = self.place.parent / f"{number}.out", self.place.parent / f"{number}.md"
            output.write_text("")
            environment = {
                **self.scene.variables(),
                **self.state,
                **env,
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": self.scene.github.url,
                "GITHUB_EVENT_PATH": str(self.runner.event),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_REF_NAME": self.runner.ref,
                "GITHUB_REPOSITORY": REPOSITORY,
                # In place of ghcr.io.
                "REGISTRY": self.scene.scene.registry,
                "GITHUB_RUN_NUMBER": "5",
                "GITHUB_STEP_SUMMARY": str(page),
            }
            environment["PATH"] = self.scene.path(self.installed)
            begun = time.monotonic()
            code, said = self._target(target, line, environment)
            self.runner.said[f"{self.name}: {target}"] = said
            spent = f"{time.monotonic() - begun:5.1f} s"
            print(f"runner: {self.name:<34} make {target:<9} {code:>3} after {spent}", flush=True)
            self.scene.check(said)
            if code:
                print("\n".join(f"    {one}" for one in said.splitlines()[-6:]), flush=True)
                return "failure", {}
        pairs = [one.split("=", 1) for one in output.read_text().splitlines()]
        return "success", dict(pairs)

    def _target(self, target: str, line: str, environment: dict[str, str]) -> tuple[int, str]:
        folder, command = self.place, shlex.split(line)
        if target in ELSEWHERE:
            command.insert(1, "--dry-run")
        url = self.scene.url(self.env.get("ENV", ""))
        if target in ("smoke", "rollback"):
            # The name that the load balancer was given here leads nowhere.
            environment = {**environment, "URL": url}
        if target == "screenshot":
            # Its tools are not in the clone; the target is the same.
            folder, environment = ROOT, {**environment, "URL": self.scene.url("pr-7")}
        done = subprocess.run(
            command,
            cwd=folder,
            env={k: v for k, v in environment.items() if v != ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
        )
        if target == "test":
            report = "report.report({'a part': 1.0}, '', Path('target'))"
            told = f"from pathlib import Path; from tools.ci import report; {report}"
            run([sys.executable, "-c", told], cwd=self.place)
        if target == "bench":
            # It would take half an hour. bench/test_run.py has the place of the report.
            folder = self.place / "target" / "bench" / "report"
            folder.mkdir(parents=True)
            (folder / "README.md").write_text("# Benchmarks\n")
        if target == "screenshot":
            (self.place / "target" / "report").mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "target/report/page.png", self.place / "target/report/page.png")
        return done.returncode, done.stdout

    # Actions.

    def checkout(self, settings: dict) -> None:
        if settings.get("persist-credentials") != "false":
            raise Wrong(f"{self.name}: the token stays in the clone")
        run(["git", "init", "--quiet", str(self.place)])
        run(["git", "remote", "add", "origin", f"file://{self.scene.origin}"], cwd=self.place)
        whole = settings.get("fetch-depth") == "0"
        wanted = ["+refs/heads/*:refs/remotes/origin/*"] if whole else ["--depth", "1"]
        reference = f"+refs/heads/{self.runner.ref}:refs/remotes/origin/{self.runner.ref}"
        run(["git", "fetch", "--quiet", "origin", *wanted, reference], cwd=self.place)
        run(["git", "checkout", "--quiet", "--detach", self.runner.sha], cwd=self.place)
        (self.place / ".tools").mkdir()
        # Tools for deployments and the crate lists; the browser's tests would take minutes each time.
        for name in ("aws", "bin", "requirements", "route", "sigstore", "stamp", "uv"):
            (self.place / ".tools" / name).symlink_to((toolchain.TOOLS / name).resolve())

    def sign_in(self, settings: dict) -> None:
        role = settings["role-to-assume"].rpartition("/")[2]
        if not self.may("id-token") or not role:
            raise Wrong(f"{self.name}: it must not assume the role {role!r}")
        self.state = {"AWS_ACCESS_KEY_ID": role, "AWS_SECRET_ACCESS_KEY": "of this job"}
        self.runner.roles[self.name] = role

    def sign_in_to_registry(self, settings: dict) -> None:
        if settings["registry"] != "ghcr.io" or not self.may("packages"):
            raise Wrong(f"{self.name}: it signs in to {settings['registry']} and may not")

    def keep(self, settings: dict) -> dict:
        source, goal = self.place / settings["path"], self.runner.folder / "kept" / settings["name"]
        if not source.exists() or (source.is_dir() and not any(source.iterdir())):
            if settings.get("if-no-files-found") == "error":
                raise Wrong(f"{self.name}: there is no {settings['path']}")
            return {}
        shutil.rmtree(goal, ignore_errors=True)
        goal.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, goal, dirs_exist_ok=True)
        else:
            shutil.copy(source, goal)
        self.runner.expires[goal.name] = self.runner.day + int(settings.get("retention-days", "90"))
        return {"artifact-url": f"https://github.example/artifacts/{settings['name']}"}

    def fetch(self, settings: dict) -> None:
        wanted = settings.get("name") or settings["pattern"]
        goal = self.place / settings["path"]
        goal.mkdir(parents=True, exist_ok=True)
        found = [
            one
            for one in (self.runner.folder / "kept").iterdir()
            if fnmatch.fnmatchcase(one.name, wanted) and self.runner.day < self.runner.expires[one.name]
        ]
        if not found:
            raise Wrong(f"{self.name}: there is no artifact {wanted}")
        for one in found:
            shutil.copytree(one, goal, dirs_exist_ok=True)
        # Time does not pass here, so the plan is made older instead.
        for file in goal.glob("**/planned.json"):
            planned = json.loads(file.read_text())
            made = datetime.datetime.strptime(planned["release"]["time"], TIME)
            made -= datetime.timedelta(days=self.runner.day)
            planned["release"]["time"] = made.strftime(TIME)
            file.write_text(json.dumps(planned))

    def attest(self, settings: dict) -> None:
        if not (self.may("id-token") and self.may("attestations")):
            raise Wrong(f"{self.name}: it attests and may not")
        if "subject-path" in settings:
            subjects = [str(one) for one in self.place.glob(settings["subject-path"])]
        else:
            name, digest = settings["subject-name"], settings["subject-digest"]
            subjects = [f"{name}@{digest}"] if Registry(name).digest_of(digest) == digest else []
            bill = settings.get("sbom-path")
            if bill and json.loads((self.place / bill).read_text())["bomFormat"] != "CycloneDX":
                subjects = []
        if not subjects:
            raise Wrong(f"{self.name}: there is nothing to attest: {settings}")
        self.scene.attested += subjects


ACTIONS = {
    "actions/attest": Job.attest,
    "actions/cache": lambda _job, _settings: None,
    "actions/checkout": Job.checkout,
    "actions/download-artifact": Job.fetch,
    "actions/upload-artifact": Job.keep,
    "aws-actions/amazon-ecr-login": lambda _job, _settings: None,
    "aws-actions/configure-aws-credentials": Job.sign_in,
    "docker/login-action": Job.sign_in_to_registry,
    "hashicorp/setup-terraform": lambda _job, _settings: None,
}


class Scene:
    """An account that is prepared, a repository with its branches, and what has happened there."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.scene = Rehearsal(folder, binaries)
        self.github = FakeGitHub()
        self.attested: list[str] = []
        # Names of the jobs that have run.
        self.played: set[str] = set()
        # What happens while a job waits for its review.
        self.meanwhile: Callable[[], None] = lambda: None
        self.origin = folder / "origin.git"

    def build(self) -> None:
        self.scene.build_scene()
        self.environments = {"staging": self.scene.aws}
        self.environments.update({name: self.scene.open_aws(name) for name in ("prod", "pr-7")})
        self.scene.make("bootstrap", 0, "the state is in the bucket now")
        # By hand, once: what previews share.
        self.scene.make("deploy", 0, "previews have a port each", ENV="preview")

    def variables(self) -> dict[str, str]:
        """Variables that direct the targets to the fakes; only a role has credentials."""
        without = ("ENV", "URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        kept = {k: v for k, v in self.scene.variables.items() if k not in without}
        return {k: v for k, v in kept.items() if not k.startswith("GITHUB_")}

    def path(self, installed: set[str]) -> str:
        """PATH without the programs that only an action installs."""
        absent = sorted(set(INSTALLED_BY.values()) - installed)
        folder = self.scene.folder / "-".join(["path", *absent])
        if not folder.exists():
            folder.mkdir()
            for place in os.environ["PATH"].split(os.pathsep):
                for program in Path(place).iterdir() if Path(place).is_dir() else ():
                    if program.name not in absent and not (folder / program.name).is_symlink():
                        (folder / program.name).symlink_to(program)
        return str(folder)

    def url(self, environment: str) -> str:
        return self.environments.get(environment, self.environments["staging"]).url

    def review(self) -> int:
        """The days until a job is approved."""
        self.meanwhile()
        return REVIEW_DAYS

    def check(self, said: str) -> None:
        if self.scene.account.trouble:
            raise Wrong(f"{self.scene.account.trouble[:3]}\n{said}")

    def push(self, branch: str, message: str) -> None:
        self.scene.git("add", "--all")
        self.scene.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.scene.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")

    def pushed(self) -> Runner:
        return Runner(self, "push", "main", {}).play("main.yaml")

    def pull_request(self, file: str = "main.yaml", head: str = REPOSITORY, login: str = "a") -> Runner:
        sha = self.scene.git("rev-parse", "HEAD").strip()
        about = {
            "number": 7,
            "user": {"login": login},
            "head": {"sha": sha, "repo": {"full_name": head}},
        }
        return Runner(self, "pull_request", "topic", {"pull_request": about}).play(file)

    def end(self) -> None:
        self.scene.end()
        self.github.end()


def expect(what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, and not {wanted!r}")
    print(f"runner: {what}: as it should be", flush=True)


def says(what: str, text: str, *needles: str) -> None:
    missing = [needle for needle in needles if needle not in text]
    expect(f"{what} says {', '.join(needles)}", missing, [])


def play(scene: Scene) -> None:
    staging = scene.scene.repository / "tf" / "environments" / "staging" / "terraform.tfvars"

    # main, for the first time: everything is pushed for both processors, staging comes before prod.
    scene.github.waiting = [{"run_number": number, "id": number * 10} for number in (4, 6)]
    first = scene.pushed()
    expect("the runs that waited for an approval and ended", scene.github.cancelled, [40])
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
    says("prod, approved later", first.said["prod / apply: apply"], "plan that was made 4 days ago")
    expect("attestations: provenance and bill of materials", len(scene.attested), 3 * len(services))
    for image in scene.attested[::3]:
        address, _, digest = image.partition("@")
        registry = Registry(address)
        found = {registry.manifest(digest, one)["config"]["digest"] for one in MACHINES}
        expect(f"{address.rpartition('/')[2]} for two processors", len(found), 2)

    # A pull request that changes one service: that one is pushed, apart, and all of it is seen.
    scene.github.open.add(7)
    scene.github.comments.append(
        {"id": 0, "body": f"{MARKER}\nnot a workflow's", "user": {"login": "b", "type": "User"}}
    )
    scene.scene.touch("stats")
    scene.push("topic", "another stats")
    opened = scene.pull_request()
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
    made = json.loads(scene.environments["pr-7"].state())["resources"]
    kinds = {one["type"] for one in made if one["mode"] == "managed"}
    expect("what a preview makes and its role may not", kinds - policies.OF_PREVIEW, set())
    scene.scene.make("destroy", 64, "is used by pr-7", ENV="preview", CONFIRM="preview")
    expect("where it is pushed", "/system-stats/preview/stats@" in scene.attested[-1], True)
    expect("the comments", [one["user"]["type"] for one in scene.github.comments], ["User", "Bot"])
    says(
        "the comment",
        scene.github.comments[1]["body"],
        *("## Preview: http", "artifacts/screenshot", "**Plan of pr-7**: ", " new", "| stats | "),
        *("| together | ", "**Tests on "),
    )

    # At night it is stopped, and that is no failure.
    preview = scene.environments["pr-7"]
    preview.asleep = True
    scene.scene.make("status", 0, "stopped by its schedule", "pr-7 sleeps", ENV="pr-7")
    preview.asleep = False

    # A further push that changes no image: the same comment, and nothing is pushed.
    (scene.scene.repository / "a-word").write_text("another\n")
    scene.push("topic", "a word")
    again = scene.pull_request()
    expect("its images", again.results["images"], "skipped")
    expect("its preview", again.results["preview"], "success")
    expect("the comments", len(scene.github.comments), 2)
    sha = scene.scene.git("rev-parse", "HEAD").strip()
    says("the comment", scene.github.comments[1]["body"], sha)

    # A pull request of a fork, and of Dependabot: tests and a plan, without a role or a token.
    tokens = set(scene.github.tokens)
    for head, login in workflows.FORKS:
        stranger = scene.pull_request(head=head.replace("acme/system-stats", REPOSITORY), login=login)
        ran = {name.split(" ")[0] for name in stranger.order}
        expect(f"what runs for {login}", ran, {"test", "plan-offline"})
        expect(f"the roles of {login}", stranger.roles, {})
        says("its plan", stranger.said["plan-offline: plan-offline"], "module.app.aws_lb_listener.http", "1 passed")
    expect("the tokens that were used", scene.github.tokens, tokens)

    # Its pull request was closed, and no workflow ran: the night finds it.
    scene.github.open.clear()
    swept = Runner(scene, "schedule", "main", {}).play("previews.yaml")
    expect("the sweep", swept.roles, {"stale-previews": "plan-main", "sweep pr-7 / destroy": "preview"})
    says("the sweep", swept.said["sweep pr-7 / destroy: destroy"], "Destroy complete!")
    expect(
        "what is left",
        scene.environments["pr-7"].state(),
        "",
    )
    closed = scene.pull_request("previews.yaml")
    expect("closing", closed.results["closed"], "success")
    says("closing", closed.said["closed / destroy: destroy"], "pr-7 is not deployed")
    says(
        "the night after",
        Runner(scene, "schedule", "main", {}).play("previews.yaml").said["stale-previews: stale-previews"],
        "none",
    )

    # main with a gateway that starts and does not work: staging rolls back, and prod is unchanged.
    scene.scene.git("checkout", "--quiet", "-B", "main", "origin/main")
    wrong = '\n  gateway = { environment = { GATEWAY_STATS = "127.0.0.1:9" } }\n'
    text = staging.read_text()
    staging.write_text(
        text[: text.index("services = {")] + "services = {" + wrong + "}\n" + f'architecture = "{HERE}"\n'
    )
    scene.push("main", "a gateway that looks for stats in the wrong place")
    broken = scene.pushed()
    expect("its staging", broken.results["staging"], "failure")
    expect("its images", broken.results["images"], "skipped")
    expect("its prod", broken.results["prod"], "skipped")
    says("its smoke test", broken.said["staging / apply: smoke"], "gave no good answer")
    says("rollback", broken.said["staging / apply: rollback"], f"{first.sha[:12]} runs in staging")
    expect("whether it was marked as good", "staging / apply: mark-good" in broken.said, False)

    # A plan of another commit is not applied.
    says("a stale plan", stale(scene), "is checked out: `make plan` again")

    # prod is not reached without a reviewer.
    staging.write_text(text)
    scene.push("main", "the settings that were good")
    scene.github.rules["prod"] = ["branch_policy"]
    unasked = scene.pushed()
    expect("its prod", unasked.results["prod / apply"], "failure")
    says("its prod", unasked.said["prod / apply: apply"], "has no protection rule")

    # Nor with another plan than the reviewer has seen: in the four days, a setting has changed.
    scene.github.rules["prod"] += ["required_reviewers"]
    prod = scene.environments["prod"]
    before = prod.state()
    scene.meanwhile = lambda: prod.change_state('"retention_in_days": 90', '"retention_in_days": 1')
    later = scene.pushed()
    scene.meanwhile = lambda: None
    expect("its prod", later.results["prod / apply"], "failure")
    says(
        "its prod",
        later.said["prod / apply: apply"],
        *("prod has changed since its plan was made 4 days ago", "in a workflow, run all of its jobs again"),
    )
    prod.write_state(before)

    # Scheduled workflows, and a release.
    daily = Runner(scene, "schedule", "main", {}).play("drift.yaml")
    expect("every day", set(daily.results.values()), {"success"})
    expect("its roles", set(daily.roles.values()), {"plan-main"})
    expect(
        "every week",
        set(Runner(scene, "schedule", "main", {}).play("weekly.yaml").results.values()),
        {"success"},
    )
    version = run(
        [sys.executable, "-c", "from tools.supply import release; print(release.version())"], cwd=ROOT
    ).strip()
    changelog = scene.scene.repository / "CHANGELOG.md"
    changelog.write_text(changelog.read_text() + f"\n## {version} - 2026-11-25\n\nThe first one.\n")
    scene.push("main", "a release")
    scene.push(f"v{version}", "the tag")
    released = Runner(scene, "push", f"v{version}", {}).play("release.yaml")
    expect("the images of a tag that is not on main", released.results["images"], "failure")
    expect("a tag that is not on main", released.results["release"], "skipped")
    run(["git", "update-ref", f"refs/heads/v{version}", "refs/heads/main"], cwd=scene.origin)
    attested = len(scene.attested)
    released = Runner(scene, "push", f"v{version}", {}).play("release.yaml")
    expect("a release", released.results["release"], "success")
    (made,) = scene.github.releases
    expect("its name and state", (made["name"], made["draft"]), (f"v{version}", False))
    says("its text", made["body"], "The first one.")
    says("its text", made["body"], f"{REPOSITORY}/releases/download/v{version}/docker-compose.yaml")
    # Two archives, two bills of materials for each service, their sums and the Compose file.
    expect("its files", len(made["assets"]), 4 + 2 * len(services))
    # Three things said of each image, and one of each archive.
    expect("attestations of a release", len(scene.attested) - attested, 2 + 3 * len(services))
    for service in services:
        registry = Registry(f"{scene.scene.registry}/{REPOSITORY}/{service}")
        expect(f"the newest {service}", registry.digest_of("latest"), registry.digest_of(version))
        expect(f"whether {service} is published", registry.digest_of(version) is None, False)

    # tools/ci/policies.py checks every role against what calls.tsv lists. The last call needs no permission.
    made = {
        (PREFIXES.get(service, service), action)
        for caller, service, action in scene.scene.account.calls
        if caller in ROLES.values()
    }
    listed = {call.action for call in policies.calls() if call.kind == "(commands)"}
    unlisted = {f"{service}:{action}" for service, action in made} - listed
    expect("calls of the roles that calls.tsv lacks", unlisted, {"sts:GetCallerIdentity"})


def stale(scene: Scene) -> str:
    """The message when a plan of another commit is applied."""
    environment = {**scene.variables(), "ENV": "staging"}
    environment.update(AWS_ACCESS_KEY_ID="rehearsal", AWS_SECRET_ACCESS_KEY="rehearsal")
    for target in ("plan", "apply"):
        done = subprocess.run(
            ["make", target],
            cwd=scene.scene.repository,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
        )
        expect(f"whether {target} ends well", done.returncode == 0, target == "plan")
        scene.push("main", "another commit")
    return done.stdout


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: runner.py BINARIES", file=sys.stderr)
        return 64
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="runner-") as folder:
        scene = Scene(Path(folder), Path(arguments[0]).resolve())
        try:
            scene.build()
            play(scene)
        except Wrong as error:
            print(f"runner: {error}", file=sys.stderr)
            return 1
        finally:
            scene.end()
    print(f"runner: all as it should be, after {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
