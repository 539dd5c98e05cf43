"""Reads the pages of a built site: their markup, where they load from, and how wide a browser makes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

BROWSER_SECONDS = 240.0
"""How long a browser may take to lay out every page at every width."""

RAW_TABLE = re.compile(r"\|\s*:?-{3,}|^\s*\|.*\|\s*$", re.MULTILINE)
"""What is left of a table that Markdown did not take for one."""

ELSEWHERE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
"""The beginning of an address that names a host."""

STYLE_ADDRESS = re.compile(r"(?:url\(|@import)\s*[\"']?([^\"')\s;]+)", re.IGNORECASE)

LOADING_ATTRIBUTES = frozenset({"src", "srcset", "poster", "data"})
LINKS_THAT_LOAD = frozenset(
    {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "manifest"}
)
NOT_PROSE = frozenset({"pre", "code", "script", "style", "svg"})
VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)


class Page(HTMLParser):
    """Prose of a page, and the addresses that a browser fetches for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.prose: list[str] = []
        self.loaded: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._inside.append(tag)
        given = {name: value or "" for name, value in attrs}
        self.loaded += [value for name, value in given.items() if name in LOADING_ATTRIBUTES]
        self.loaded += STYLE_ADDRESS.findall(given.get("style", ""))
        if tag == "link" and LINKS_THAT_LOAD & set(given.get("rel", "").split()):
            self.loaded.append(given.get("href", ""))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._inside:
            self.loaded += STYLE_ADDRESS.findall(data)
        if not NOT_PROSE & set(self._inside):
            self.prose.append(data)


def raw_tables(text: str) -> list[str]:
    """Lines of table markup that a reader of the page sees."""
    return [match[0].strip() for part in Page(text).prose for match in RAW_TABLE.finditer(part)]


def from_elsewhere(text: str) -> list[str]:
    """Addresses on other hosts that a browser fetches when it shows the page."""
    return [address for address in Page(text).loaded if ELSEWHERE.match(address)]


def styles_from_elsewhere(text: str) -> list[str]:
    """The same for a style sheet."""
    return [address for address in STYLE_ADDRESS.findall(text) if ELSEWHERE.match(address)]


def browser() -> str | None:
    """A browser that lays pages out without a screen, if one is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


MEASURE = """<!doctype html><title>measure</title><body style="margin:0"><script>
async function load(page) {
  const frame = document.createElement("iframe");
  frame.style = `border:0;height:900px;width:${WIDTHS[0]}px`;
  document.body.append(frame);
  await new Promise(done => { frame.onload = done; frame.src = page; });
  return frame;
}
function scrolling(element) {
  for (let one = element.parentElement; one && one.tagName !== "ARTICLE"; one = one.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(one).overflowX)) return one;
  return null;
}
function faults(frame, width) {
  const inside = frame.contentDocument, found = [];
  const whole = inside.documentElement.scrollWidth;
  if (whole > width) found.push(`the page is ${whole} pixels wide`);
  const shown = element => !element.closest(".headerlink, .copybtn, svg, script, style, dialog");
  const report = (element, box) => {
    if (box.width && (box.right > width + 1 || box.left < -1))
      found.push(`${element.tagName} from ${box.left} to ${box.right}: ${element.textContent.slice(0, 60)}`);
  };
  for (const element of inside.querySelectorAll("article *"))
    if (shown(element)) report(element, (scrolling(element) || element).getBoundingClientRect());
  // Text may stand out of a box that fits. On a narrow window the lists of pages are folded away.
  const parts = width < 1000 ? "article" : "article, .bd-sidebar-primary, .bd-sidebar-secondary, .bd-header";
  for (const part of inside.querySelectorAll(parts)) {
    const texts = inside.createTreeWalker(part, NodeFilter.SHOW_TEXT), range = inside.createRange();
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      const element = text.parentElement;
      if (!text.data.trim() || !shown(element) || (part.tagName === "ARTICLE" && scrolling(text))) continue;
      range.selectNodeContents(text);
      report(element, range.getBoundingClientRect());
    }
  }
  for (const entry of frame.contentWindow.performance.getEntriesByType("resource"))
    if (!entry.name.startsWith(location.origin + "/") && !entry.name.startsWith("data:"))
      found.push(`loads ${entry.name}`);
  return found;
}
async function all() {
  const answer = {pages: 0, faults: []};
  for (const page of PAGES) {
    // Loading takes most of the time, and a window may change its width as well.
    const frame = await load(page);
    for (const width of WIDTHS) {
      frame.style.width = `${width}px`;
      await new Promise(done => setTimeout(done, 0));
      answer.pages += 1;
      for (const fault of faults(frame, width)) answer.faults.push(`${page} at ${width}: ${fault}`);
    }
    frame.remove();
  }
  await fetch("/answer", {method: "POST", body: JSON.stringify(answer)});
}
all().catch(error => fetch("/answer", {method: "POST", body: JSON.stringify({error: String(error)})}));
</script>"""


class Serving:
    """The site and the measuring page on a port of loopback, and what that page sends back."""

    def __init__(self, site: Path, harness: str) -> None:
        self.answer: dict[str, Any] = {}
        self.answered = threading.Event()
        outer = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/measure":
                    super().do_GET()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(harness.encode())

            def do_POST(self) -> None:
                outer.answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()
                outer.answered.set()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Serving:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True)
class Measured:
    """What a browser found."""

    pages: int
    faults: list[str]


def measure(site: Path, pages: Iterable[str], widths: Iterable[int], scratch: Path) -> Measured:
    """Lay out each page at each width in a browser, and say what does not fit or comes from elsewhere."""
    program = browser()
    assert program is not None
    harness = MEASURE.replace("WIDTHS", json.dumps([*widths])).replace("PAGES", json.dumps([*pages]))
    with Serving(site, harness) as serving:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        # A page keeps being laid out although no window shows it.
        command += [
            "--disable-renderer-backgrounding",
            f"--user-data-dir={scratch}",
            "--remote-debugging-port=0",
        ]
        process = subprocess.Popen(
            [*command, "--window-size=1600,1000", f"{serving.address}/measure"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert serving.answered.wait(BROWSER_SECONDS), "the browser did not finish"
        finally:
            process.terminate()
            process.wait()
    assert "error" not in serving.answer, serving.answer
    return Measured(serving.answer["pages"], serving.answer["faults"])
