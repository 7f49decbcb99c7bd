"""The browsers of the tests: Chromium, from the machine, Playwright or Debian; Firefox, from the machine or Debian."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from xml.sax.saxutils import escape

from tools.common import debian_program, toolchain, versions
from tools.common.files import script, write
from tools.install.debian_packages import debian_install
from tools.install.progress import Bound, Failed, Job

# Playwright tries several servers, 10 s each; its archive has 100 MB.
BROWSER = Bound(total=600, silent=60)


def browser(job: Job) -> None:
    """Record the first Chromium that starts."""
    attempts = (
        lambda: existing("chromium", "chromium-browser", "google-chrome"),
        lambda: playwright_browser(job),
        lambda: debian_browser(job, "lib/chromium/chromium", versions.DEBIAN_CHROMIUM),
    )
    if not any(record(job, "chromium", attempt()) for attempt in attempts):
        raise Failed("there is no Chromium (a snap does not serve): install the package chromium, or Google Chrome")


def firefox(job: Job) -> None:
    """Record the first Firefox that starts. Without one, its tests are skipped."""
    attempts = (
        lambda: existing("firefox-esr", "firefox"),
        lambda: debian_browser(job, "lib/firefox-esr/firefox-esr", versions.DEBIAN_FIREFOX),
    )
    try:
        if any(record(job, "firefox", attempt()) for attempt in attempts):
            return
    except Failed as failure:
        job.say(str(failure))
    job.say(
        "there is no Firefox (a snap does not serve), so its tests will be skipped: install the package firefox-esr"
    )


def record(job: Job, name: str, path: str | None) -> bool:
    """Record the path of a browser, if it starts."""
    if path is None or toolchain.answer([path, "--version"]) is None:
        return False
    write(toolchain.browser_record(name), path)
    job.say(f"{name} is {path}")
    return True


def existing(*names: str) -> str | None:
    """The first of these programs that is no snap: the /tmp of a snap does not have Playwright's profile."""
    found = filter(None, map(shutil.which, names))
    return next((path for path in found if not path.startswith("/snap/") and not leads_to_snap(Path(path))), None)


def leads_to_snap(program: Path) -> bool:
    """Ubuntu's packages of browsers are scripts that start the snap."""
    with program.open("rb") as file:
        return b"/snap/bin/" in file.read(4096)


def playwright_browser(job: Job) -> str | None:
    """Playwright's own build, which needs a route to its servers."""
    python = str(toolchain.PYTHON / "bin" / "python")
    command = [python, "-m", "playwright", "install", "--only-shell", "chromium"]
    try:
        job.run(command, BROWSER, variables={"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000"})
    except Failed as failure:
        job.say(f"playwright cannot install its Chromium: {failure}")
        return None
    names = ("chrome-headless-shell", "headless_shell")
    found = [path for name in names for path in (toolchain.TOOLS / "browser").glob(f"*/*/{name}")]
    return str(found[0]) if found else None


def debian_browser(job: Job, inside: str, packages: tuple[str, ...]) -> str | None:
    """Debian's package: installed as root, otherwise unpacked below .tools/."""
    name, *fonts = packages
    if os.geteuid() == 0 and shutil.which("apt-get"):
        debian_install(job, name, packages)
        return shutil.which(name)
    try:
        command = debian_program.unpacked(name, f"usr/{inside}", *fonts)
    except debian_program.NotToBeHad as error:
        job.say(str(error))
        return None
    folder = toolchain.TOOLS.resolve() / name
    # Without a list of its own, it would look for fonts where packages install them.
    write(folder / "fonts.conf", FONTS.format(folder=escape(str(folder))))
    program = toolchain.BIN / name
    words = " ".join(shlex.quote(word) for word in command)
    script(program, f'FONTCONFIG_FILE={shlex.quote(str(folder / "fonts.conf"))} exec {words} "$@"\n')
    return str(program)


FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/usr/share/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""
