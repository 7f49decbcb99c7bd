import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

from tools.common import debian_program, toolchain
from tools.common.tests.case import Case


class DebianProgram(Case):
    def test_threads_that_need_the_same_program_fetch_it_once(self) -> None:
        fetched = []

        def unpack(name: str, folder: Path, *_: object) -> None:
            fetched.append(name)
            # Long enough for the others to find nothing there.
            time.sleep(0.2)
            (folder / "usr/bin").mkdir(parents=True)
            (folder / "usr/bin/thing").touch()

        self.enter(
            mock.patch.object(toolchain, "TOOLS", self.temporary_folder()),
            mock.patch.object(debian_program, "_unpack", unpack),
        )
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda _: debian_program.unpacked("thing", "usr/bin/thing"), range(4)))
        self.assertEqual(fetched, ["thing"])
