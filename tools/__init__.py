"""The scripts behind `make`. Each package has one subject; run a module as `python3 -m tools.PACKAGE.MODULE`."""

import os
import sys

# Before a module with newer syntax is read.
if sys.version_info < (3, 9):  # noqa: UP036
    raise SystemExit(f"tools: Python 3.9 or newer is needed, and this is {sys.version.split()[0]}")

# Git sets these for its hooks. With them, a command of git changes the repository of the hook, not that of its folder.
for _name in ("GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE"):
    os.environ.pop(_name, None)

# No proxy reaches what listens on this machine's loopback.
_LOOPBACK = "localhost,127.0.0.1,::1"
_given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
if _given != "*" and not _given.endswith(_LOOPBACK):
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{_given},{_LOOPBACK}".lstrip(",")
