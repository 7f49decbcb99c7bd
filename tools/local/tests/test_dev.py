"""Which edit concerns what."""

import os
import unittest

from tools.build import build
from tools.local import dev


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
