import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

from tools.common import debian_program, toolchain


class DebianProgram(unittest.TestCase):
    def test_threads_that_need_the_same_program_fetch_it_once(self) -> None:
        fetched = []

        def unpack(name: str, folder: Path, packages: tuple[str, ...]) -> None:
            fetched.append(name)
            # Long enough for the others to find nothing there.
            time.sleep(0.2)
            (folder / "usr/bin").mkdir(parents=True)
            (folder / "usr/bin/thing").touch()

        with tempfile.TemporaryDirectory() as folder:
            with (
                mock.patch.object(toolchain, "TOOLS", Path(folder)),
                mock.patch.object(debian_program, "_unpack", unpack),
            ):
                threads = [
                    threading.Thread(target=debian_program.unpacked, args=("thing", "usr/bin/thing")) for _ in range(4)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(10)
        self.assertEqual(fetched, ["thing"])
