"""The page in a real browser, driven through Chromium's own protocol: keys, mouse, phone, and a disk that is full."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket
from backplate.core.study.design import read_design, schedule
from backplate.core.study.invites import more_invites
from backplate.core.study.votes import UNDONE, read_all, read_votes
from small_study import made, start

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.skipif(sys.platform != "linux", reason="forks a server that takes over a listening socket"),
]
UNTIL = "new Promise(done => {{ const look = () => ({0}) ? done(true) : requestAnimationFrame(look); look(); }})"
NEXT = "begun && (ready || current === null)"


class Page:
    """A tab."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self.number = 0
        self.send("Page.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, script: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        self.evaluate(UNTIL.format(condition))

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)
        while True:
            if json.loads(self.socket.recv()).get("method") == "Page.loadEventFired":
                return

    def key(self, name: str, text: str = "") -> None:
        self.send("Input.dispatchKeyEvent", type="keyDown", key=name, text=text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=name)

    def click(self, selector: str) -> None:
        found = f"document.querySelector('{selector}').getBoundingClientRect()"
        box = self.evaluate(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({found})")
        where = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", **where)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", **where)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "about:blank")
    command = [str(CHROMIUM), *options, f"--user-data-dir={tmp_path / 'profile'}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as browser:
        assert browser.stderr is not None
        line = next(line for line in browser.stderr if "DevTools listening on" in line)
        address = line.split("ws://")[1].split("/")[0]
        with urllib.request.urlopen(f"http://{address}/json") as answer:
            tab = next(each for each in json.load(answer) if each["type"] == "page")
        found = Page(tab["webSocketDebuggerUrl"])
        yield found
        found.socket.close()
        browser.kill()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    made(tmp_path / "study", ["A", "B"], 3)
    return tmp_path / "study"


@pytest.fixture
def link(small: Path) -> Iterator[str]:
    token = more_invites(small, 1)[0].token
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = start(small, listener)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v/{token}/"
        os.kill(server.pid or 0, signal.SIGKILL)
        server.join()


def test_a_study_by_keys_alone(page: Page, link: str, small: Path):
    page.open(link)
    page.until("document.activeElement.textContent === 'Begin'")
    page.key("Enter", "\r")
    total = len(schedule(read_design(small), 0))
    for key in ["1", "2", "0", "ArrowLeft", "ArrowRight", "ArrowDown", "u", *["1"] * (total - 5)]:
        page.until(NEXT)
        page.key(key, key if len(key) == 1 else "")
    page.until("current === null && state.pending.length === 0")
    votes = read_votes(small, read_design(small)).counted
    assert sorted(vote.number for vote in votes if vote.number is not None) == list(range(total))
    choices = {vote.number: vote.choice for vote in votes}
    assert [choices[number] for number in range(6)] == ["left", "right", "none", "left", "right", "left"]
    assert [vote.choice for vote in read_all(small, read_design(small))[0]].count(UNDONE) == 1
    assert "All your votes are saved" in page.evaluate("document.getElementById('cover').textContent")


@pytest.mark.parametrize(("width", "height", "ratio"), [(1280, 800, 1), (390, 844, 3), (1000, 700, 1.5)])
def test_a_study_by_mouse_on_any_screen(page: Page, link: str, small: Path, width: int, height: int, ratio: float):
    page.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=False)
    page.open(link)
    page.click("#cover button")
    page.until(NEXT)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sides = "[...document.querySelectorAll('figure:not([hidden]) .clip')].map(c => c.getBoundingClientRect())"
    for zoom in (1, 2, 4):
        shown = page.evaluate(f"{sides}.map(b => [b.width * devicePixelRatio, b.x * devicePixelRatio])")
        assert len(shown) == 2 + page.evaluate("Boolean(current.middle)")
        for length, edge in shown:
            assert length == pytest.approx(16 * zoom, abs=0.1)
            assert edge == pytest.approx(round(edge), abs=0.05)
        page.click("#zoom")
    total = len(schedule(read_design(small), 0))
    for _ in range(total):
        page.until(NEXT)
        page.click("#vote-right")
    page.until("current === null && state.pending.length === 0")
    assert len(read_votes(small, read_design(small)).counted) == total


def test_votes_wait_in_the_page_while_the_disk_is_full(page: Page, link: str, small: Path):
    """The answer of a full disk, then a new start of the page, then an answer as usual."""
    page.open(link)
    page.click("#cover button")
    page.until(NEXT)
    page.evaluate(
        "window.real = fetch; window.fetch = async () => new Response(JSON.stringify({error: 'No space left'}), "
        "{status: 507}); 0"
    )
    for _ in range(2):
        page.until(NEXT)
        page.key("1", "1")
    page.until(
        "document.getElementById('trouble').textContent.includes('2 of your votes are not saved yet (No space left)')"
    )
    assert not read_votes(small, read_design(small)).counted
    page.open(link)
    page.until("state.pending.length === 0")
    assert len(read_votes(small, read_design(small)).counted) == 2


def test_a_page_from_a_file_keeps_its_answers(page: Page, small: Path):
    from backplate.core.study.page import write_page

    write_page(small, read_design(small))
    page.open((small / "page.html").as_uri())
    page.click("#cover button")
    for _ in range(page.evaluate("trials.length")):
        page.until(NEXT)
        page.key("2", "2")
    assert page.evaluate("document.querySelector('#cover button').textContent") == "Save answers"
    saved = page.evaluate("state.log.map(entry => JSON.stringify(entry)).join('\\n')")
    (small / "votes").mkdir()
    (small / "votes/saved.jsonl").write_text(saved)
    votes = read_votes(small, read_design(small))
    assert len(votes.counted) == page.evaluate("trials.length")
    assert votes.problems == ()
