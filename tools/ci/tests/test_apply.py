"""A plan that waits for days: `make apply` uses it, or refuses it with the next step."""

from pathlib import Path
from unittest import mock

from tools.ci import ci
from tools.cloud import plans
from tools.cloud.releases import Release
from tools.common import environments
from tools.common.environments import Refused
from tools.common.tests.case import Case

PLANNED = Release("1" * 40, {"stats": f"r@sha256:{'1' * 64}"}, "2026-11-24T12:00:00Z")
FOUR_DAYS_LATER = "2026-11-28T12:30:00Z"
CHANGE = {"before": {"image": "old"}, "after": {"image": "new"}, "actions": ["update"]}
PLAN = {"resource_changes": [{"address": "service", "change": CHANGE}]}


class ApprovalAfterFourDays(Case):
    def setUp(self):
        self.enter(mock.patch.object(plans, "PLANS", self.temporary_folder()))
        plans.keep("staging", PLANNED, True, plans.digest(PLAN))

    def applied(self, plan=PLAN, running="0" * 40, superseded=False, at=FOUR_DAYS_LATER):
        """The message of the command, after a check whether it has changed anything."""
        run = mock.Mock(plan_file=Path("plan"))
        run.output.return_value = {"release": running}
        run.show.return_value = plan
        session = mock.Mock(environment=environments.named("staging"))
        session.terraform.return_value = run
        session.variables.return_value = []
        with (
            mock.patch.multiple(ci, session=mock.Mock(return_value=session), now=lambda: at),
            mock.patch.multiple(ci, version=lambda: PLANNED.revision, superseded=lambda *_: superseded),
            mock.patch.multiple(ci.deploy, attested=mock.Mock()),
            mock.patch.multiple(ci.rollout, wait=mock.Mock()),
            mock.patch.object(ci.Deployed, "of"),
            mock.patch.object(ci, "say") as say,
            mock.patch.object(ci.github, "output") as output,
        ):
            try:
                ci.do_apply()
            except Refused as refused:
                run.apply.assert_not_called()
                # The step after it restores an earlier version, and the good one runs.
                output.assert_not_called()
                return str(refused)
        run.apply.assert_called_once_with()
        output.assert_called_once_with("apply", begun="true")
        return say.call_args_list[0].args[0]

    def test_the_same_changes_are_applied(self):
        self.assertEqual(
            self.applied(), "these are the changes of the plan that was made 4 days ago (2026-11-24T12:00:00Z)"
        )

    def test_other_changes_are_refused_with_what_to_do(self):
        other = {"resource_changes": [{"address": "service", "change": {**CHANGE, "after": {"image": "newer"}}}]}
        text = self.applied(other)
        self.assertIn("staging has changed since its plan was made 4 days ago (2026-11-24T12:00:00Z)", text)
        self.assertIn("`make plan` again, and look; in a workflow, run all of its jobs again", text)

    def test_a_version_that_came_later_is_not_undone(self):
        self.assertIn("runs 222222222222 already, which came after", self.applied(running="2" * 40, superseded=True))

    def test_the_age_is_in_words(self):
        for now, words in (
            ("2026-11-24T12:59:59Z", "less than an hour ago"),
            ("2026-11-24T13:00:00Z", "1 hour ago"),
            ("2026-11-25T11:59:59Z", "23 hours ago"),
            ("2026-11-25T12:00:00Z", "1 day ago"),
            ("2026-12-24T12:00:00Z", "30 days ago"),
            # A clock that is behind the one of the plan.
            ("2026-11-24T11:00:00Z", "less than an hour ago"),
        ):
            self.assertEqual(plans.age(PLANNED.time, now), words)
