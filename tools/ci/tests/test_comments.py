"""The checks of comments must be able to fail."""

import subprocess
import unittest

from tools.ci import comments
from tools.common.tests.case import Case


class Comments(Case):
    def setUp(self) -> None:
        self.root = self.temporary_folder()

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def faults(self, name: str, text: str) -> list[str]:
        self.write(name, text)
        return list(comments.check(self.root, name))

    def test_plain_comments_pass(self) -> None:
        self.assertEqual(self.faults("tools/a.py", '"""Parses a table."""\n# The default.\nx = 1\n'), [])
        self.assertEqual(self.faults("crates/a.rs", "//! A table.\nlet verbs = told; // Because of RFC 1.\n"), [])
        self.assertEqual(self.faults("tf/a.tf", '# A bucket.\nverbs = "told"\ndescription = "The bucket."\n'), [])

    def test_a_message_names_file_line_phrase_and_replacement(self) -> None:
        self.assertEqual(
            self.faults("tools/a.py", "x = 1\n# The verbs.\n"), ['tools/a.py:2: "verbs"; write instead: command']
        )

    def test_comments_texts_and_names_of_tests_are_read(self) -> None:
        for name, text in (
            ("tools/a.py", "x = 1  # Nobody answers.\n"),
            ("tools/a.py", '"""Parses.\n\nThe client is told so.\n"""\n'),
            ("tools/a.py", 'raise ValueError("nobody answers")\n'),
            ("tools/a.py", 'print(f"{name}: nobody answers")\n'),
            ("tools/a.py", "def test_a_viewer_is_well(): pass\n"),
            ("crates/a.rs", "/// The address is well.\n"),
            ("crates/a.rs", "let x = 1; // A stand-in.\n"),
            ("crates/a.rs", "async fn a_client_is_told_so() {}\n"),
            ("Makefile", "a: ## runs for whoever asks\n"),
            (".github/workflows/a.yaml", "on: push # nobody reads it\n"),
            ("tf/a.tf", 'variable "a" {\n  description = "Who is told."\n}\n'),
        ):
            self.assertTrue(self.faults(name, text), text)

    def test_code_is_not_prose(self) -> None:
        self.assertEqual(self.faults("tools/a.py", 'told = {"verb": 1}  # The user `nobody`.\n'), [])

    def test_a_description_begins_with_a_noun_or_a_verb(self) -> None:
        for name, text in (
            ("tools/a.py", 'def a():\n    """What it returns."""\n'),
            ("crates/a.rs", "/// Who answers.\n"),
            ("tf/a.tf", "# What AWS needs.\n"),
            ("tf/a.tf", 'description = "What AWS needs."\n'),
        ):
            self.assertEqual(len(self.faults(name, text)), 1, text)
        self.assertEqual(self.faults("crates/a.rs", "/// The sum of\n/// What we add.\n"), [])

    def test_every_source_is_checked_unless_git_ignores_it(self) -> None:
        subprocess.run(["git", "init", "--quiet"], cwd=self.root, check=True, timeout=60)
        (self.root / ".gitignore").write_text("/crates/target/\n")
        for name in ("crates/a.rs", "crates/target/b.rs", "elsewhere/c.py", "tools/d.py", "tools/e.txt"):
            self.write(name, "")
        self.assertEqual(comments.sources(self.root), ["crates/a.rs", "elsewhere/c.py", "tools/d.py"])


class TheRepository(unittest.TestCase):
    def test_the_sources_that_are_left_out_exist(self) -> None:
        for name in comments.EXCEPT:
            self.assertTrue((comments.ROOT / name).is_file(), name)
