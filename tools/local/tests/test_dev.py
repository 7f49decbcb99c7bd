"""Which edit concerns what."""

import contextlib
import io
import os
import signal
import unittest
from unittest import mock

from tools.build import build
from tools.common.tests.test_surroundings import FULL
from tools.local import dev, run_local


class Watching(unittest.TestCase):
    def test_a_change_is_an_added_removed_or_written_file(self):
        before = {"a": (1, 1), "b": (1, 1), "c": (1, 1)}
        after = {"a": (1, 1), "b": (2, 1), "d": (1, 1)}
        self.assertEqual(dev.changed_paths(before, after), {"b", "c", "d"})

    def test_the_page_is_made_of_its_folder_and_of_wire(self):
        self.assertTrue(dev.is_page("services/frontend/app/src/main.rs"))
        self.assertTrue(dev.is_page("crates/wire/src/lib.rs"))
        self.assertFalse(dev.is_page("services/stats/src/main.rs"))
        self.assertFalse(dev.is_page_only("crates/wire/src/lib.rs"))
        self.assertTrue(dev.is_page_only("services/frontend/app/style.css"))

    def test_sources_are_seen_and_what_a_build_writes_is_not(self):
        seen = dev.snapshot()
        self.assertIn("Cargo.toml", seen)
        self.assertIn(os.path.join("services", "stats", "src", "main.rs"), seen)
        self.assertFalse([path for path in seen if "/dist/" in path or "/target/" in path])

    def test_only_a_service_whose_program_differs_is_restarted(self):
        class Running:
            restarted = []

            def unexpected_ends(self):
                return []

            def restart(self, name):
                self.restarted.append(name)

        programs = dict.fromkeys(build.SERVICES, "old")
        fresh = {**programs, "gateway": "new"}
        originals = build.build_binaries, dev.digests
        build.build_binaries, dev.digests = lambda profile: {}, lambda paths: fresh
        try:
            running = Running()
            self.assertEqual(dev.rebuild(running, {"crates/service/src/lib.rs"}, programs), fresh)
        finally:
            build.build_binaries, dev.digests = originals
        self.assertEqual(running.restarted, ["gateway"])


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
