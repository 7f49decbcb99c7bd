"""Which pins are behind, with programs that only pretend to be Cargo and uv."""

import contextlib
import io
import os
from unittest import mock

from tools.build import build
from tools.common import toolchain
from tools.common.files import script
from tools.common.tests.case import Case
from tools.supply import outdated

UPDATE = "Update boto3 v1.0 -> v2.0"
# As Cargo and uv with colors print it.
COLORED = f"\\033[1m{UPDATE.replace(' ', chr(92) + '033[0m ', 1)}"


class Pins(Case):
    def setUp(self) -> None:
        self.place = self.temporary_folder()
        environment = {"PATH": f"{self.place}:/usr/bin:/bin", "HOME": str(self.place), "CARGO_HOME": str(self.place)}
        self.enter(
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.multiple(toolchain, TOOLS=self.place, PYTHON=self.place / "python", route=lambda: "rustup"),
        )

    def program(self, name: str, text: str) -> None:
        script(self.place / name, text)

    def test_colors_hide_no_update(self) -> None:
        plain = '[ -z "$FORCE_COLOR$CLICOLOR_FORCE" ] && [ "$CARGO_TERM_COLOR" = never ]'
        self.program("uv/bin/uv", f"if {plain}; then echo '{UPDATE}'; else printf '{COLORED}\\n'; fi\n")
        self.program("cargo", f"if {plain}; then echo '  Unchanged h2 v1 (available: v2)'; fi\n")
        os.environ.update(CARGO_TERM_COLOR="always", FORCE_COLOR="1", CLICOLOR_FORCE="1")
        self.assertEqual(outdated.wheels(), [UPDATE])
        self.assertEqual(outdated.crates(), ["Unchanged h2 v1 (available: v2)"])

    def test_a_mirror_of_uv_or_pip_answers_in_place_of_pypi(self) -> None:
        self.program("uv/bin/uv", 'echo "Update $UV_DEFAULT_INDEX $UV_NATIVE_TLS $UV_FROZEN"\n')
        self.program("python/bin/python", '[ "$4" = get ] && [ -f pip.conf ] && cat pip.conf\n')
        mirror = "https://mirror.example/simple"
        for given, expected in (
            ({}, "Update   "),
            ({"UV_DEFAULT_INDEX": mirror, "UV_NATIVE_TLS": "1", "UV_FROZEN": "1"}, f"Update {mirror} 1 "),
            ({"UV_INDEX_URL": mirror}, f"Update {mirror}  "),
            ({"PIP_INDEX_URL": mirror}, f"Update {mirror}  "),
        ):
            with self.subTest(given), mock.patch.dict(os.environ, given):
                self.assertEqual(outdated.wheels(), [expected])
        self.program("python/bin/python", f'[ "$5" = global.index-url ] && echo {mirror}\n')
        self.assertEqual(outdated.wheels(), [f"Update {mirror}  "])

    def test_a_mirror_of_rustup_has_the_newest_compiler(self) -> None:
        os.environ["RUSTUP_DIST_SERVER"] = self.respond(body=b'[pkg.rustc]\nversion = "9.9.9 (abc)"\n')
        self.assertEqual(outdated.compiler(), [f"Rust {toolchain.CHANNEL} -> 9.9.9"])

    def test_the_answers_of_the_others_are_printed_when_one_is_missing(self) -> None:
        parts = {"crates": mock.Mock(return_value=[UPDATE]), "wheels": mock.Mock(side_effect=OSError("no route"))}
        with (
            mock.patch.object(outdated, "PARTS", parts),
            mock.patch.object(build, "ensure_tools"),
            contextlib.redirect_stdout(io.StringIO()) as printed,
            contextlib.redirect_stderr(io.StringIO()) as said,
        ):
            self.assertEqual(outdated.main(), 1)
        self.assertEqual(printed.getvalue(), f"crates: {UPDATE}\nwheels: unknown: no route\n")
        self.assertIn("no answer about wheels", said.getvalue())
