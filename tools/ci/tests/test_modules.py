"""The check of the modules must find a cycle, however it is written, and nothing else."""

from tools.ci import modules
from tools.common.tests.case import Case


class Modules(Case):
    def setUp(self):
        self.root = self.temporary_folder()
        self.source = self.root / "crates/one/src"

    def found(self, **files):
        for name, text in files.items():
            file = self.source / f"{name.replace('__', '/')}.rs"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return list(modules.cycles(self.source))

    def test_one_direction_is_fine(self):
        self.assertEqual(self.found(lib="mod a; mod b;", a="use crate::b::B;", b="use std::fs;"), [])

    def test_a_cycle_is_named_with_the_modules_that_close_it(self):
        found = self.found(a="use crate::b::B;", b="fn f() { crate::a::f() }")
        self.assertEqual(len(found), 1)
        self.assertIn("crate has a cycle of modules: ", found[0])
        self.assertIn("a uses b", found[0])
        self.assertIn("b uses a", found[0])

    def test_every_way_to_name_a_module_counts(self):
        for path in (
            "use super::b::B;",
            "use crate::{c, b::{self, B as Bee}};",
            "pub(crate) use super::b::deep::*;",
            "fn f() -> super::b::B { todo() }",
        ):
            self.assertEqual(len(self.found(a=path, b="use super::a::A;", b__deep="", c="")), 1, path)

    def test_a_folder_counts_as_its_module(self):
        found = self.found(a="", a__deep="use crate::b::B;", b__mod="use crate::a::A;", b="")
        self.assertEqual(len(found), 1)

    def test_modules_deep_down_are_siblings_too(self):
        found = self.found(a="", a__one="use super::two::Two;", a__two="use super::one::One;")
        self.assertIn("crate::a has a cycle", found[0])

    def test_a_module_may_use_its_parents_and_its_children(self):
        self.assertEqual(self.found(a="use self::one::One;", a__one="use super::A; use crate::a::B;"), [])

    def test_comments_and_tests_do_not_count(self):
        text = "// use crate::a::A;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"
        self.assertEqual(self.found(a="use crate::b::B;", b=text, b__tests="use crate::a::A;"), [])
