"""The rules for workflows must be able to fail, and those of the repository must keep them."""

from __future__ import annotations

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


def found(text: str = GOOD, **others: str) -> list[str]:
    more = {f"{name}.yaml": other for name, other in others.items()}
    files = {"ci.yaml": CI, "main.yaml": text, **more}
    parsed = {name: workflows.parse(name, content) for name, content in files.items()}
    return list(rules.problems(parsed, TARGETS, TOOLS))


def broken(old: str, new: str) -> list[str]:
    assert old in GOOD, old
    return found(GOOD.replace(old, new))


class Rules(unittest.TestCase):
    def assert_said(self, sentence: str, sentences: list[str]) -> None:
        self.assertTrue(any(sentence in one for one in sentences), sentences)

    def test_a_good_one_passes(self):
        self.assertEqual(found(), [])

    def test_credentials_last_longer_than_the_job(self):
        self.assert_said(
            "may take 60 min, and AWS's credentials last 3600 s",
            broken("    timeout-minutes: 9\n    outputs", "    timeout-minutes: 60\n    outputs"),
        )
        longer = f"aws-credentials@{SHA} # v1.2.3\n        with:\n          role-duration-seconds: 9000"
        said = broken(f"aws-credentials@{SHA} # v1.2.3", longer)
        self.assert_said("requests credentials of 9000 s, and the roles allow 7200", said)

    def test_what_a_waiting_job_fetches_is_kept_as_long_as_it_may_wait(self):
        waiting = broken("    env:\n      URL", "    environment: prod\n    env:\n      URL")
        self.assert_said("may wait 30 days for a review, and kept-", waiting)

    def test_a_lower_case_github_output_is_no_target(self):
        shell = 'echo "digest=$digest" >> $github_output'
        self.assert_said("is not a make target", broken("make push", shell))

    def test_nothing_is_published_without_the_tests_before_it(self):
        self.assert_said("publishes what no test", broken("    needs: test\n", ""))

    def test_a_literal_version_is_taken_as_it_stands(self):
        for text in ("repo:$VERSION", "$VERSION"):
            said = broken("name: kept-${{ matrix.service }}", f'name: kept-"{text}"')
            self.assert_said("$VERSION would be taken as it stands", said)

    def test_permissions_begin_at_nothing(self):
        self.assert_said("permissions must be {} at the top", broken("permissions: {}\njobs", "jobs"))
        self.assert_said("permissions are missing", broken("    permissions: {}\n", ""))
        more = broken("    permissions: {contents: read}\n", "    permissions: {contents: write}\n")
        self.assert_said("ci.yaml needs {'contents': 'read'}", more)

    def test_actions_are_pinned_by_commit_with_a_version(self):
        for bad in (f"checkout@{SHA}", "checkout@v4", f"checkout@{SHA[:12]} # v1.2.3", f"checkout@{SHA} # v1"):
            said = broken(f"upload-artifact@{SHA} # v1.2.3", bad)
            self.assert_said("an action is pinned by its commit", said)

    def test_a_job_that_runs_again_replaces_its_artifact(self):
        self.assert_said("has no `overwrite: true`", broken("          overwrite: true\n", ""))

    def test_a_step_is_a_target_of_the_makefile_in_two_lines(self):
        self.assert_said("the Makefile has no shove", broken("make push", "make shove"))
        self.assert_said("is not a make target", broken("make push", "make push; curl example.org"))
        three = "|\n          make push\n          make test\n          make smoke"
        self.assert_said("two lines at most", broken("make push", three))

    def test_a_fork_never_gets_a_token(self):
        guard = GOOD[GOOD.index("    if: github") : GOOD.index("    strategy")]
        said = broken(guard, "")
        self.assert_said("images runs for fork's pull request and has id-token: write", said)
        self.assert_said("images runs for dependabot[bot]'s pull request", said)
        # A job without a status function is not skipped with those before.
        always = broken(
            "    needs: images\n    permissions: {}\n",
            "    needs: images\n    if: always()\n    permissions: {contents: write}\n",
        )
        self.assert_said("look runs for fork's pull request", always)
        handed = broken("      URL: ${{", "      S: ${{ github.token }}\n      URL: ${{")
        self.assertEqual(handed, [], "a token for a job that forks do not reach is allowed")

    def test_a_fork_does_not_get_one_from_a_called_workflow_either(self):
        bad = CI.replace("contents: read", "contents: write")
        self.assert_said("test runs for fork's pull request", found(ci=bad))
        token = CI.replace("timeout-minutes", "env: {S: '${{ github.token }}'}\n    timeout-minutes")
        self.assert_said("is handed a token", found(ci=token))

    def test_there_are_no_stored_secrets(self):
        self.assert_said(
            "no stored secrets", broken("${{ matrix.service }}\n    steps", "${{ secrets.KEY }}\n    steps")
        )

    def test_only_who_signs_in_may(self):
        self.assert_said("id-token: write is for jobs", broken(", id-token: write", ""))
        self.assert_said(
            "id-token: write is for jobs", broken("    permissions: {}\n", "    permissions: {id-token: write}\n")
        )

    def test_the_outputs_of_a_step_are_declared(self):
        self.assert_said(
            "the step push has no output sum", broken("steps.push.outputs.digest", "steps.push.outputs.sum")
        )

    def test_what_is_declared_is_used(self):
        self.assert_said("its output digest is not used", broken("${{ needs.images.outputs.digest }}", "x"))
        self.assert_said(
            "the matrix has color", broken("        service: [", "        color: [red]\n        service: [")
        )
        self.assert_said("nothing in tools/ reads SERVICE", broken("      S: $", "      SERVICE: $"))

    def test_what_is_downloaded_was_kept(self):
        self.assert_said("nothing keeps the artifact lost-*", broken("pattern: kept-*", "pattern: lost-*"))

    def test_there_is_one_terraform(self):
        setup = f"      - uses: hashicorp/setup-terraform@{SHA} # v1.2.3\n        with: {{terraform_version: %s}}\n"
        several = "".join(setup % version for version in ("1.11.4", "1.12.0"))
        said = broken("      - run: make smoke\n", f"{several}      - run: make smoke\n")
        self.assert_said("several versions: 1.11.4, 1.12.0", said)

    def test_inputs_and_outputs_of_called_workflows_are_used(self):
        callee = """\
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
        caller = "  call:\n    uses: $/.github/workflows/other.yaml\n    permissions: {}\n    with: {mood: apply}\n"
        said = found(GOOD + caller, other=callee)
        self.assert_said("the input idle is not used", said)
        self.assert_said("no caller uses the output url", said)

    def test_those_of_the_repository_keep_all_of_it(self):
        self.assertGreaterEqual(len(workflows.read()), 5)
        self.assertEqual(rules.main(), 0)

    def test_a_fork_gets_tests_and_a_plan(self):
        ours = workflows.read()
        for head, login in workflows.FORKS:
            context = rules.pull_request_of(head, login)
            names = {name for name, _ in rules.reachable(ours, ours["main.yaml"], context)}
            self.assertEqual(names, {"test", "check", "budgets", "emulated", "reproducible", "plan-offline"}, login)


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

    def test_dependabot_renews_every_configuration_of_terraform_at_once(self):
        text = (ROOT / ".github" / "dependabot.yaml").read_text(encoding="utf-8")
        updates = workflows.yaml.safe_load(text)["updates"]
        (terraform,) = (one for one in updates if one["package-ecosystem"] == "terraform")
        pinned = {f"/{file.parent.relative_to(ROOT)}" for file in (ROOT / "tf").rglob("versions.tf")}
        self.assertEqual(set(terraform["directories"]), pinned)
        self.assertEqual([group["patterns"] for group in terraform["groups"].values()], [["*"]])
