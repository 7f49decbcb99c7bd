"""The Chromium of the tests: the machine's, Playwright's or Debian's."""

from __future__ import annotations

import os
import shlex
import shutil
from xml.sax.saxutils import escape

from tools.common import debian_program, toolchain, versions
from tools.common.files import script, write
from tools.install.debian_packages import debian_install
from tools.install.progress import Bound, Failed, Job

# Playwright tries several servers, 10 s each; its archive has 100 MB.
BROWSER = Bound(total=600, silent=60)


def browser(job: Job) -> None:
    """Record the first Chromium that starts."""
    for attempt in (existing_browser, playwright_browser, debian_browser):
        path = attempt(job)
        if path and toolchain.answer([path, "--version"]) is not None:
            write(toolchain.browser_record(), path)
            job.say(f"the browser is {path}")
            return
    raise Failed("there is no Chromium: install the package chromium, or Google Chrome")


def existing_browser(job: Job) -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


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


def debian_browser(job: Job) -> str | None:
    if os.geteuid() == 0:
        debian_install(job, "Chromium", versions.DEBIAN_CHROMIUM)
        return shutil.which("chromium")
    return unpacked_browser(job)


def unpacked_browser(job: Job) -> str | None:
    """Debian's Chromium below .tools/, for users who may not install packages."""
    name, *fonts = versions.DEBIAN_CHROMIUM
    try:
        command = debian_program.unpacked(name, "usr/lib/chromium/chromium", *fonts)
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
