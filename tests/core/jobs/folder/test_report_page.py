"""Counts, sentences and the page."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from backplate.core.jobs.folder.manifest import Entry, Status
from backplate.core.jobs.folder.report_page import report_page, write_report
from backplate.core.jobs.folder.run import run_folder
from backplate.core.jobs.folder.summary import Summary, summarise
from PIL import Image

DONE = Entry(source="a.png", output="a.png", status=Status.DONE, lr_psnr=30.0, delta_e=1.0)


def entries(*figures: float | None) -> tuple[Entry, ...]:
    return tuple(replace(DONE, source=f"{index}.png", lr_psnr=value) for index, value in enumerate(figures))


def test_the_worst_are_those_that_agree_least_and_at_most_five():
    summary = Summary(entries(30, 20, math.inf, None, 40, 25, 35, 50), total=8)
    assert [entry.lr_psnr for entry in summary.worst] == [20, 25, 30, 35, 40]
    assert Summary(entries(math.inf), total=1).worst == []


@pytest.mark.parametrize(
    ("statuses", "total", "fresh", "said", "complete"),
    [
        ("DD", 2, 2, "2 of 2 pictures are done.", True),
        ("DD", 2, 0, "2 of 2 pictures are done, 2 of them from before.", True),
        ("DD", 2, None, "2 of 2 pictures are done.", True),
        ("DF", 3, 1, "1 of 3 pictures are done, 1 failed, 1 not reached.", False),
        ("DL", 2, 2, "2 of 2 pictures are done, 1 of them to be looked at.", False),
        ("", 0, 0, "0 of 0 pictures are done.", True),
    ],
)
def test_counts(statuses: str, total: int, fresh: int | None, said: str, complete: bool):
    kinds = {"D": Status.DONE, "F": Status.FAILED, "L": Status.FLAGGED}
    made = tuple(replace(DONE, source=str(i), status=kinds[letter]) for i, letter in enumerate(statuses))
    summary = Summary(made, total, fresh)
    assert summary.counts() == said
    assert summary.complete is complete


def test_text_names_what_failed_and_what_is_to_be_looked_at():
    failed = replace(DONE, source="f.png", status=Status.FAILED, reason="it was broken", lr_psnr=None)
    flagged = replace(DONE, source="l.png", status=Status.FLAGGED, reason="all black", notes=("big",))
    text = Summary((failed, flagged), 2, 1, 3.0).text()
    assert "Failed:\n  f.png: it was broken" in text
    assert "To be looked at:\n  l.png: all black" in text
    assert "l.png: big" in text
    assert "1 made in 3.0 s, 3.00 s a picture." in text


def test_json_has_the_counts():
    summary = Summary(entries(30, None), total=5, fresh=2, seconds=4.0)
    values = json.loads(summary.to_json())
    assert (values["total"], values["done"], values["not_reached"], values["seconds_per_picture"]) == (5, 2, 3, 2.0)
    assert values["worst_by_lr_psnr"] == [
        {"source": "0.png", "output": "a.png", "reason": "", "lr_psnr": 30.0, "delta_e": 1.0}
    ]


class Page(HTMLParser):
    """Remembers tags, and everything a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        self.loaded += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(ten, job, upscaler):
    (ten / "<script>alert(1)<.png").write_bytes((ten / "single.png").read_bytes())
    work = job(ten)
    summary = summarise(work, run_folder(work, upscaler))
    text = report_page(work, summary)
    page = Page(text)
    assert page.open == []
    assert len(page.loaded) == 2 * summary.written
    assert all(each.startswith("data:image/webp;base64,") for each in page.loaded)
    assert "<script" not in text
    assert all(entry.reason in text for entry in summary.with_status(Status.FAILED))
    assert re.search(r"8 of 11 pictures are done, 3 failed\.", text)


def test_the_page_shows_only_some_of_many_pictures_but_lists_all(ten, job, upscaler, monkeypatch):
    work = job(ten)
    summary = summarise(work, run_folder(work, upscaler))
    monkeypatch.setattr("backplate.core.jobs.folder.report_page.SHOWN", 1)
    page = Page(report_page(work, summary))
    assert len(page.loaded) == 2 * (len(summary.worst) + 1)


def test_files_that_are_gone_do_not_keep_from_the_report(ten, job, upscaler):
    work = job(ten)
    run = run_folder(work, upscaler)
    (ten / "single.png").unlink()
    (work.output / "inks.png").unlink()
    paths = write_report(work, summarise(work, run))
    assert [path.name for path in paths] == ["summary.json", "index.html"]
    assert paths[1].read_text().count("not there") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_names_that_are_no_unicode_are_worked_on_and_reported(tmp_path, job, upscaler):
    folder = tmp_path / "in"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (8, 8), (10, 200, 30)).save(os.path.join(os.fsencode(folder), b"caf\xe9.png"))
    Image.new("RGB", (8, 8)).save(folder / "b.png")
    work = replace(job(folder), passed_over="2 files were passed over: 2 .heic.")
    run = run_folder(work, upscaler)
    assert {entry.source: entry.status for entry in run.entries} == {name: Status.DONE, "b.png": Status.DONE}
    summary = summarise(work, run)
    paths = write_report(work, summary)
    assert json.loads(paths[0].read_text())["passed_over"].startswith("2 files")
    page = paths[1].read_text(encoding="utf-8")
    assert "caf" in page
    assert "2 files were passed over: 2 .heic." in page
    again = replace(work, resume=True)
    assert len(run_folder(again, upscaler).skipped) == 2
