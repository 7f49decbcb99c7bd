"""The checks of the documents must be able to fail."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from tools.ci import check, documents
from tools.common.tests.case import Case


class Documents(Case):
    def setUp(self) -> None:
        self.root = self.temporary_folder()

    def faults(self, text: str, name: str = "docs/page.md") -> list[str]:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return list(documents.check(self.root, name))

    def test_a_plain_document_passes(self) -> None:
        text = "# Title\n\nSee [below](#second-part), [the site](https://example.org).\n\n## Second part\n"
        self.assertEqual(self.faults(text), [])

    def test_a_link_needs_its_file(self) -> None:
        self.assertEqual(self.faults("[x](gone.md)\n"), ["docs/page.md:1: gone.md does not exist"])
        self.assertEqual(len(self.faults("a\n\n![picture](gone.png)\n")), 1)
        (self.root / "docs" / "gone.md").touch()
        self.assertEqual(self.faults("[x](gone.md)\n"), [])

    def test_a_path_needs_its_file(self) -> None:
        expected = ["docs/page.md:1: tools/template does not exist"]
        self.assertEqual(self.faults("See `tools/template`, `docs/page.md` and `services/hello`.\n"), expected)

    def test_a_link_needs_its_heading(self) -> None:
        self.faults("# A `b` c, d\n\n## Twice\n\n## Twice\n", "docs/other.md")
        good = "[x](other.md#a-b-c-d) [y](other.md#twice-1)\n"
        self.assertEqual(self.faults(good), [])
        expected = "docs/page.md:1: other.md#twice-2: no heading has this anchor"
        self.assertEqual(self.faults("[x](other.md#twice-2)\n"), [expected])
        self.assertEqual(len(self.faults("# Title\n\n[x](#third)\n")), 1)

    def test_a_heading_in_a_code_block_is_no_anchor(self) -> None:
        self.assertEqual(len(self.faults("[x](#title)\n\n```sh\n# title\n```\n")), 1)

    def test_every_banned_phrase_is_found(self) -> None:
        for text in (
            "Nobody answers.",
            "For whoever asks.",
            "The client is told so.",
            "It says whether it works.",
            "This is to be done.",
            "A verb of the Makefile.",
            "The address is well.",
            "It starts anew.",
        ):
            self.assertEqual(len(self.faults(text + "\n")), 1, text)

    def test_a_message_names_file_line_phrase_and_replacement(self) -> None:
        self.assertEqual(self.faults("# Title\n\nThe verbs.\n"), ['docs/page.md:3: "verbs"; write instead: command'])

    def test_code_is_not_prose(self) -> None:
        self.assertEqual(self.faults("The message `nobody is well`.\n\n```\nnobody\n```\n"), [])

    def test_a_heading_is_no_question(self) -> None:
        fault = 'docs/page.md:1: heading "What it is"; use a noun phrase'
        self.assertEqual(self.faults("# What it is\n"), [fault])
        self.assertEqual(self.faults("# Whatever\n"), [])

    def test_generated_text_is_checked_for_links_only(self) -> None:
        part = "<!-- made by tools/x.py -->\nnobody [x](gone.md)\n<!-- until here -->\n"
        self.assertEqual(self.faults(part), ["docs/page.md:2: gone.md does not exist"])
        self.assertEqual(self.faults("nobody\n", "docs/plan.md"), [])

    def test_documents_have_a_largest_length(self) -> None:
        for name, line, most in (("README.md", "word\n", 120), ("docs/decisions/0001-title.md", "word\n", 25)):
            self.assertEqual(self.faults(line * most, name), [])
            expected = f"{name} has {most + 1} lines; at most {most} are allowed"
            self.assertEqual(self.faults(line * (most + 1), name), [expected])
        for name, most in (("README.md", 900), ("docs/architecture.md", 1800)):
            self.assertEqual(self.faults("word " * most, name), [])
            expected = f"{name} has {most + 1} words; at most {most} are allowed"
            self.assertEqual(self.faults("word " * (most + 1), name), [expected])
        self.assertEqual(self.faults("word\n" * 50, "docs/decisions/README.md"), [])

    def test_the_index_lists_each_decision_once(self) -> None:
        self.faults("# 0001. One\n", "docs/decisions/0001-one.md")
        self.faults("[0001](0001-one.md)\n", "docs/decisions/README.md")
        self.assertEqual(list(documents.unlisted(self.root)), [])
        self.faults("# 0001. Two\n", "docs/decisions/0001-two.md")
        expected = [
            "docs/decisions/0001-two.md is not listed in docs/decisions/README.md",
            "docs/decisions/0001-two.md has the number of another decision",
        ]
        self.assertEqual(list(documents.unlisted(self.root)), expected)

    def test_a_crate_needs_a_row_and_a_row_its_crate(self) -> None:
        manifest = self.root / "services" / "stats" / "Cargo.toml"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(
            '[package]\nname = "x"\n\n[dependencies]\nbytes.workspace = true\nwire = "1"\n'
            '\n[dev-dependencies]\nproptest = { version = "1" }\n'
        )
        table = "| crate | purpose |\n| --- | --- |\n| bytes, gone | x |\n\n## Tools\n\n| zig | x |\n"
        self.faults(table, "docs/dependencies.md")
        expected = [
            "the crate proptest has no row in docs/dependencies.md",
            "docs/dependencies.md lists gone, which no crate uses",
        ]
        self.assertEqual(list(documents.undocumented(self.root)), expected)

    def test_files_that_git_ignores_are_left_out(self) -> None:
        subprocess.run(["git", "init", "--quiet"], cwd=self.root, check=True, timeout=60)
        (self.root / ".gitignore").write_text("/target/\n")
        for name in ("a.md", "b c.md", "\u00fc.md", "target/c.md"):
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).touch()
        self.assertEqual(documents.documents(self.root), ["a.md", "b c.md", "\u00fc.md"])

    def test_an_archive_without_git_is_one_sentence(self) -> None:
        with self.assertRaisesRegex(SystemExit, "git init"):
            documents.documents(self.root)


TYPOS = Path(check.lint("typos"))


@unittest.skipUnless(TYPOS.exists(), "typos is not installed: `make tools`")
class Spelling(unittest.TestCase):
    def passes(self, name: str, text: str) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_text(text, encoding="utf-8")
            command = [str(TYPOS), "--config", str(documents.ROOT / "typos.toml"), str(file)]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60)
        return done.returncode == 0

    def test_a_misspelled_word_is_found(self) -> None:
        self.assertTrue(self.passes("a.py", "the file\n"))
        self.assertFalse(self.passes("a.py", "t" + "eh file\n"))

    def test_documents_are_american(self) -> None:
        british = "col" + "our\n"
        self.assertFalse(self.passes("a.md", british))
        self.assertTrue(self.passes("a.md", "color\n"))
        self.assertTrue(self.passes("a.rs", british))


class TheRepository(unittest.TestCase):
    def test_it_has_the_documents_that_have_a_largest_length(self) -> None:
        for name in (*documents.LIMITS, *documents.GENERATED):
            self.assertTrue((documents.ROOT / name).is_file(), name)
