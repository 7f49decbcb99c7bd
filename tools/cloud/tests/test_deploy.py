"""Decisions of the make targets for AWS; rehearse.py in e2e/deploy/ runs them completely."""

import contextlib
import io
import os
import re
import unittest
from functools import partial
from unittest import mock

from tools.ci import ci
from tools.cloud import cost, deploy, prove, session
from tools.cloud.releases import Release, before, with_newest
from tools.cloud.rollout import RolledBack
from tools.cloud.terraform import TerraformError
from tools.common import catalog, environments, toolchain
from tools.common.environments import Refused
from tools.common.progress import Failed
from tools.common.tests.case import Case

ONE, TWO, THREE = (
    Release(revision * 40, {"stats": f"r@sha256:{revision * 64}"}, "2026-11-24T00:00:00Z") for revision in "123"
)


class TheEnvironment(Case):
    def setUp(self):
        self.folder = self.temporary_folder()

    def write(self, name, variables, backend=None):
        (self.folder / name).mkdir()
        (self.folder / name / "terraform.tfvars").write_text(variables)
        key = f'key = "environments/{name}/terraform.tfstate"\nregion = "eu-west-1"\n'
        (self.folder / name / "backend.hcl").write_text(key if backend is None else backend)

    def refused(self, name):
        with self.assertRaises(Refused) as refused:
            environments.named(name, self.folder)
        return str(refused.exception)

    def test_an_unknown_name_is_answered_with_those_that_there_are(self):
        self.write("dev", 'environment = "dev"\n')
        self.assertEqual(self.refused("prod"), "there is no environment 'prod'; there are dev")
        self.assertEqual(self.refused(""), "which environment? ENV=NAME; there are dev")
        self.assertIn("there is no environment '../dev'", self.refused("../dev"))

    def test_a_copied_folder_that_was_not_changed_is_refused(self):
        self.write("new", 'environment = "dev"\n')
        self.assertIn('must say environment = "new"', self.refused("new"))

    def test_only_previews_are_named_like_previews(self):
        """The role of pull requests may change everything whose name begins so."""
        self.write("pr-demo", 'environment = "pr-demo"\n')
        # One that was deployed before can still be looked at and destroyed.
        self.assertEqual(environments.named("pr-demo", self.folder).name, "pr-demo")
        named = partial(environments.named, folder=self.folder)
        with mock.patch.object(environments, "named", named), mock.patch.dict(os.environ, {"ENV": "pr-demo"}):
            for target in (deploy.do_plan, deploy.do_deploy, ci.do_apply):
                with (
                    mock.patch.object(session.terraform, "check"),
                    contextlib.redirect_stdout(io.StringIO()),
                    self.assertRaisesRegex(Refused, "rename the environment pr-demo"),
                ):
                    target()
        self.write("prod", 'environment = "prod"\n')
        self.assertEqual(environments.named("prod", self.folder).name, "prod")

    def test_two_environments_never_share_a_state(self):
        self.write("new", 'environment = "new"\n', 'key = "environments/dev/terraform.tfstate"\n')
        self.assertIn('must say key = "environments/new/terraform.tfstate"', self.refused("new"))

    def test_all_needed_settings_are_read(self):
        self.write(
            "dev", 'environment = "dev" # a comment\naccount_id = "123456789012"\nservices = {\n  region = "no"\n}\n'
        )
        found = environments.named("dev", self.folder)
        self.assertEqual(
            (found.region, found.account_id, found.profile, found.architecture),
            ("eu-west-1", "123456789012", None, "ARM64"),
        )

    def test_settings_count_with_every_comment_and_spelling_of_terraform(self):
        """Otherwise nothing would verify the images, and no review would be required."""
        for comment in ("", " # why", " // why", " /* why */"):
            text = f'environment = "shop"{comment}\nattested_by = "acme/shop"{comment}\nprotect = true{comment}\n'
            for variables in (text, text.replace("true", '"true"'), text.replace("\n", "\r\n  ")):
                with self.subTest(variables=variables):
                    folder = self.folder = self.temporary_folder()
                    self.write("shop", variables)
                    found = environments.named("shop", folder)
                    self.assertEqual((found.attested_by, found.protected), ("acme/shop", True))
        self.assertEqual(environments.settings("account_id = 123456789012\n"), {"account_id": "123456789012"})
        self.assertFalse(environments.protects("# protect = true\nprotect = false // not true\n"))

    def test_every_environment_of_the_repository_can_be_used(self):
        names = [path.name for path in (environments.TF / "environments").iterdir()]
        self.assertLessEqual({"dev", "staging", "prod"}, set(names))
        self.assertEqual(len({environments.named(name).state_key for name in names}), len(names))


class TheVersion(unittest.TestCase):
    def version(self, revision, changes="", branches="  origin/main", cut_off=()):
        with (
            mock.patch("tools.build.build.revision", return_value=revision),
            mock.patch("tools.build.commit.cut_off", return_value=cut_off),
            mock.patch.object(session, "git", lambda *arguments: changes if arguments[0] == "status" else branches),
        ):
            return session.version()

    def test_it_is_the_commit_that_others_can_see(self):
        self.assertEqual(self.version("1" * 40), "1" * 40)

    def test_a_release_that_could_not_be_restored_is_refused(self):
        for arguments in (
            ("unknown",),
            ("1" * 40 + "-dirty",),
            ("1" * 40, "?? new-file"),
            ("1" * 40, "", ""),
            ("1" * 40, "", "  origin/main", ["1" * 40]),
        ):
            with self.assertRaises(Refused, msg=arguments):
                self.version(*arguments)


class TheReleases(unittest.TestCase):
    def test_the_same_version_again_is_no_new_one(self):
        self.assertEqual(with_newest([ONE], Release(ONE.revision, ONE.images, "later")), [ONE])
        self.assertEqual(with_newest([ONE], TWO), [ONE, TWO])
        self.assertEqual(with_newest([], ONE), [ONE])

    def test_a_rollback_uses_the_newest_proven_version_before_the_one_that_runs(self):
        for arguments, expected in (
            (([ONE, TWO, THREE], THREE), [ONE, TWO]),
            (([ONE], ONE), []),
            (([], ONE), []),
            # One that was never proven.
            (([ONE, TWO], THREE), [ONE, TWO]),
            # After a failed apply the outputs may be of the good version; the failed one may have been good once.
            (([ONE, TWO], TWO, THREE.revision), [ONE, TWO]),
            (([ONE, TWO], THREE, THREE.revision), [ONE, TWO]),
            (([ONE, TWO], TWO, TWO.revision), [ONE]),
        ):
            self.assertEqual(before(*arguments), expected, arguments)


class AfterAFailure(unittest.TestCase):
    def restored(self, before, failed, outcome=None):
        with (
            mock.patch.object(deploy, "apply_release", side_effect=outcome) as applied,
            mock.patch.object(deploy, "say"),
            self.assertRaises(Failed) as told,
        ):
            deploy.restore(None, before, failed)
        return [call.args[1] for call in applied.call_args_list], str(told.exception)

    def test_the_last_proven_version_is_restored_and_the_target_fails(self):
        for before_it, failed, restored, text in (
            ([ONE, TWO], THREE, [TWO], "is back and proven"),
            # It was good, and is not restored to itself.
            ([ONE, TWO], TWO, [ONE], "is back and proven"),
            ([], ONE, [], "no earlier version"),
        ):
            applied, told = self.restored(before_it, failed)
            self.assertEqual(applied, restored)
            self.assertIn(text, told)

    def test_when_both_fail_both_are_reported(self):
        # A commit that this clone does not have is refused.
        for failure in (RolledBack("that too"), Refused("the commit is not here")):
            self.assertIn(f"AND 111111111111 could not be restored: {failure}", self.restored([ONE], TWO, failure)[1])


class BeforeTheApply(unittest.TestCase):
    def test_a_plan_that_fails_restores_nothing(self):
        """Such as by the lock of another deployment, which would still be there."""
        here = mock.Mock(environment=environments.named("staging"), away=False)
        replaced = {"session": mock.Mock(return_value=here), "version": mock.Mock(return_value="1" * 40)}
        ignored = dict.fromkeys(("say", "confirm", "attested", "Images", "bootstrap", "carry_out"), mock.DEFAULT)
        with (
            mock.patch.multiple(deploy, **replaced, **ignored),
            mock.patch.object(deploy.terraform, "check"),
            mock.patch.object(deploy, "plan_release", side_effect=TerraformError("the lock")),
            mock.patch.object(deploy, "restore") as restore,
            self.assertRaisesRegex(TerraformError, "the lock"),
        ):
            deploy.do_deploy()
        restore.assert_not_called()


class Destroying(unittest.TestCase):
    def destroyed(self, outputs, releases):
        """The session in which staging was destroyed."""
        run = mock.Mock(**{"output.return_value": outputs, "show.return_value": {"values": {}} if outputs else {}})
        here = mock.Mock(environment=environments.named("staging"))
        here.terraform.return_value = run
        here.variables.return_value = []
        here.releases.read.return_value = releases
        with (
            mock.patch.object(deploy, "session", return_value=here),
            mock.patch.object(deploy, "confirm"),
            mock.patch.object(deploy, "say"),
        ):
            deploy.do_destroy()
        self.assertEqual(run.destroy.call_count, 1 if outputs else 0)
        return here

    def forgotten(self, outputs, releases):
        """The lists of proven versions that are written, in order."""
        return [call.args[0] for call in self.destroyed(outputs, releases).releases.write.call_args_list]

    def test_a_service_that_only_the_environment_or_only_this_commit_has_is_no_obstacle(self):
        """Such as a stale preview of a branch that adds one: the nightly run has the code of main."""
        outputs = {"release": ONE.revision, "images": {**ONE.images, "hello": f"r@sha256:{'4' * 64}"}}
        images = self.destroyed(outputs, []).variables.call_args.args[0].images
        self.assertEqual(set(images), set(catalog.NAMES))
        self.assertEqual(images["stats"], ONE.images["stats"])

    def test_no_version_of_the_old_environment_is_restored_in_a_new_one(self):
        outputs = {"release": ONE.revision, "images": ONE.images}
        self.assertEqual(self.forgotten(outputs, [ONE]), [[]])

    def test_the_same_after_a_run_that_was_interrupted_when_all_was_removed(self):
        self.assertEqual(self.forgotten({}, [ONE]), [[]])
        self.assertEqual(self.forgotten({}, []), [])


class TheAnswer(Case):
    def told(self, health, expected="1" * 40):
        url = self.respond(body=health)
        with mock.patch.object(prove, "say") as said, mock.patch.object(prove, "ANSWER_SECONDS", 0):
            prove.answers_as(url, expected)
        return said.call_args.args[0]

    def test_it_must_report_the_deployed_commit(self):
        self.assertIn("answers as 111111111111", self.told(b'{"commit":"%s"}' % (b"1" * 40)))
        for other in (b'{"commit":"%s"}' % (b"2" * 40), b"ok\n", b"[]"):
            with self.assertRaisesRegex(Failed, "1111 was deployed"):
                self.told(other)

    def test_an_image_without_a_commit_is_not_compared_and_that_is_reported(self):
        self.assertIn("not compared", self.told(b"ok\n", None))


class TheSignIn(Case):
    def asked(self, status, location=""):
        with mock.patch.object(prove, "say") as said:
            prove.signs_in(self.respond(status, location=location))
        return said.call_args.args[0]

    def test_a_redirect_to_the_provider_is_good(self):
        self.assertIn(
            "redirects to the sign-in at https://login.example", self.asked(302, "https://login.example?state=1")
        )

    def test_figures_without_a_sign_in_and_errors_are_not(self):
        for status, location in ((200, ""), (503, ""), (302, "http://plain.example")):
            with self.assertRaises(Failed, msg=status):
                self.asked(status, location)


class TheCost(unittest.TestCase):
    def shown(self, spot=0, count=2, public=True, schedule=()):
        task = {"family": "shop-web", "cpu": "256", "memory": "512"}
        weights = {"FARGATE": 100 - spot, "FARGATE_SPOT": spot}
        service = {
            "name": "shop-web",
            "desired_count": count,
            "network_configuration": [{"assign_public_ip": public}],
            "capacity_provider_strategy": [{"capacity_provider": n, "weight": w} for n, w in weights.items() if w],
        }
        inner = [
            ("ecs_task_definition", {**task, "runtime_platform": [{"cpu_architecture": "ARM64"}]}),
            *(("ecs_service", service), ("lb", {})),
        ]
        for cron, tasks in schedule:
            bounds = {"min_capacity": tasks, "max_capacity": tasks}
            action = {"resource_id": "service/shop/shop-web", "schedule": cron, "scalable_target_action": [bounds]}
            inner.append(("appautoscaling_scheduled_action", action))
        resources = [{"type": f"aws_{kind}", "name": "this", "values": values} for kind, values in inner]
        return {"values": {"root_module": {"child_modules": [{"resources": resources}]}}}

    def dollars(self, **what):
        return {line.what: round(line.dollars, 2) for line in cost.lines(self.shown(**what))}

    def test_tasks_addresses_and_load_balancer_are_counted(self):
        # 2 x 730 h x (0.25 x 0.03238 + 0.5 x 0.00356); 730 h x 0.0225; 4 x 730 h x 0.005.
        self.assertEqual(
            self.dollars(), {"shop-web: 256 CPU, 512 MiB": 14.42, "load balancer": 16.43, "public addresses": 14.6}
        )

        # Private tasks have no address.
        self.assertEqual(self.dollars(public=False)["public addresses"], 7.3)
        self.assertIn("45.44", cost.table(cost.lines(self.shown())).splitlines()[-1])

    def test_spot_is_cheaper_and_the_first_task_of_a_mix_is_not_on_it(self):
        full, mixed, spot = (self.dollars(spot=share)["shop-web: 256 CPU, 512 MiB"] for share in (0, 50, 100))
        self.assertAlmostEqual(spot, full * 0.3, places=2)
        self.assertAlmostEqual(mixed, full * (0.75 + 0.25 * 0.3), places=1)

    def test_tasks_that_a_schedule_stops_cost_nothing_meanwhile(self):
        """Nor do their addresses; the load balancer does."""
        always = self.dollars()
        week = [("cron(0 7 ? * MON-FRI *)", 2), ("cron(0 20 * * ? *)", 0)]
        # 5 x 13 of 168 hours; also while the tasks are stopped.
        for count in (2, 0):
            found = self.dollars(schedule=week, count=count)
            (name,) = [name for name in found if name.startswith("shop-web")]
            self.assertEqual(name, "shop-web: 256 CPU, 512 MiB, 65 of 168 hours a week")
            self.assertAlmostEqual(found[name], 14.42 * 65 / 168, places=2)
            self.assertAlmostEqual(found["public addresses"], 7.3 + 7.3 * 65 / 168, places=2)
            self.assertEqual(found["load balancer"], always["load balancer"])

    def test_alarms_that_scaling_makes_for_itself_are_counted(self):
        shown = self.shown()
        resources = shown["values"]["root_module"]["child_modules"][0]["resources"]
        kinds = ["aws_cloudwatch_metric_alarm"] * 3 + ["aws_appautoscaling_policy"] * 2
        resources += [{"type": kind, "name": "this", "values": {}} for kind in kinds]
        (alarms,) = (line for line in cost.lines(shown) if line.what == "alarms")
        self.assertEqual((alarms.count, round(alarms.dollars, 2)), (7, 0.7))

    def test_the_hours_of_a_week_follow_from_the_schedule(self):
        def hours(*given):
            return cost.hours_a_week(
                [{"schedule": one, "scalable_target_action": [{"max_capacity": count}]} for one, count in given]
            )

        evening = ("cron(0 20 * * ? *)", "0")
        self.assertEqual(hours(("cron(0 9 ? * SAT-SUN *)", "1"), evening), 22)
        self.assertEqual(hours(("cron(0 9 ? * FRI-MON *)", "1"), evening), 44)
        self.assertEqual(hours(("cron(0 0 ? * MON,WED *)", "1"), evening), 40)
        # Through the nights from Friday on.
        self.assertEqual(hours(("cron(0 20 ? * FRI *)", "1"), ("cron(0 20 ? * MON *)", "0")), 72)
        # Bounds that change and never are zero, and a time that is no hour.
        self.assertEqual(hours(("cron(0 20 * * ? *)", "1"), ("rate(1 day)", "0")), 168)
        self.assertEqual(hours(("cron(0 20 ? * L *)", "0")), 168)
        self.assertEqual(hours(), 168)


class ThePins(unittest.TestCase):
    def test_every_setting_of_tf_is_known_to_the_services(self):
        text = (environments.TF / "main.tf").read_text(encoding="utf-8")
        handed = set(re.findall(r"(?:^\s+|\{ )([A-Z][A-Z_]+)\s+= ", text, re.MULTILINE))
        handed |= {service.address_setting for service in catalog.ALL.values() if service.address_setting}
        known = set()
        for place in ("services", "crates/service"):
            for file in (toolchain.ROOT / place).rglob("src/**/*.rs"):
                known.update(re.findall(r'"([A-Z][A-Z_]+)"', file.read_text(encoding="utf-8")))
        self.assertLessEqual({"GATEWAY_STATS", "GATEWAY_ROUTES", "STATS_SCOPE", "LOG_LEVEL"}, handed)
        self.assertEqual(handed - known, set())

    def test_no_bucket_is_written_down_twice(self):
        text = (environments.TF / "preconfigured" / "state.tf").read_text(encoding="utf-8")
        self.assertIn('"${var.name}-state-${local.account}-${local.region}"', text)
        self.assertEqual(environments.state_bucket("1", "eu-west-1"), "system-stats-state-1-eu-west-1")
