"""`make codeowners`: .github/CODEOWNERS, from which GitHub requests reviews.

The owner is the account of the repository (GITHUB_REPOSITORY, or the remote `origin`). For an
organization GitHub requires people or teams: OWNERS="@acme/platform @jane".
"""

from __future__ import annotations

import os
import re
import sys

from tools.ci import github
from tools.common.environments import Refused
from tools.common.files import write
from tools.common.toolchain import ROOT

FILE = ROOT / ".github" / "CODEOWNERS"
OWNER = re.compile(r"@[A-Za-z0-9-]+(/[A-Za-z0-9._-]+)?|[^@\s]+@[^@\s]+\.[^@\s]+")


def main() -> int:
    try:
        owners = wanted()
    except Refused as error:
        print(f"codeowners: {error}", file=sys.stderr)
        return 64
    write(FILE, text(owners))
    print(f"codeowners: {FILE.relative_to(ROOT)}: {' '.join(owners)}")
    return 0


def wanted() -> list[str]:
    owners = os.environ.get("OWNERS", "").split() or [f"@{github.repository_name().split('/')[0]}"]
    wrong = [one for one in owners if OWNER.fullmatch(one) is None]
    if wrong:
        raise Refused(f"OWNERS has {wrong[0]!r}, but must have @user, @organization/team or e-mail addresses")
    return owners


def text(owners: list[str]) -> str:
    return (
        "# Written by `make codeowners`. Require their review in the rules of main: a change of any file\n"
        "# may change what is deployed, by whom, and with which rights.\n"
        f"* {' '.join(owners)}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
