"""Drives a browser by the WebDriver protocol, as far as the tests of the console need it.

Source: https://www.w3.org/TR/webdriver2/.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.docs import site
from tests.servers.ports import free_port

DRIVER: Final = "chromedriver"
WAIT_SECONDS: Final = 20.0
"""How long something on a page may take on a busy machine."""

ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
"""Key of a reference to an element, by the standard."""

KEYS: Final[Mapping[str, str]] = {
    "Escape": "\ue00c",
    "Enter": "\ue007",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
    "ArrowLeft": "\ue012",
    "ArrowUp": "\ue013",
    "Tab": "\ue004",
}

ARGUMENTS: Final[Sequence[str]] = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def is_there() -> bool:
    """Whether a browser and its driver are installed."""
    return site.browser() is not None and shutil.which(DRIVER) is not None


class Driven:
    """One window of a browser."""

    def __init__(self, port: int, session: str) -> None:
        self._port = port
        self._base = f"/session/{session}"

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return ask(self._port, method, self._base + path, body)

    def open(self, address: str) -> None:
        """Go to an address, and wait until its document is loaded."""
        self._ask("POST", "/url", {"url": address})

    @property
    def address(self) -> str:
        return str(self._ask("GET", "/url"))

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns; promises are awaited."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def element(self, selector: str) -> str:
        """The first shown element of a CSS selector; waits for it. Raises AssertionError."""
        shown = (
            "const found = [...document.querySelectorAll(arguments[0])];"
            "return found.find(one => one.checkVisibility()) ?? null;"
        )
        found = self.until(lambda: self.run(shown, selector), selector)
        return str(found[ELEMENT])

    def text(self, selector: str) -> str:
        return str(self._ask("GET", f"/element/{self.element(selector)}/text"))

    def click(self, selector: str) -> None:
        self._ask("POST", f"/element/{self.element(selector)}/click", {})

    def click_text(self, text: str, selector: str = "a, button") -> None:
        """Click what has exactly this text."""
        find = (
            "return [...document.querySelectorAll(arguments[0])].find("
            "one => one.textContent.trim() === arguments[1] && one.checkVisibility()) ?? null;"
        )
        found = self.until(lambda: self.run(find, selector, text), text)
        self._ask("POST", f"/element/{found[ELEMENT]}/click", {})

    def type(self, selector: str, text: str, *, clear: bool = True) -> None:
        """Type into a field."""
        element = self.element(selector)
        if clear:
            self._ask("POST", f"/element/{element}/clear", {})
        self._ask("POST", f"/element/{element}/value", {"text": text})

    def press(self, *keys: str) -> None:
        """Press keys one after the other, by name or letter, wherever the focus is."""
        actions: list[dict[str, Any]] = []
        for key in keys:
            value = KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def point(self, selector: str, x: int, y: int, *, click: bool = False) -> None:
        """Move the pointer to a place within an element, from its upper left corner."""
        box = self.run(
            "const box = arguments[0].getBoundingClientRect(); return [box.x, box.y];",
            {ELEMENT: self.element(selector)},
        )
        move = {
            "type": "pointerMove",
            "duration": 0,
            "x": round(box[0] + x),
            "y": round(box[1] + y),
            "origin": "viewport",
        }
        actions: list[dict[str, Any]] = [move]
        if click:
            actions += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        pointer = {
            "type": "pointer",
            "id": "mouse",
            "parameters": {"pointerType": "mouse"},
            "actions": actions,
        }
        self._ask("POST", "/actions", {"actions": [pointer]})

    def until(self, look: Callable[[], Any], what: str = "") -> Any:
        """What ``look`` gives as soon as it gives something. Raises AssertionError."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (found := look()):
            if time.monotonic() > deadline:
                shown = self.run("return document.body.innerText")
                raise AssertionError(f"{what} did not come about at {self.address}:\n{shown}")
            time.sleep(0.02)
        return found

    def until_text(self, text: str, selector: str = "main") -> str:
        """The text of an element once it contains ``text``."""

        def look() -> str | None:
            told: str = self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
            return told if text in told else None

        return str(self.until(look, text))

    def until_address(self, address: str) -> None:
        """Wait until the page is at an address. Raises AssertionError."""
        self.until(lambda: self.address == address, address)

    def until_settled(self) -> None:
        """Wait until the page shows all that it has asked for. Raises AssertionError."""
        settled = "return Boolean(document.querySelector('h1')) && !document.querySelector('.waiting')"
        self.until(lambda: self.run(settled), "settling")

    def resize(self, width: int, height: int) -> None:
        """Make the page this large, in pixels. A window is never narrower than 500, so it is emulated."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)

    def prefer(self, scheme: str) -> None:
        """Wish for light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the browser's own protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def picture(self, path: Path) -> None:
        """Keep a picture of the window."""
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the last call: scripts that failed, what CSP refused."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]


def ask(port: int, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The value that the driver answers. Raises AssertionError for an error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != 200:
        raise AssertionError(f"{method} {path}: {told['value'].get('message', told)}")
    return told["value"]


@contextmanager
def driven(scratch: Path, width: int = 1280, height: int = 900) -> Iterator[Driven]:
    """A browser with an empty profile, closed at the end."""
    port = free_port()
    driver = subprocess.Popen(
        [str(shutil.which(DRIVER)), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                ask(port, "GET", "/status")
                break
            except OSError:
                assert time.monotonic() < deadline, "the driver does not answer"
                time.sleep(0.05)
        options = {
            "binary": site.browser(),
            "args": [*ARGUMENTS, f"--window-size={width},{height}", f"--user-data-dir={scratch}"],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = ask(port, "POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        try:
            yield Driven(port, made["sessionId"])
        finally:
            ask(port, "DELETE", f"/session/{made['sessionId']}")
    finally:
        driver.terminate()
        driver.wait()
