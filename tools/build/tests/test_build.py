"""Files that a build changes and keeps."""

import contextlib
import io
import shutil
from unittest import mock

from tools.build import build
from tools.common.files import write
from tools.common.tests.case import Case


class Clean(Case):
    def setUp(self):
        self.place = self.temporary_folder()
        page = self.place / "page"
        self.enter(mock.patch.multiple(build, ROOT=self.place, TARGET=self.place / "target", PAGE=page))

    def clean(self, removed):
        """The output of `make clean` where the engine has one image, and `docker rmi` prints this."""
        answers = {"images": "1234", "rmi": removed}
        with (
            mock.patch.object(build.toolchain, "answer", lambda command: answers[command[1]]),
            contextlib.redirect_stdout(io.StringIO()) as printed,
        ):
            build.clean()
        return printed.getvalue()

    def test_processes_that_run_are_not_forgotten(self):
        write(self.place / ".run" / "stats.pid", "1 2")
        write(self.place / "target" / "a", "")
        with self.assertRaisesRegex(build.BuildError, "`make down` first"):
            self.clean("")
        self.assertTrue((self.place / "target" / "a").exists())

    def test_images_of_running_containers_are_one_sentence(self):
        self.assertIn("which stay: `make down` first", self.clean(None))
        self.assertNotIn("stay", self.clean("deleted"))


class Mirror(Case):
    def setUp(self):
        folder = self.temporary_folder()
        self.source, self.goal = folder / "source", folder / "goal"

    def mirror(self, **files):
        shutil.rmtree(self.source, ignore_errors=True)
        for name, text in files.items():
            write(self.source / name, text)
        build.mirror(self.source, self.goal, last="index")
        return {file.name: file.read_text() for file in self.goal.iterdir()}

    def test_the_goal_becomes_the_source(self):
        self.assertEqual(self.mirror(index="1", a="1"), {"index": "1", "a": "1"})
        self.assertEqual(self.mirror(index="2", b="1"), {"index": "2", "b": "1"})

    def test_what_is_the_same_is_not_touched_and_the_last_file_is_new_when_any_is(self):
        def state(name):
            status = (self.goal / name).stat()
            return status.st_ino, status.st_mtime_ns

        self.mirror(index="1", a="1")
        a, index = state("a"), state("index")
        self.mirror(index="1", a="1")
        self.assertEqual((state("a"), state("index")), (a, index))
        self.mirror(index="2", a="1")
        self.assertEqual(state("a"), a)
        index = state("index")
        self.mirror(index="2", a="2")
        self.assertNotEqual(state("index")[0], index[0])

    def test_a_folder_that_trunk_has_left_goes_too(self):
        write(self.goal / ".stage" / "index", "1")
        self.assertEqual(self.mirror(index="1"), {"index": "1"})
