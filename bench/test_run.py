"""The runner, with scenarios that only pretend to measure."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import unittest
from pathlib import Path
from unittest import mock

import run
from processes import Failed, NotToBeHad, Server
from scenario import Bench, Measurement
from scenarios import BY_NAME

from tools.common.tests.case import Case  # isort: skip (in tools)

# The tests have folders of their own.
DEFAULT_RESULTS = run.RESULTS


def quiet(call, *arguments):
    """The result and the output of a call."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        return call(*arguments), printed.getvalue()


class Runner(Case):
    def setUp(self) -> None:
        self.enter(mock.patch.object(run, "RESULTS", self.temporary_folder()))

    def options(self, *arguments: str) -> argparse.Namespace:
        return run.parsed(list(arguments))

    def scenario(self, measure, **changes):
        return dataclasses.replace(BY_NAME["page-requests"], measure=measure, **changes)

    def test_an_unknown_scenario_is_named_with_those_that_there_are(self) -> None:
        code, printed = quiet(run.main, ["gateway-prox"])
        self.assertEqual(code, 64)
        self.assertIn("there is no gateway-prox; there are", printed)
        self.assertIn("gateway-proxy", printed)

    def test_the_report_is_where_the_workflows_upload_it(self) -> None:
        self.assertEqual(DEFAULT_RESULTS / "report", run.ROOT / "target" / "bench" / "report")
        for name in ("weekly", "release"):
            text = (run.ROOT / ".github" / "workflows" / f"{name}.yaml").read_text(encoding="utf-8")
            self.assertIn("path: target/bench/report/", text)

    def test_every_round_is_measured_and_kept(self) -> None:
        turns = []

        def measure(bench: Bench):
            turns.append(bench.turn)
            yield Measurement("frontend", "page", {"requests_per_second": 10.0 + bench.turn})

        wanted = [self.scenario(measure, rounds=3)]
        results, _ = quiet(run.measured_all, wanted, self.options("page-requests"), Path("/nowhere"))
        self.assertEqual(turns, [0, 1, 2])
        row = results["scenarios"]["page-requests"]["rows"][0]
        self.assertEqual(row["figures"]["requests_per_second"]["median"], 11.0)
        self.assertEqual(run.recorded("page-requests")["rows"], [row])

    def test_one_that_fails_does_not_take_the_others_with_it(self) -> None:
        def broken(_: Bench):
            raise Failed("the client ended")
            yield

        def whole(_: Bench):
            yield Measurement("stats", "one file", {"all_bytes": 5})

        wanted = [self.scenario(broken), dataclasses.replace(BY_NAME["sizes"], measure=whole)]
        results, printed = quiet(run.measured_all, wanted, self.options("--quick"), Path("/nowhere"))
        self.assertEqual(results["failed"], {"page-requests": "the client ended"})
        self.assertEqual(list(results["scenarios"]), ["sizes"])
        self.assertIn("NOT MEASURED: page-requests: the client ended", printed)

    def test_a_peer_that_is_not_to_be_had_is_said_and_left_out(self) -> None:
        @contextlib.contextmanager
        def there():
            yield Server(1, 2)

        @contextlib.contextmanager
        def missing():
            raise NotToBeHad("there is no apt-get")
            yield

        bench = Bench(Path("/nowhere"), Path("/nowhere"), 1.0)
        servers = {"frontend": there, "nginx": missing}
        names, printed = quiet(lambda: [name for name, _ in bench.each(servers)])
        self.assertEqual(names, ["frontend"])
        self.assertEqual(bench.missing, {"nginx": "there is no apt-get"})
        self.assertIn("MISSING: nginx: there is no apt-get", printed)

    def test_every_second_round_begins_at_the_other_end(self) -> None:
        @contextlib.contextmanager
        def there():
            yield Server(1, 2)

        bench = Bench(Path("/nowhere"), Path("/nowhere"), 1.0, turn=1)
        names, _ = quiet(lambda: [name for name, _ in bench.each({"a": there, "b": there})])
        self.assertEqual(names, ["b", "a"])

    def test_a_longer_run_of_the_same_commit_is_kept_where_that_takes_long(self) -> None:
        def measure(bench: Bench):
            yield Measurement("gateway", "both halves", {"seconds": bench.seconds})

        soak = dataclasses.replace(BY_NAME["gateway-soak"], measure=measure)
        quiet(run.measured_all, [soak], self.options("gateway-soak", "--seconds", "600"), Path("/nowhere"))
        results, printed = quiet(run.measured_all, [soak], self.options(), Path("/nowhere"))
        self.assertIn("a longer run of this commit is kept", printed)
        self.assertEqual(results["scenarios"]["gateway-soak"]["seconds_of_one"], 600)
        with mock.patch.object(run.build, "revision", return_value="another"):
            results, _ = quiet(run.measured_all, [soak], self.options(), Path("/nowhere"))
        self.assertEqual(results["scenarios"]["gateway-soak"]["seconds_of_one"], soak.seconds)


if __name__ == "__main__":
    unittest.main()
