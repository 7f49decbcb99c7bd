"""Which edit concerns what."""

import contextlib
import io
import os
import signal
import time
import unittest
from unittest import mock

import yaml

from tools.build import build
from tools.common.tests.case import Case
from tools.common.tests.test_surroundings import FULL
from tools.local import dev, run_local


class Watching(Case):
    def test_a_change_is_an_added_removed_or_written_file(self):
        before = {"a": (1, 1), "b": (1, 1), "c": (1, 1)}
        after = {"a": (1, 1), "b": (2, 1), "d": (1, 1)}
        self.assertEqual(dev.changed_paths(before, after), {"b", "c", "d"})

    def test_the_page_is_made_of_its_folder_and_of_wire(self):
        page, services = {dev.PAGE}, {dev.SERVICES}
        for path, made in (
            ("services/frontend/app/style.css", page),
            ("crates/wire/src/lib.rs", page | services),
            ("Cargo.lock", page | services),
            ("services/stats/src/main.rs", services),
            ("services.json", set()),
        ):
            with self.subTest(path):
                self.assertEqual(dev.parts({path}), made)
        self.assertEqual(dev.parts({"services/frontend/app/style.css", "services/stats/src/main.rs"}), page | services)

    def test_compose_watches_the_same_sources(self):
        described = yaml.safe_load((dev.ROOT / "docker-compose.override.yaml").read_text(encoding="utf-8"))
        for name, service in described["services"].items():
            watched = [entry["path"].removeprefix("./") for entry in service["develop"]["watch"]]
            self.assertEqual({*dev.MANIFESTS, "crates", f"services/{name}"}, {*watched})

    def test_sources_are_seen_and_what_a_build_writes_is_not(self):
        seen = dev.snapshot()
        self.assertIn("Cargo.toml", seen)
        self.assertIn(os.path.join("services", "stats", "src", "main.rs"), seen)
        self.assertFalse([path for path in seen if "/dist/" in path or "/target/" in path])

    def test_what_an_editor_saves_for_itself_is_not_seen(self):
        folder = self.temporary_folder()
        for name in ("main.rs", "#main.rs#", ".#main.rs", ".main.rs.swp", "main.rs~"):
            (folder / name).touch()
        self.assertEqual([path.name for path in dev.files_below(folder)], ["main.rs"])

    def test_a_path_that_cannot_be_looked_at_is_left_out(self):
        folder = self.temporary_folder()
        (folder / "loop").symlink_to("loop")
        with mock.patch.object(dev, "ROOT", folder), mock.patch.object(dev, "SOURCES", (".", "gone")):
            self.assertEqual(dev.snapshot(), {})

    def test_a_changed_file_that_is_older_than_the_last_build_becomes_new(self):
        """As `cp -p`, `mv` and `rsync -a` leave it: Cargo would take it for compiled."""
        folder = self.temporary_folder()
        for name in ("copied", "saved"):
            (folder / name).touch()
        os.utime(folder / "copied", (1, 1))
        saved = (folder / "saved").stat().st_mtime_ns
        now = {"copied": (1, 0), "saved": (saved, 0)}
        with mock.patch.object(dev, "ROOT", folder):
            dev.renew({"copied", "saved", "removed"}, now, time.time() - 1)
        self.assertEqual(now["saved"], (saved, 0))
        self.assertGreater(now["copied"][0], 1)
        self.assertEqual(now["copied"][0], (folder / "copied").stat().st_mtime_ns)


class Stopped(Exception):
    """Ends the loop of a test."""


class Rebuilding(unittest.TestCase):
    """Builds and restarts after a series of looks at the sources."""

    PAGE, GATEWAY, OLD = "services/frontend/app/src/main.rs", "services/gateway/src/main.rs", {"other": 1}

    def setUp(self):
        self.running, self.output = mock.Mock(), io.StringIO()
        self.running.unexpected_ends.return_value = []
        self.running.was_stopped.return_value = False
        self.programs = dict.fromkeys(build.SERVICES, "old")
        self.page, self.services = mock.Mock(), mock.Mock()
        self.fresh = mock.Mock(return_value={**self.programs, "gateway": "new"})

    def watch(self, *looks):
        with (
            mock.patch.multiple(build, build_page=self.page, build_binaries=self.services),
            mock.patch.multiple(dev, digests=self.fresh, renew=mock.DEFAULT),
            mock.patch.object(dev, "snapshot", mock.Mock(side_effect=[*looks, Stopped])),
            mock.patch.object(dev.time, "sleep"),
            contextlib.redirect_stdout(self.output),
            self.assertRaises(Stopped),
        ):
            dev.watch(self.running, self.OLD, 0, self.programs)
        return self.page.call_count, self.services.call_count

    def test_only_a_service_whose_program_differs_is_restarted(self):
        edited = {"crates/service/src/lib.rs": 2}
        self.assertEqual(self.watch(edited, edited), (0, 1))
        self.running.restart.assert_called_once_with("gateway")

    def test_an_edit_while_another_settles_is_built_too(self):
        first, both = {**self.OLD, self.PAGE: 2}, {**self.OLD, self.PAGE: 2, self.GATEWAY: 2}
        self.assertEqual(self.watch(first, both, both), (1, 1))

    def test_the_lock_of_another_branch_brings_its_tools(self):
        failed = build.BuildError("tools: no connection")
        with mock.patch.object(build, "ensure_tools", side_effect=[failed, None]) as ensure_tools:
            edited = {**self.OLD, "Cargo.lock": 2}
            page, again = {**edited, self.PAGE: 2}, {**edited, self.PAGE: 3}
            self.assertEqual(self.watch(edited, edited, page, page, again, again), (2, 1))
        self.assertEqual(ensure_tools.mock_calls, [mock.call("dev")] * 2)

    def test_a_file_that_is_gone_again_is_no_edit(self):
        self.assertEqual(self.watch({**self.OLD, "services/stats/4913": 1}, self.OLD, self.OLD), (0, 0))
        self.assertNotIn("changed", self.output.getvalue())

    def test_a_broken_page_does_not_keep_a_service_from_its_edit(self):
        self.page.side_effect = build.BuildError("page: trunk ended with exit code 1")
        both = {**self.OLD, self.PAGE: 2, self.GATEWAY: 2}
        self.assertEqual(self.watch(both, both), (1, 1))
        self.running.restart.assert_called_once_with("gateway")
        self.assertNotIn("up to date", self.output.getvalue())

    def test_what_failed_is_built_again_after_the_next_edit(self):
        self.services.side_effect = [build.BuildError("binaries: cargo ended with exit code 101"), {}]
        broken, page = {**self.OLD, self.GATEWAY: 2}, {**self.OLD, self.GATEWAY: 2, self.PAGE: 2}
        self.assertEqual(self.watch(broken, broken, page, page), (1, 2))
        self.running.restart.assert_called_once_with("gateway")

    def test_a_full_disk_or_a_removed_folder_ends_nothing(self):
        self.page.side_effect = OSError(28, "No space left on device")
        edited = {**self.OLD, self.PAGE: 2}
        self.watch(edited, edited, edited)
        self.assertIn(f"{FULL}; the last good version keeps running", self.output.getvalue())

    def test_a_service_that_has_ended_is_started_by_any_edit(self):
        self.running.unexpected_ends.return_value = ["stats"]
        edited = {**self.OLD, self.PAGE: 2}
        self.watch(edited, edited)
        self.assertIn(mock.call("stats"), self.running.restart.mock_calls)

    def test_a_system_that_make_down_has_stopped_stays_down(self):
        self.running.was_stopped.return_value = True
        for ended, look in ((["stats"], self.OLD), ([], {**self.OLD, self.PAGE: 2})):
            self.running.unexpected_ends.return_value = ended
            self.running.reset_mock()
            with (
                mock.patch.object(dev, "snapshot", return_value=look),
                mock.patch.object(dev.time, "sleep"),
                contextlib.redirect_stdout(self.output),
            ):
                dev.watch(self.running, self.OLD, 0, self.programs)
            self.running.restart.assert_not_called()

    def test_a_change_that_the_watch_does_not_follow_is_named(self):
        for name in ("services.json", "rust-toolchain.toml"):
            edited = {**self.OLD, name: 2}
            self.watch(edited, edited)
            self.assertIn(f"{name} counts from the next start of `make dev`", self.output.getvalue())


class Starting(unittest.TestCase):
    def setUp(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def outcome(self, running, built):
        """The exit code of `make dev` and its message; `running` is what runs before and after the build."""
        system, output = mock.Mock(), io.StringIO()
        with (
            mock.patch.object(build, "ensure_tools"),
            mock.patch.object(build, "build", built),
            mock.patch.object(run_local, "choose", mock.Mock(return_value=system)),
            mock.patch.object(run_local, "running_stacks", mock.Mock(side_effect=running)),
            contextlib.redirect_stderr(output),
        ):
            code = dev.main()
        system.start.assert_not_called()
        system.down.assert_not_called()
        return code, output.getvalue().strip()

    @unittest.skipIf(dev.compose_only.needed(), "Compose does it")
    def test_the_second_of_two_leaves_the_first_alone(self):
        found = self.outcome([[], ["the first"]], mock.Mock(return_value={}))
        self.assertEqual(found, (1, "dev: the system is running already; `make down` first"))

    @unittest.skipIf(dev.compose_only.needed(), "Compose does it")
    def test_a_full_disk_is_one_sentence(self):
        found = self.outcome([[]], mock.Mock(side_effect=OSError(28, "No space left on device")))
        self.assertEqual(found, (1, f"dev: [Errno 28] No space left on device; {FULL}"))
