"""The rules for workflows must be able to fail, and those of the repository must keep them."""

import unittest

try:
    from tools.ci import workflows
except ModuleNotFoundError as missing:
    if missing.name != "yaml":
        raise
    raise unittest.SkipTest(f"{missing}: `make tools` installs PyYAML below .tools/lint") from None

from tools.ci.workflows import expressions, rules
from tools.ci.workflows.expressions import UNKNOWN
from tools.common.toolchain import ROOT

SHA = "0123456789abcdef0123456789abcdef01234567"
CI = """\
on: {workflow_call: {}}
permissions: {}
jobs:
  test:
    permissions: {contents: read}
    timeout-minutes: 9
    steps:
      - run: make test
"""
# A test, a push by own branches alone, and the outputs of the push.
GOOD = f"""\
on:
  pull_request:
  push:
permissions: {{}}
jobs:
  test:
    uses: $/.github/workflows/ci.yaml
    permissions: {{contents: read}}
  images:
    needs: test
    if: github.event_name == 'push' || github.event.pull_request.head.repo.full_name == github.repository &&
      github.event.pull_request.user.login != 'dependabot[bot]'
    strategy:
      matrix:
        service: [stats, frontend]
    permissions: {{contents: read, id-token: write}}
    timeout-minutes: 9
    outputs:
      digest: ${{{{ steps.push.outputs.digest }}}}
    env:
      S: ${{{{ matrix.service }}}}
    steps:
      - uses: aws-actions/configure-aws-credentials@{SHA} # v1.2.3
      - id: push
        run: make push
      - uses: actions/upload-artifact@{SHA} # v1.2.3
        with:
          name: kept-${{{{ matrix.service }}}}
          overwrite: true
  look:
    needs: images
    permissions: {{}}
    timeout-minutes: 9
    env:
      URL: ${{{{ needs.images.outputs.digest }}}}
    steps:
      - uses: actions/download-artifact@{SHA} # v1.2.3
        with:
          pattern: kept-*
      - run: make smoke
"""
TARGETS = {"test", "push", "smoke", "apply"}
TOOLS = "os.environ['S'] os.environ['URL']"


def problems(text: str = GOOD, **others: str) -> list[str]:
    more = {f"{name}.yaml": other for name, other in others.items()}
    files = {"ci.yaml": CI, "main.yaml": text, **more}
    parsed = {name: workflows.parse(name, content) for name, content in files.items()}
    return list(rules.problems(parsed, TARGETS, TOOLS))


FORK_GUARD = GOOD[GOOD.index("    if: github") : GOOD.index("    strategy")]
SIGN_IN = f"aws-credentials@{SHA} # v1.2.3"
UPLOAD = f"upload-artifact@{SHA} # v1.2.3"
NOTHING = "    permissions: {}\n"
ARTIFACT = "name: kept-${{ matrix.service }}"
SMOKE = "      - run: make smoke\n"
TERRAFORM = f"      - uses: hashicorp/setup-terraform@{SHA} # v1.2.3\n        with: {{terraform_version: %s}}\n"
# A part of GOOD, its replacement, and a part of the message about it.
VIOLATIONS = (
    ("minutes: 9\n    outputs", "minutes: 60\n    outputs", "may take 60 min, and AWS's credentials last 3600 s"),
    (
        *(SIGN_IN, f"{SIGN_IN}\n        with:\n          role-duration-seconds: 9000"),
        "requests credentials of 9000 s, and the roles allow 7200",
    ),
    ("    env:\n      URL", "    environment: prod\n    env:\n      URL", "may wait 30 days for a review, and kept-"),
    ("make push", 'echo "digest=$digest" >> $github_output', "is not a make target"),
    ("make push", "make push; curl example.org", "is not a make target"),
    ("make push", "make shove", "the Makefile has no shove"),
    ("make push", "|\n          make push\n          make test\n          make smoke", "two lines at most"),
    ("    needs: test\n", "", "publishes what no test"),
    (ARTIFACT, 'name: kept-"repo:$VERSION"', "$VERSION would be taken as it stands"),
    (ARTIFACT, 'name: kept-"$VERSION"', "$VERSION would be taken as it stands"),
    ("permissions: {}\njobs", "jobs", "permissions must be {} at the top"),
    (NOTHING, "", "permissions are missing"),
    ("{contents: read}\n", "{contents: write}\n", "ci.yaml needs {'contents': 'read'}"),
    (UPLOAD, f"checkout@{SHA}", "an action is pinned by its commit"),
    (UPLOAD, "checkout@v4", "an action is pinned by its commit"),
    (UPLOAD, f"checkout@{SHA[:12]} # v1.2.3", "an action is pinned by its commit"),
    (UPLOAD, f"checkout@{SHA} # v1", "an action is pinned by its commit"),
    ("          overwrite: true\n", "", "has no `overwrite: true`"),
    (FORK_GUARD, "", "images runs for fork's pull request and has id-token: write"),
    (FORK_GUARD, "", "images runs for dependabot[bot]'s pull request"),
    # A job without a status function is not skipped with those before.
    (
        f"    needs: images\n{NOTHING}",
        "    needs: images\n    if: always()\n    permissions: {contents: write}\n",
        "look runs for fork's pull request",
    ),
    ("${{ matrix.service }}\n    steps", "${{ secrets.KEY }}\n    steps", "no stored secrets"),
    (", id-token: write", "", "id-token: write is for jobs"),
    (NOTHING, "    permissions: {id-token: write}\n", "id-token: write is for jobs"),
    ("steps.push.outputs.digest", "steps.push.outputs.sum", "the step push has no output sum"),
    ("${{ needs.images.outputs.digest }}", "x", "its output digest is not used"),
    ("        service: [", "        color: [red]\n        service: [", "the matrix has color"),
    ("      S: $", "      SERVICE: $", "nothing in tools/ reads SERVICE"),
    ("pattern: kept-*", "pattern: lost-*", "nothing keeps the artifact lost-*"),
    (SMOKE, TERRAFORM % "1.11.4" + TERRAFORM % "1.12.0" + SMOKE, "several versions: 1.11.4, 1.12.0"),
)
CALLED = """\
on:
  workflow_call:
    inputs:
      mode: {required: true}
      idle: {default: x}
    outputs:
      url: {value: "${{ jobs.one.outputs.name }}"}
permissions: {}
jobs:
  one:
    if: inputs.mode == 'apply'
    permissions: {}
    timeout-minutes: 9
    steps: []
"""
CALLER = "  call:\n    uses: $/.github/workflows/other.yaml\n    permissions: {}\n    with: {mood: apply}\n"


class Rules(unittest.TestCase):
    def assert_reported(self, message: str, reported: list[str]) -> None:
        self.assertTrue(any(message in problem for problem in reported), reported)

    def test_a_valid_workflow_passes(self):
        self.assertEqual(problems(), [])

    def test_every_violation_is_reported(self):
        for valid, invalid, message in VIOLATIONS:
            with self.subTest(message, invalid=invalid):
                self.assertIn(valid, GOOD)
                self.assert_reported(message, problems(GOOD.replace(valid, invalid)))

    def test_a_job_that_forks_do_not_reach_may_have_a_token(self):
        self.assertEqual(problems(GOOD.replace("      URL: ${{", "      S: ${{ github.token }}\n      URL: ${{")), [])

    def test_a_fork_gets_no_token_from_a_called_workflow(self):
        permission = CI.replace("contents: read", "contents: write")
        self.assert_reported("test runs for fork's pull request", problems(ci=permission))
        token = CI.replace("timeout-minutes", "env: {S: '${{ github.token }}'}\n    timeout-minutes")
        self.assert_reported("is handed a token", problems(ci=token))

    def test_inputs_and_outputs_of_called_workflows_are_used(self):
        reported = problems(GOOD + CALLER, other=CALLED)
        self.assert_reported("the input idle is not used", reported)
        self.assert_reported("no caller uses the output url", reported)

    def test_the_workflows_of_the_repository_follow_every_rule(self):
        self.assertGreaterEqual(len(workflows.read()), 5)
        self.assertEqual(rules.main(), 0)

    def test_a_fork_gets_tests_and_a_plan(self):
        ours = workflows.read()
        for head, login in workflows.FORKS:
            context = rules.pull_request_of(head, login)
            names = {name for name, _ in rules.reachable(ours, ours["main.yaml"], context)}
            self.assertEqual(names, {"test", "check", "budgets", "emulated", "reproducible", "plan-offline"}, login)

    def test_a_merge_queue_gets_the_required_checks_and_nothing_else(self):
        """It waits for them, forever where no workflow has its event."""
        ours = workflows.read()
        self.assertIn("merge_group", ours["main.yaml"].triggers)
        context = rules.pull_request_of("acme/system-stats", "someone")
        context["github"] |= {"event_name": "merge_group", "event": {}}
        names = {name for name, _ in rules.reachable(ours, ours["main.yaml"], context)}
        self.assertEqual(names, {"test", "check", "budgets", "emulated", "reproducible"})

    def test_without_previews_a_closed_pull_request_needs_no_role(self):
        ours = workflows.read()
        context = rules.pull_request_of("acme/system-stats", "someone")
        closed = {name for name, _ in rules.reachable(ours, ours["previews.yaml"], context)}
        self.assertLessEqual({"closed", "destroy"}, closed)
        context["vars"]["PREVIEWS"] = "off"
        self.assertEqual(list(rules.reachable(ours, ours["previews.yaml"], context)), [])


class Expressions(unittest.TestCase):
    context = {
        "github": {"event_name": "push", "event": {"number": "7"}},
        "needs": {"a": {"outputs": UNKNOWN}},
        "status": workflows.statuses(["success", "skipped"]),
    }

    def test_they_mean_what_github_means(self):
        for text, value in {
            "github.event_name == 'PUSH'": True,
            "github.event.pull_request.head.repo == 'x'": False,
            "github.event_name == 'push' && 'yes' || 'no'": "yes",
            "github.event_name != 'push' && 'yes' || 'no'": "no",
            "format('pr-{0}', github.event.number)": "pr-7",
            "startsWith('pr-7', 'pr-') && !failure()": True,
            "contains(fromJSON('[\"a\"]'), 'a')": True,
            "needs.a.outputs.x == 'y'": UNKNOWN,
            "needs.a.outputs.x == 'y' && github.event_name == 'pull_request'": False,
            "needs.a.outputs.x == 'y' || github.event_name == 'push'": True,
        }.items():
            self.assertEqual(expressions.evaluate(text, self.context), value, text)

    def test_several_in_one_text_are_put_together(self):
        text = "${{ github.event_name }}/${{ github.event.number }}"
        self.assertEqual(expressions.fill(text, self.context), "push/7")
        self.assertIs(expressions.fill("${{ github.event_name == 'push' }}", self.context), True)

    def test_a_skipped_job_skips_those_after_it_unless_they_ask(self):
        self.assertIs(expressions.condition("github.event_name == 'push'", self.context), False)
        self.assertIs(expressions.condition("!failure()", self.context), True)
        self.assertIs(expressions.condition("${{ always() }}", self.context), True)

    def test_what_is_not_understood_is_refused(self):
        for text in ("secrets.KEY", "github.event_name ==", "nonsense(1)", "'open", "a b"):
            with self.assertRaises(expressions.ExpressionError, msg=text):
                expressions.evaluate(text, {"a": {}, **self.context})


class TheFolder(unittest.TestCase):
    def test_every_target_is_in_the_makefile_s_list_of_phony_ones(self):
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        phony = set(" ".join(line[7:] for line in text.splitlines() if line.startswith(".PHONY:")).split())
        self.assertEqual(rules.makefile_targets(text), phony)

    def test_nothing_is_attested_where_github_does_not(self):
        jobs = [job for workflow in workflows.read().values() for job in workflow.jobs.values()]
        steps = [step for job in jobs for step in job.get("steps", []) if "actions/attest@" in step.get("uses", "")]
        self.assertGreater(len(steps), 6)
        for step in steps:
            self.assertIn(".outputs.attest == 'true'", step.get("if", ""), step["name"])

    def test_attestations_beside_an_image_need_no_permission_for_records(self):
        """Without `artifact-metadata: write`, each of these steps logs two warnings (attest-build-provenance #781)."""
        jobs = [job for workflow in workflows.read().values() for job in workflow.jobs.values()]
        options = [options for job in jobs for options in rules.uses(job, "actions/attest")]
        pushed = [one.get("create-storage-record") for one in options if one.get("push-to-registry") == "true"]
        self.assertEqual(pushed, ["false"] * 6)

    def test_a_run_of_the_tests_by_hand_or_of_a_merge_queue_cancels_no_other(self):
        for workflow in workflows.read().values():
            concurrency = workflow.data.get("concurrency") or {}
            if {"workflow_call", "workflow_dispatch"} <= workflow.triggers.keys():
                self.assertIn("github.workflow ", concurrency["group"])
                self.assertIn("github.event_name ", concurrency["group"])

    def test_a_refused_plan_restores_no_earlier_version(self):
        """The version that runs then is the good one, and `make rollback` would replace it."""
        steps = workflows.read()["terraform.yaml"].jobs["apply"]["steps"]
        (back,) = (step for step in steps if step.get("run") == "exec make rollback")
        self.assertIn("steps.apply.outputs.begun == 'true'", back["if"])
        self.assertEqual(back["env"], {"FAILED": "${{ github.sha }}"})

    def test_a_canceled_job_interrupts_terraform(self):
        """GitHub signals the shell alone, which passes nothing on; make passes SIGTERM on, and then 2.5 s are left."""
        jobs = workflows.read()["terraform.yaml"].jobs.values()
        runs = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
        for target in ("apply", "rollback", "destroy"):
            self.assertIn(f"exec make {target}", runs)

    def test_dependabot_renews_every_configuration_of_terraform_at_once(self):
        text = (ROOT / ".github" / "dependabot.yaml").read_text(encoding="utf-8")
        updates = workflows.yaml.safe_load(text)["updates"]
        (terraform,) = (update for update in updates if update["package-ecosystem"] == "terraform")
        pinned = {f"/{file.parent.relative_to(ROOT)}" for file in (ROOT / "tf").rglob("versions.tf")}
        self.assertEqual(set(terraform["directories"]), pinned)
        self.assertEqual([group["patterns"] for group in terraform["groups"].values()], [["*"]])
