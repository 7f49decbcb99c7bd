"""Rules for .github/workflows beyond those of actionlint and zizmor: `python3 -m tools.ci.workflows.rules`.

Each function gives a sentence for whatever breaks its rule.
"""

import fnmatch
import re
import sys
from collections.abc import Iterator
from typing import Any

from tools.ci import github
from tools.ci.workflows import FORKS, RUN, Workflow, ancestors, called, decided, read, references, run_order, texts
from tools.ci.workflows.expressions import UNKNOWN
from tools.common.toolchain import ROOT

PINNED = re.compile(r"uses: [\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$")
SIGN_IN = "aws-actions/configure-aws-credentials"
UPLOAD, DOWNLOAD = "actions/upload-artifact", "actions/download-artifact"
# Outputs of the used actions.
ACTION_OUTPUTS = {UPLOAD: ("artifact-id", "artifact-url", "artifact-digest")}
# The default session of AWS, and the longest time that GitHub lets a job wait for a review.
SESSION_SECONDS, REVIEW_DAYS = 3600, 30


def problems(workflows: dict[str, Workflow], targets: set[str], tools: str) -> Iterator[str]:
    for workflow in workflows.values():
        for sentence in (
            *top_level(workflow),
            *pins(workflow),
            *(s for name in workflow.jobs for s in job_problems(workflows, workflow, name, targets, tools)),
            *unused(workflows, workflow),
            *fork_permissions(workflows, workflow),
        ):
            yield f"{workflow.name}: {sentence}"
    yield from artifacts(workflows)
    yield from terraform_versions(workflows)


def terraform_versions(workflows: dict[str, Workflow]) -> Iterator[str]:
    """The Terraform version of tests and applies is the same."""
    found = {
        text
        for workflow in workflows.values()
        for path, text in texts(workflow.data)
        if path[-1] == "terraform_version"
    }
    if len(found) > 1:
        yield f"Terraform is of several versions: {', '.join(sorted(found))}"


def top_level(workflow: Workflow) -> Iterator[str]:
    if workflow.data.get("permissions") != {}:
        yield "permissions must be {} at the top"
    if "secrets." in workflow.text or "secrets:" in workflow.text:
        yield "there are no stored secrets: sign in with a token"


def pins(workflow: Workflow) -> Iterator[str]:
    for number, line in enumerate(workflow.text.splitlines(), 1):
        line = line.strip().removeprefix("- ")
        if line.startswith("uses: ") and not called({"uses": line[6:]}) and not PINNED.search(line):
            yield f"line {number}: an action is pinned by its commit, with its version behind it"


def job_problems(
    workflows: dict[str, Workflow], workflow: Workflow, name: str, targets: set[str], tools: str
) -> Iterator[str]:
    job = workflow.jobs[name]
    for sentence in (
        *job_permissions(workflows, job),
        *make_targets(job, targets),
        *variables(job, tools),
        *step_outputs_exist(job),
        *after_tests(workflow, name),
        *credential_lifetime(job),
        *artifact_retention(workflow, name),
        *artifact_overwrite(job),
    ):
        yield f"{name}: {sentence}"


def permissions(workflows: dict[str, Workflow], job: dict) -> set[tuple[str, str]]:
    """Permissions that a job needs: its own, or the union of the jobs of the called workflow."""
    callee = workflows.get(called(job))
    if callee is None:
        return set((job.get("permissions") or {}).items())
    return {pair for inner in callee.jobs.values() for pair in permissions(workflows, inner)}


def job_permissions(workflows: dict[str, Workflow], job: dict) -> Iterator[str]:
    has = set((job.get("permissions") or {}).items())
    if "permissions" not in job:
        yield "permissions are missing"
    if called(job):
        # actionlint reports one that does not exist.
        if has != permissions(workflows, job):
            yield f"{called(job)} needs {dict(sorted(permissions(workflows, job)))}"
        return
    if bool(uses(job, SIGN_IN) + uses(job, "actions/attest")) != (("id-token", "write") in has):
        yield "id-token: write is for jobs that sign in or attest, and for no other"
    if "timeout-minutes" not in job:
        yield "timeout-minutes is missing"


def make_targets(job: dict, targets: set[str]) -> Iterator[str]:
    for step in job.get("steps", []):
        lines = step.get("run", "").strip().splitlines()
        if len(lines) > 2:
            yield f"{lines[0]!r} and more: a step has two lines at most"
        for line in lines:
            found = RUN.fullmatch(line.strip())
            if found is None:
                yield f"{line!r} is not a make target"
            elif found[1] not in targets:
                yield f"{line!r}: the Makefile has no {found[1]}"


def variables(job: dict, tools: str) -> Iterator[str]:
    """Rejects shell variables outside of a shell, and an unused setting."""
    for path, text in texts(job):
        bare = re.search(r"\$\w+", re.sub(r"\$\{\{.*?\}\}", "", text, flags=re.DOTALL))
        if bare:
            yield f"{'.'.join(path)}: {bare[0]} would be taken as it stands"
    for place in (job, *job.get("steps", [])):
        for name in place.get("env", {}):
            if not re.search(rf"[\"']{name}[\"']", tools):
                yield f"nothing in tools/ reads {name}"


def step_outputs_exist(job: dict) -> Iterator[str]:
    """Outputs that no step declares, and unused keys of a matrix. actionlint sees what else does not exist."""
    steps = {step["id"]: step for step in job.get("steps", []) if "id" in step}
    for context, key, output in references(job):
        if context == "steps" and output and key in steps and output not in step_outputs(steps[key]):
            yield f"the step {key} has no output {output}"
    for key in matrix_keys(job) - {key for context, key, _ in references(job) if context == "matrix"}:
        yield f"the matrix has {key}, which is not used"


def matrix_keys(job: dict) -> set[str]:
    matrix = (job.get("strategy") or {}).get("matrix") or {}
    return {key for key in matrix if key not in ("include", "exclude")} | {
        key for entry in matrix.get("include", []) for key in entry
    }


def step_outputs(step: dict) -> tuple[str, ...]:
    found = RUN.match(step.get("run", ""))
    if found:
        return github.OUTPUTS.get(found[1], ())
    return ACTION_OUTPUTS.get(step.get("uses", "").split("@")[0], ())


def after_tests(workflow: Workflow, name: str) -> Iterator[str]:
    """Nothing is pushed or applied that has not passed the tests."""
    job = workflow.jobs[name]
    publishes = job.get("with", {}).get("mode") == "apply" or any(
        step.get("run", "").strip() == "make push" for step in job.get("steps", [])
    )
    before = ancestors(workflow.jobs, name)
    if publishes and not any(called(workflow.jobs[other]) == "ci.yaml" for other in before):
        yield "it publishes what no test of ci.yaml before it has passed"


def credential_lifetime(job: dict) -> Iterator[str]:
    """Credentials of AWS that end before the job may are found out at its end, after everything was built."""
    for options in uses(job, SIGN_IN):
        seconds = int(options.get("role-duration-seconds", SESSION_SECONDS))
        if int(job.get("timeout-minutes", "360")) * 60 >= seconds:
            yield f"it may take {job.get('timeout-minutes', '360')} min, and AWS's credentials last {seconds} s"
        if seconds > role_seconds():
            yield f"it requests credentials of {seconds} s, and the roles allow {role_seconds()}"


def role_seconds() -> int:
    text = (ROOT / "tf" / "preconfigured" / "github.tf").read_text(encoding="utf-8")
    return int(re.findall(r"max_session_duration = ([0-9]+)", text)[0])


def artifact_retention(workflow: Workflow, name: str) -> Iterator[str]:
    """Artifacts of a job that waits for a review are kept as long as GitHub lets it wait."""
    job = workflow.jobs[name]
    if not job.get("environment"):
        return
    fetched = [pattern(artifact(options)) for options in uses(job, DOWNLOAD)]
    for other in ancestors(workflow.jobs, name):
        for options in uses(workflow.jobs[other], UPLOAD):
            days = int(options.get("retention-days", "0"))
            if pattern(artifact(options)) in fetched and days <= REVIEW_DAYS:
                yield f"it may wait {REVIEW_DAYS} days for a review, and {options['name']} is kept for {days}"


def unused(workflows: dict[str, Workflow], workflow: Workflow) -> Iterator[str]:
    """Unused outputs and inputs."""
    referenced = {(key, output) for context, key, output in references(workflow.data) if output}
    for name, job in workflow.jobs.items():
        for output in job.get("outputs", {}):
            if (name, output) not in referenced:
                yield f"{name}: its output {output} is not used"
    for key in workflow.call.get("inputs") or {}:
        if ("inputs", key) not in {(c, k) for c, k, _ in references(workflow.data)}:
            yield f"the input {key} is not used"
    for output in workflow.call.get("outputs") or {}:
        used = (
            (context, key, found) == ("needs", name, output)
            for other in workflows.values()
            for name, job in other.jobs.items()
            if called(job) == workflow.name
            for context, key, found in references(other.data)
        )
        if not any(used):
            yield f"no caller uses the output {output}"


def fork_permissions(workflows: dict[str, Workflow], workflow: Workflow) -> Iterator[str]:
    """Jobs that run for a pull request of a fork have no token with write permissions."""
    if "pull_request" not in workflow.triggers:
        return
    for head, login in FORKS:
        for name, job in reachable(workflows, workflow, pull_request_of(head, login)):
            writes = [scope for scope, right in (job.get("permissions") or {}).items() if right == "write"]
            if writes:
                yield f"{name} runs for {login}'s pull request and has {', '.join(writes)}: write"
            tokens = [text for _, text in texts(job) if "github.token" in text or "GITHUB_TOKEN" in text]
            if tokens:
                yield f"{name} runs for {login}'s pull request and is handed a token"
            if job.get("environment"):
                yield f"{name} runs for {login}'s pull request in an environment, which has settings"


def pull_request_of(head: str, login: str) -> dict:
    event = {
        "number": "7",
        "pull_request": {
            "number": "7",
            "head": {"repo": {"full_name": head}, "sha": "0" * 40},
            "user": {"login": login},
        },
    }
    return {
        "github": {"event_name": "pull_request", "repository": "acme/system-stats", "event": event, "sha": "0" * 40},
        "vars": {"AWS_ROLE": "a role", "AWS_REGION": "a region"},
        "inputs": {},
    }


def reachable(workflows: dict[str, Workflow], workflow: Workflow, context: dict) -> Iterator[tuple[str, dict]]:
    """The jobs that cannot be said to be skipped, those of called workflows as well."""
    results: dict[str, Any] = {}
    for name in run_order(workflow.jobs):
        job = workflow.jobs[name]
        runs = decided(workflow.jobs, name, context, results)
        results[name] = "skipped" if runs is False else UNKNOWN
        if runs is False:
            continue
        yield name, job
        callee = workflows.get(called(job))
        if callee is not None:
            yield from reachable(workflows, callee, {**context, "inputs": call_inputs(callee, job)})


def call_inputs(callee: Workflow, job: dict) -> dict:
    """The inputs of a called workflow, as far as they are known without running it."""
    inputs = callee.call.get("inputs") or {}
    values = {**{k: v.get("default", "") for k, v in inputs.items()}, **job.get("with", {})}
    return {key: UNKNOWN if "${{" in text else text for key, text in values.items()}


def artifact_overwrite(job: dict) -> Iterator[str]:
    """A run keeps the artifacts of its earlier attempts, and refuses another of the same name."""
    for options in uses(job, UPLOAD):
        if options.get("overwrite") != "true":
            yield f"the artifact {options.get('name')} has no `overwrite: true`, so the job cannot run again"


def artifacts(workflows: dict[str, Workflow]) -> Iterator[str]:
    """Every artifact that is downloaded is uploaded in the same run, and the reverse."""
    for workflow in workflows.values():
        if workflow.call and set(workflow.triggers) <= {"workflow_call", "workflow_dispatch"}:
            runs = [workflow]
        else:
            runs = [workflow, *(workflows[f] for f in {called(j) for j in workflow.jobs.values()} if f in workflows)]
        uploaded = [pattern(name) for uploader in runs for name in named(uploader, UPLOAD)]
        for name in named(workflow, DOWNLOAD):
            if not any(
                fnmatch.fnmatchcase(kept, pattern(name)) or fnmatch.fnmatchcase(name, kept) for kept in uploaded
            ):
                yield f"{workflow.name}: nothing keeps the artifact {name}"


def uses(job: dict, action: str) -> list[dict]:
    """The inputs of each step that uses an action."""
    steps = job.get("steps", [])
    return [step.get("with", {}) for step in steps if step.get("uses", "").startswith(f"{action}@")]


def artifact(options: dict) -> str:
    return options.get("name") or options.get("pattern", "")


def named(workflow: Workflow, action: str) -> list[str]:
    return [artifact(options) for job in workflow.jobs.values() for options in uses(job, action)]


def pattern(name: str) -> str:
    return re.sub(r"\$\{\{.*?\}\}", "*", name)


def makefile_targets(text: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):.*## ", text, re.MULTILINE))


def main() -> int:
    targets = makefile_targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    sources = [file for file in sorted((ROOT / "tools").rglob("*.py")) if "tests" not in file.parts]
    tools = "\n".join(file.read_text(encoding="utf-8") for file in sources)
    found = list(problems(read(), targets, tools))
    for sentence in found:
        print(f"workflows: {sentence}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
