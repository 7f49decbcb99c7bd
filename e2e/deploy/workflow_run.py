"""The execution of one workflow: jobs, conditions, matrices and steps, as on GitHub.

Each job has a clone of its own, outputs and artifacts go from job to job, and a role is only had where the
workflow asks for one.
"""

from __future__ import annotations

import datetime
import itertools
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fake_aws import ACCOUNT, REGION
from sandbox import link_tools, run
from workflow_sandbox import INSTALLED_BY, REPOSITORY, Unexpected, WorkflowSandbox

from tools.ci import workflows
from tools.ci.workflows import expressions
from tools.common.toolchain import ROOT
from tools.supply.oci import Registry

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
# One target takes 5 to 60 s.
STEP_SECONDS = 240
# As tools/cloud/session.py writes it.
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
# Targets that contain this test, or that need more than the fakes; only their existence is checked.
TESTED_ELSEWHERE = {
    *("check", "test", "cold", "conform", "bench", "exporter"),
    *("bench-check", "fuzz", "audit", "reproducible", "test-arm64", "outdated"),
}
# Of tf/preconfigured, as each environment's variable AWS_ROLE names it.
ROLES = {"": "plan", "images": "push", "preview": "preview", "staging": "deploy", "prod": "deploy", "release": ""}


class WorkflowRun:
    """One run of a workflow, with its artifacts."""

    def __init__(self, sandbox: WorkflowSandbox, event_name: str, ref: str, event: dict) -> None:
        self.sandbox, self.ref = sandbox, ref
        self.workflows = workflows.read(sandbox.repository / ".github" / "workflows")
        self.sha = run(["git", "rev-parse", f"refs/heads/{ref}"], cwd=sandbox.origin).strip()
        self.folder = Path(tempfile.mkdtemp(dir=sandbox.folder, prefix="run-"))
        self.artifacts = self.folder / "artifacts"
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
        self.logs: dict[str, str] = {}
        self.order: list[str] = []

    def execute(self, file: str) -> WorkflowRun:
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
            context["vars"] = self.variables("")
            if workflows.decided(workflow.jobs, name, context, results):
                results[name], outputs[name] = self._job(job, context, f"{prefix}{name}")
            else:
                results[name], outputs[name] = "skipped", {}
            self.results[f"{prefix}{name}"] = results[name]
        call_outputs = {}
        for key, about in (workflow.call.get("outputs") or {}).items():
            job_outputs = {"jobs": {name: {"outputs": found} for name, found in outputs.items()}}
            call_outputs[key] = expressions.written(expressions.fill(about["value"], job_outputs))
        bad = "failure" in results.values()
        return "failure" if bad else "success", call_outputs

    def variables(self, environment: str) -> dict:
        """The settings of the repository, and over them those of an environment."""
        role = ROLES[environment]
        arn = f"arn:aws:iam::{ACCOUNT}:role/"
        return {"AWS_REGION": REGION, "AWS_ROLE": role and f"{arn}{role}", "AWS_ROLE_MAIN": f"{arn}plan-main"}

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
        if is_tested_elsewhere(job) and name in self.sandbox.executed_jobs:
            entries = entries[:1]
        self.sandbox.executed_jobs.add(name)
        results, outputs = [], {}
        for entry in entries:
            full_name = f"{name} {' '.join(map(str, entry.values()))}".strip()
            job_context = {**context, "matrix": entry}
            callee = workflows.called(job)
            if callee:
                inputs = {k: v.get("default", "") for k, v in self.workflows[callee].call.get("inputs", {}).items()}
                inputs.update({k: expressions.fill(v, job_context) for k, v in job.get("with", {}).items()})
                result, outputs = self._jobs(self.workflows[callee], inputs, f"{full_name} / ")
            else:
                result, outputs = Job(self, job, job_context, full_name).execute()
            results.append(result)
            self.results[full_name] = result
        return "failure" if "failure" in results else "success", outputs


def is_tested_elsewhere(job: dict) -> bool:
    """Whether a job has only targets of TESTED_ELSEWHERE."""
    lines = "\n".join(step["run"].strip() for step in job.get("steps", []) if "run" in step).splitlines()
    return bool(lines) and all(workflows.RUN.fullmatch(line.strip())[1] in TESTED_ELSEWHERE for line in lines)


class Job:
    """One job on a machine of its own."""

    def __init__(self, workflow_run: WorkflowRun, job: dict, context: dict, name: str) -> None:
        self.workflow_run, self.job, self.name = workflow_run, job, name
        self.sandbox = workflow_run.sandbox
        environment = job.get("environment", {})
        environment_name = expressions.fill(environment.get("name", ""), {**context, "env": {}})
        self.context = {
            **context,
            "vars": workflow_run.variables(environment_name),
            "runner": {"os": "Linux", "arch": "X64"},
            "steps": {},
        }
        if "required_reviewers" in self.sandbox.github.rules.get(environment_name, []):
            self.workflow_run.day += self.sandbox.review()
        self.env = self._filled(job.get("env", {}), self.context)
        self.workspace = workflow_run.folder / name.replace("/", "-").replace(" ", "")
        self.state: dict[str, str] = {}
        self.installed: set[str] = set()
        self.failed = False
        workflow_run.order.append(name)

    def _filled(self, values: dict, context: dict) -> dict[str, str]:
        return {k: expressions.written(expressions.fill(v, context)) for k, v in values.items()}

    def can_write(self, scope: str) -> bool:
        return (self.job.get("permissions") or {}).get(scope) == "write"

    def execute(self) -> tuple[str, dict]:
        for number, step in enumerate(self.job["steps"]):
            before = ["failure" if self.failed else "success"]
            step_context = {**self.context, "env": self.env, "status": workflows.statuses(before)}
            runs = expressions.condition(step.get("if", ""), step_context)
            outcome, outputs = self._step(step, step_context, number) if runs else ("skipped", {})
            self.failed = self.failed or outcome == "failure"
            if "id" in step:
                self.context["steps"][step["id"]] = {"outcome": outcome, "outputs": outputs}
        outputs = self._filled(self.job.get("outputs", {}), self.context)
        return "failure" if self.failed else "success", outputs

    def _step(self, step: dict, context: dict, number: int) -> tuple[str, dict]:
        settings = self._filled(step.get("with", {}), context)
        if "run" in step:
            env = {**self.env, **self._filled(step.get("env", {}), context)}
            # The name of AWS's registry leads nowhere.
            env = {k: v.replace(REGISTRY, self.sandbox.registry) for k, v in env.items()}
            return self._run(step["run"], env, number)
        action = step["uses"].split("@")[0]
        self.installed.add(INSTALLED_BY.get(action, ""))
        if action not in ACTIONS:
            raise Unexpected(f"{self.name}: no fake for {action}")
        return "success", ACTIONS[action](self, settings) or {}

    def _run(self, text: str, env: dict[str, str], number: int) -> tuple[str, dict]:
        for line in text.strip().splitlines():
            target = workflows.RUN.fullmatch(line.strip())[1]
            output_file, summary_file = self.workspace.parent / f"{number}.out", self.workspace.parent / f"{number}.md"
            output_file.write_text("")
            environment = {
                **self.sandbox.job_variables(),
                **self.state,
                **env,
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": self.sandbox.github.url,
                "GITHUB_EVENT_PATH": str(self.workflow_run.event),
                "GITHUB_OUTPUT": str(output_file),
                "GITHUB_REF_NAME": self.workflow_run.ref,
                "GITHUB_REF_TYPE": "tag" if self.workflow_run.ref.startswith("v") else "branch",
                "GITHUB_REPOSITORY": REPOSITORY,
                # Replaces ghcr.io.
                "REGISTRY": self.sandbox.registry,
                "GITHUB_RUN_NUMBER": "5",
                "GITHUB_STEP_SUMMARY": str(summary_file),
            }
            environment["PATH"] = self.sandbox.path(self.installed)
            begun = time.monotonic()
            code, output = self._target(target, line, environment)
            self.workflow_run.logs[f"{self.name}: {target}"] = output
            spent = f"{time.monotonic() - begun:5.1f} s"
            print(f"runner: {self.name:<34} make {target:<9} {code:>3} after {spent}", flush=True)
            self.sandbox.check(output)
            if code:
                print("\n".join(f"    {printed}" for printed in output.splitlines()[-6:]), flush=True)
                break
        # Of a step that failed, too.
        pairs = [pair.split("=", 1) for pair in output_file.read_text().splitlines()]
        return "failure" if code else "success", dict(pairs)

    def _target(self, target: str, line: str, environment: dict[str, str]) -> tuple[int, str]:
        folder, command = self.workspace, shlex.split(line.removeprefix("exec "))
        if target in TESTED_ELSEWHERE:
            command.insert(1, "--dry-run")
        url = self.sandbox.url(self.env.get("ENV", ""))
        if target in ("smoke", "rollback"):
            # The name that the load balancer was given here leads nowhere.
            environment = {**environment, "URL": url}
        if target == "screenshot":
            # Its tools are not in the clone; the target is the same.
            folder, environment = ROOT, {**environment, "URL": self.sandbox.url("pr-7")}
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
            script = f"from pathlib import Path; from tools.ci import report; {report}"
            run([sys.executable, "-c", script], cwd=self.workspace)
        if target == "bench":
            # It would take half an hour. bench/test_run.py has the path of the report.
            folder = self.workspace / "target" / "bench" / "report"
            folder.mkdir(parents=True)
            (folder / "README.md").write_text("# Benchmarks\n")
        if target == "screenshot":
            (self.workspace / "target" / "report").mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "target/report/page.png", self.workspace / "target/report/page.png")
        return done.returncode, done.stdout

    # Actions.

    def checkout(self, settings: dict) -> None:
        if settings.get("persist-credentials") != "false":
            raise Unexpected(f"{self.name}: the token stays in the clone")
        run(["git", "init", "--quiet", str(self.workspace)])
        run(["git", "remote", "add", "origin", f"file://{self.sandbox.origin}"], cwd=self.workspace)
        full_history = settings.get("fetch-depth") == "0"
        wanted = ["+refs/heads/*:refs/remotes/origin/*"] if full_history else ["--depth", "1"]
        reference = f"+refs/heads/{self.workflow_run.ref}:refs/remotes/origin/{self.workflow_run.ref}"
        run(["git", "fetch", "--quiet", "origin", *wanted, reference], cwd=self.workspace)
        run(["git", "checkout", "--quiet", "--detach", self.workflow_run.sha], cwd=self.workspace)
        link_tools(self.workspace)

    def assume_role(self, settings: dict) -> None:
        role = settings["role-to-assume"].rpartition("/")[2]
        if not self.can_write("id-token") or not role:
            raise Unexpected(f"{self.name}: it must not assume the role {role!r}")
        self.state = {"AWS_ACCESS_KEY_ID": role, "AWS_SECRET_ACCESS_KEY": "of this job"}
        self.workflow_run.roles[self.name] = role

    def log_in_to_registry(self, settings: dict) -> None:
        if settings["registry"] != "ghcr.io" or not self.can_write("packages"):
            raise Unexpected(f"{self.name}: it signs in to {settings['registry']} and may not")

    def upload_artifact(self, settings: dict) -> dict:
        source, goal = self.workspace / settings["path"], self.workflow_run.artifacts / settings["name"]
        if not source.exists() or (source.is_dir() and not any(source.iterdir())):
            if settings.get("if-no-files-found") == "error":
                raise Unexpected(f"{self.name}: there is no {settings['path']}")
            return {}
        shutil.rmtree(goal, ignore_errors=True)
        goal.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, goal, dirs_exist_ok=True)
        else:
            shutil.copy(source, goal)
        self.workflow_run.expires[goal.name] = self.workflow_run.day + int(settings.get("retention-days", "90"))
        return {"artifact-url": f"https://github.example/artifacts/{settings['name']}"}

    def download_artifact(self, settings: dict) -> None:
        wanted = settings.get("name") or settings["pattern"]
        goal = self.workspace / settings["path"]
        goal.mkdir(parents=True, exist_ok=True)
        day, expires = self.workflow_run.day, self.workflow_run.expires
        found = [path for path in self.workflow_run.artifacts.glob(wanted) if day < expires[path.name]]
        if not found:
            raise Unexpected(f"{self.name}: there is no artifact {wanted}")
        for artifact in found:
            shutil.copytree(artifact, goal, dirs_exist_ok=True)
        # Time does not pass here, so the plan is made older instead.
        for file in goal.glob("**/planned.json"):
            planned = json.loads(file.read_text())
            made = datetime.datetime.strptime(planned["release"]["time"], TIME_FORMAT)
            made -= datetime.timedelta(days=self.workflow_run.day)
            planned["release"]["time"] = made.strftime(TIME_FORMAT)
            file.write_text(json.dumps(planned))

    def attest(self, settings: dict) -> None:
        if not (self.can_write("id-token") and self.can_write("attestations")):
            raise Unexpected(f"{self.name}: it attests and may not")
        if "subject-path" in settings:
            subjects = [str(file) for file in self.workspace.glob(settings["subject-path"])]
        else:
            name, digest = settings["subject-name"], settings["subject-digest"]
            subjects = [f"{name}@{digest}"] if Registry(name).digest_of(digest) == digest else []
            bill = settings.get("sbom-path")
            if bill and json.loads((self.workspace / bill).read_text())["bomFormat"] != "CycloneDX":
                subjects = []
        if not subjects:
            raise Unexpected(f"{self.name}: there is nothing to attest: {settings}")
        self.sandbox.attested += subjects


ACTIONS = {
    "actions/attest": Job.attest,
    "actions/cache": lambda _job, _settings: None,
    "actions/checkout": Job.checkout,
    "actions/download-artifact": Job.download_artifact,
    "actions/upload-artifact": Job.upload_artifact,
    "aws-actions/amazon-ecr-login": lambda _job, _settings: None,
    "aws-actions/configure-aws-credentials": Job.assume_role,
    "docker/login-action": Job.log_in_to_registry,
    "hashicorp/setup-terraform": lambda _job, _settings: None,
}
