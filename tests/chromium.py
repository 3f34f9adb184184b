"""The browser of the tests: which programs it needs, and what to say where one is missing."""

import functools
import os
import shutil
import subprocess
import sys

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Nothing leaves the machine, even from a page that tries. (A route in playwright would see to it,
# too, and switch off the browser's cache.)
OPTIONS = [
    "--no-sandbox",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
NODE = "PLAYWRIGHT_NODEJS_PATH"  # where playwright looks for the node that runs its driver


@functools.cache
def program() -> str | None:
    """Return the browser that is installed, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def nodes() -> list[str]:
    """Return what may run playwright's driver; "" is the node that came with playwright.

    That one is the last: it may need a library that a bare system lacks.
    """
    if os.environ.get(NODE):
        return [os.environ[NODE]]
    system = shutil.which("node") or shutil.which("nodejs")
    return [system, ""] if system else [""]


def starts(node: str) -> str:
    """Start playwright's driver with a node; return what it complains of, "" where it runs.

    The driver itself knows which versions of node it runs with.
    """
    env = {name: value for name, value in os.environ.items() if name != NODE}
    asked = [sys.executable, "-m", "playwright", "--version"]
    done = subprocess.run(
        asked, env=env | ({NODE: node} if node else {}), capture_output=True, text=True
    )
    said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
    if said[0].startswith("Traceback"):
        said.reverse()
    return said[0] if done.returncode else ""


@functools.cache
def missing() -> str:
    """Say in a sentence why no browser can be driven, or "" where one can; choose the node.

    The node goes into the environment, where playwright looks for it.
    """
    if program() is None:
        return (
            f"Nothing was looked at in a browser: none of {', '.join(BROWSERS)} is installed "
            "(on Debian: apt install chromium)."
        )
    complaints = {}
    for node in nodes():
        complaints[node or "its own node"] = starts(node)
        if not complaints[node or "its own node"]:
            if node:
                os.environ[NODE] = node
            return ""
    said = "; ".join(f"{node}: {why.rstrip('.')}" for node, why in complaints.items())
    return (
        f"Nothing was looked at in a browser: playwright's driver does not start ({said}). It "
        f"needs another node, on the path or in {NODE} (on Debian: apt install nodejs)."
    )
