from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from backplate.cli.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def seen(self) -> str:
        """What was written, without the codes that move and colour."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Takes the place of stderr; called in a test, because pytest puts its own there between fixture and test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def work(screen: Screen) -> None:
    with screen:
        screen.start_file(Path("in") / "a [v2].png")
        screen.begin(4, "tiles")
        screen.advance(3)
        screen.extend(2)
        screen.note("Something to know.")
        screen.line("in/a [v2].png -> out/a [v2].png")
        screen.advance(3)
        screen.finish_file()


def test_bars_and_lines_on_a_terminal(monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    screen = Screen(2)
    work(screen)
    # What is drawn depends on the moment; what is to be drawn does not.
    assert [(bar.completed, bar.total) for bar in screen.bars.tasks] == [(1, 2), (6, 6)]
    seen = terminal.seen()
    assert "a [v2].png tiles" in seen
    assert f"backplate: {Path('in') / 'a [v2].png'}: Something to know.\n" in seen
    assert "backplate: in/a [v2].png -> out/a [v2].png\n" in seen


def test_one_picture_has_no_bar_for_pictures(monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    work(Screen(1))
    assert "tiles" in terminal.seen()
    assert "pictures" not in terminal.seen()


def test_plain_lines_elsewhere(capsys):
    work(Screen(2))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"backplate: {Path('in') / 'a [v2].png'}: Something to know.",
        "backplate: in/a [v2].png -> out/a [v2].png",
    ]
