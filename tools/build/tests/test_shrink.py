"""Parts of the page that are removed, and parts that are kept."""

import unittest

from tools.build import shrink

LONG = b"__wbg_now_0123456789abcdef"
CLOSURE = b"wasm_bindgen_0123456789abcdef___closures__invoke__1_"
SCRIPT = (
    b"function " + CLOSURE + b"(a) {\n    // Why.\n    wasm." + CLOSURE + b"(a, 'x://y');\n}\n\n"
    b"const imports = {\n    " + LONG + b": function() {},\n};\n"
)
PAGE = b"""<!doctype html>
<!-- For who reads
     the source. -->
<meta name="backend" content="">
<link rel="modulepreload" href="/app-00112233445566aa.js">
<link rel="preload" href="/app-00112233445566aa_bg.wasm">
<p>one
   two</p>
"""


def module(*sections: tuple[int, bytes]) -> bytes:
    return b"\0asm\1\0\0\0" + b"".join(bytes([name]) + shrink.block(text) for name, text in sections)


# One function imported, one exported, and a section that is not parsed.
IMPORT = b"\1" + shrink.block(b"./app_bg.js") + shrink.block(LONG) + b"\0\x85\1"
EXPORTS = b"\2" + shrink.block(CLOSURE) + b"\0\7" + shrink.block(b"memory") + b"\2\0"
MODULE = module((2, IMPORT), (7, EXPORTS), (10, b"code" * 100))


def page(**changed: bytes) -> dict[str, bytes]:
    files = {
        "index.html": PAGE,
        "app-00112233445566aa.js": SCRIPT,
        "app-00112233445566aa_bg.wasm": MODULE,
        "styles-0011223344556677.css": b"/* Why. */\np {\n  color: red;\n}\n",
    }
    return {**files, **changed}


def of_kind(files: dict[str, bytes], suffix: str) -> tuple[str, bytes]:
    (found,) = ((name, content) for name, content in files.items() if name.endswith(suffix))
    return found


LOADER = b"""\
let wasm;
function isLikeNone(x) { return x === null; }
function __wbg_finalize_init(instance) {}
function __wbg_get_imports() { return isLikeNone(wasm.__wbindgen_start); }
async function __wbg_load(module, imports) {
    function expectedResponseType(type) { return true; }
}
function initSync(module) {
}
async function __wbg_init(module_or_path) {
    if (wasm !== undefined) return wasm;
}
export { initSync, __wbg_init as default };
"""
SLIM_LOADER = b"""\
let wasm;
function $a(x) { return x === null; }
function $b(instance) {}
function $c() { return $a(wasm.$d); }
async function $f({ module_or_path }) {
const { instance } = await WebAssembly.instantiateStreaming(fetch(module_or_path), $c());
return $b(instance);
}
export { $f as default };
"""


class TheSlimPage(unittest.TestCase):
    def test_a_loader_keeps_the_one_way_that_this_page_starts(self) -> None:
        files = shrink.shrink(page(**{"app-00112233445566aa.js": LOADER}))
        self.assertEqual(of_kind(files, ".js")[1].decode(), SLIM_LOADER.decode())

    def test_both_sides_get_the_same_short_names(self) -> None:
        files = shrink.shrink(page())
        _, script = of_kind(files, ".js")
        self.assertEqual(
            script, b"function $a(a) {\nwasm.$a(a, 'x://y');\n}\nconst imports = {\n$b: function() {},\n};\n"
        )
        _, slimmed = of_kind(files, ".wasm")
        imports = b"\1" + shrink.block(b"./app_bg.js") + shrink.block(b"$b") + b"\0\x85\1"
        exports = b"\2" + shrink.block(b"$a") + b"\0\7" + shrink.block(b"memory") + b"\2\0"
        self.assertEqual(slimmed, module((2, imports), (7, exports), (10, b"code" * 100)))

    def test_a_name_that_the_script_uses_is_not_given_again(self) -> None:
        self.assertEqual(shrink.short_names(LONG + b" + $a"), {LONG: b"$b"})

    def test_there_is_a_short_name_for_each_of_very_many(self) -> None:
        candidates = shrink.candidates()
        names = [next(candidates) for _ in range(1000)]
        self.assertEqual(len(set(names)), 1000)
        self.assertEqual(names[25:28], [b"$z", b"$aa", b"$ab"])

    def test_comments_and_indentation_go_but_lines_stay(self) -> None:
        files = shrink.shrink(page())
        self.assertEqual(of_kind(files, ".css")[1], b"p {\ncolor: red;\n}\n")
        html = files["index.html"]
        self.assertTrue(html.startswith(b'<!doctype html>\n<meta name="backend" content="">\n<link'))
        self.assertTrue(html.endswith(b"<p>one\ntwo</p>\n"))

    def test_the_names_of_files_follow_their_new_content(self) -> None:
        files = shrink.shrink(page())
        script, module_name = of_kind(files, ".js")[0], of_kind(files, ".wasm")[0]
        self.assertNotIn("00112233445566aa", script)
        self.assertEqual(module_name, script.replace(".js", "_bg.wasm"))
        self.assertIn(f'href="/{script}"'.encode(), files["index.html"])
        self.assertIn(f'href="/{module_name}"'.encode(), files["index.html"])
        self.assertEqual(files, shrink.shrink(page()), "the same page has the same names")
        other = shrink.shrink(page(**{"app-00112233445566aa.js": SCRIPT + b"more()\n"}))
        self.assertNotEqual(script, of_kind(other, ".js")[0])
        self.assertNotEqual(module_name, of_kind(other, ".wasm")[0])

    def test_what_is_loaded_later_gets_the_hash_of_its_content_too(self) -> None:
        later = {
            "fleet.js": SCRIPT.replace(b"now", b"then"),
            "fleet_bg.wasm": MODULE,
            "fleet.css": b"p {}\n",
            "index.html": PAGE
            + b'<script>\n// Later.\nimport("./fleet.js", "./fleet_bg.wasm", "./fleet.css")</script>',
        }
        files = shrink.shrink(page(**later))
        (script,) = (name for name in files if name.startswith("fleet-") and name.endswith(".js"))
        module_name = script.replace(".js", "_bg.wasm")
        (style,) = (name for name in files if name.startswith("fleet-") and name.endswith(".css"))
        self.assertIn(module_name, files)
        self.assertIn(f'<script>\nimport("./{script}", "./{module_name}", "./{style}")'.encode(), files["index.html"])
        self.assertNotIn(b"then_", files[script])
        self.assertNotIn("fleet.js", files)

    def test_what_is_not_as_expected_stops_the_build(self) -> None:
        for changed in (
            {"app-00112233445566aa_bg.wasm": MODULE[:-1]},
            {"app-00112233445566aa_bg.wasm": b"<html>"},
            {"app-00112233445566aa.js": b"`two\n  lines`"},
            {"index.html": PAGE + b"<pre>\n  two\n</pre>"},
            {"second.js": SCRIPT},
        ):
            with self.assertRaises(shrink.Unexpected, msg=changed):
                shrink.shrink(page(**changed))
