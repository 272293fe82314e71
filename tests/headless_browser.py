"""Pages in a headless Chromium, where one is installed: what they report, how wide they are, what keys do to them."""

import html
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Visit", "visit"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip

# Before anything else of the page runs: what goes wrong is noted.
WATCH = """<script>
window.troubles = [];
addEventListener("error", (event) => troubles.push(String(event.message || event.target.outerHTML)), true);
addEventListener("unhandledrejection", (event) => troubles.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => troubles.push(event.violatedDirective + " " + event.blockedURI));
for (const name of ["error", "warn"]) console[name] = (...words) => troubles.push(words.join(" "));
</script>"""
# A window is at least 500 pixels wide; a frame may be as narrow as a phone.
FRAME = """<!doctype html><html><body style="margin:0"><iframe id="frame" width="{width}" height="{height}" style="border:0" srcdoc="{page}"></iframe>
<script>
document.getElementById("frame").addEventListener("load", () => {{
  const inside = document.getElementById("frame").contentWindow, page = inside.document;
  const press = (key, target) => (target || page.activeElement || page.body).dispatchEvent(new inside.KeyboardEvent("keydown", {{ key, bubbles: true, cancelable: true }}));
  const found = {{ troubles: inside.troubles, width: page.documentElement.clientWidth, content: page.documentElement.scrollWidth,
    beyond: [...page.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > page.documentElement.clientWidth + 1)
      .filter((one) => !one.closest(".wide, figure, svg, [data-scrolls]")).map((one) => one.tagName + "." + one.className) }};
  found.asked = (() => {{ {script} }})();
  const told = document.createElement("pre");
  told.id = "told";
  told.textContent = JSON.stringify(found);
  document.body.append(told);
}});
</script></body></html>"""


@dataclass(frozen=True)
class Visit:
    """What a page did.

    Attributes:
        troubles: errors, warnings and refused requests.
        width, content: of the window and of what is in it, in pixels.
        beyond: elements that reach beyond the window, those that scroll by themselves left out.
        asked: what the script of the visit returned.
    """

    troubles: list[str]
    width: int
    content: int
    beyond: list[str]
    asked: Any


def visit(page: str, folder: Path, *, width: int, height: int = 900, script: str = "return null;") -> Visit:
    """Open a page in a frame of that size.

    Args:
        page: a whole HTML page.
        folder: an empty one, for the browser's profile.
        width, height: in pixels.
        script: JavaScript run after the page has loaded, with ``page`` (its document), ``inside`` (its window) and
            ``press(key, target)``; what it returns must have JSON.
    """
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser to open pages in: none of {', '.join(NAMES)} is installed")
    watched = page.replace("<head>", f"<head>{WATCH}", 1)
    outer = folder / "frame.html"
    outer.write_text(FRAME.format(width=width, height=height, page=html.escape(watched), script=script))
    command = [browser, *SWITCHES, f"--user-data-dir={folder / 'profile'}", "--dump-dom", outer.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    _, start, rest = ran.stdout.partition('<pre id="told">')
    assert start, f"the browser told nothing: {ran.stderr[-2000:]}"
    return Visit(**json.loads(html.unescape(rest.partition("</pre>")[0])))
