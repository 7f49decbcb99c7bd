"""The installer: everything below `.tools/`. It starts on a bare Python 3.9."""

import sys

# Before a module that Windows does not have is read.
if sys.platform == "win32":
    raise SystemExit("tools: this command needs Linux: run it in WSL. `make dev`, `up`, `down` and `logs` do without")
