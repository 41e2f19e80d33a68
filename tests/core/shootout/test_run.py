"""A whole shoot-out of made models over drawn pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.resize import resize
from backplate.core.metrics.fidelity import fidelity
from backplate.core.metrics.pair import Channel
from backplate.core.metrics.psnr import psnr
from backplate.core.metrics.registry import CompareSettings
from backplate.core.progress import Cancelled
from backplate.core.shootout.contact_sheet import GAP, LINE, VIEW, contact_sheet
from backplate.core.shootout.report_files import report_csv, report_dict, write_report
from backplate.core.shootout.report_html import report_html
from backplate.core.shootout.results import BASELINE, REFERENCE, SOURCE, ShootoutResult
from backplate.core.shootout.run import MOST_CROPS, ModelEntry, ShootoutSettings, run_shootout
from backplate.core.shootout.samples import Degrade, Sample, SampleFile, degraded_sample, samples_in
from backplate.core.types import size_of
from PIL import Image
from recorder import Recorder

from .conftest import Enlarger, picture, tensor

SCALE = 4
SETTINGS = ShootoutSettings(
    scale=SCALE, compare=CompareSettings(metrics=("psnr", "ssim"), channel=Channel.Y, border=SCALE)
)


class Broken(Enlarger):
    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error:\n  device-side assert")


class Blackout(Enlarger):
    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(super().__call__(picture))


def absent() -> Enlarger:
    raise InputError("There is no model absent.pth.")


def sample(seed: int, side: int = 256) -> SampleFile:
    reference = tensor(picture(side, side, seed))
    return SampleFile(f"p{seed}.png", lambda: degraded_sample(reference, str(seed), Degrade.BICUBIC, SCALE))


def unreadable() -> SampleFile:
    def load():
        raise InputError("bad.png: not a picture.")

    return SampleFile("bad.png", load)


CONTESTANTS = [
    ModelEntry("soft", lambda: Enlarger()),
    ModelEntry("haloed", lambda: Enlarger(amount=3.0)),
    ModelEntry("<b>broken</b>", lambda: Broken()),
    ModelEntry("black", lambda: Blackout()),
    ModelEntry("absent", absent),
]


@pytest.fixture(scope="module")
def result() -> ShootoutResult:
    samples = [sample(seed) for seed in range(4)]
    return run_shootout(CONTESTANTS, [*samples[:2], unreadable(), *samples[2:]], SETTINGS)


def cell(result: ShootoutResult, model: str, name: str):
    return next(each for each in result.cells if (each.model, each.picture) == (model, name))


def test_every_model_that_opens_meets_every_picture_that_can_be_read(result):
    assert result.models == (BASELINE, "soft", "haloed", "<b>broken</b>", "black")
    assert [each.name for each in result.pictures] == ["p0.png", "p1.png", "p2.png", "p3.png"]
    assert {(each.model, each.picture) for each in result.cells} == {
        (model, each.name) for model in result.rows for each in result.pictures
    }
    assert result.rows[-1] == REFERENCE


def test_bad_models_and_pictures_are_listed(result):
    assert "absent cannot be used: There is no model absent.pth." in result.all_problems
    assert "bad.png is left out: bad.png: not a picture." in result.all_problems
    assert "<b>broken</b> on p0.png: unexpected RuntimeError: CUDA error: device-side assert" in result.all_problems
    assert any(problem.startswith("black on p0.png: 16 blocks are black") for problem in result.all_problems)
    assert not cell(result, "<b>broken</b>", "p0.png").values


def test_the_baseline_has_the_figures_of_plain_lanczos(result):
    loaded = sample(2).load()
    plain = resize(loaded.source, size_of(loaded.reference)).clamp(0, 1)
    plain = (plain * 255).round() / 255
    values = cell(result, BASELINE, "p2.png").values
    assert values["psnr"] == pytest.approx(psnr(plain, loaded.reference, channel=Channel.Y, border=SCALE)[0])
    assert values["lr_psnr"] == pytest.approx(fidelity(loaded.source, plain)[0].lr_psnr)


def test_the_advice_is_what_was_built_into_the_models(result):
    chosen = dict(sentence.split(": ", 1) for sentence in result.advice)
    assert chosen["Sharpest edges"].startswith("haloed")
    assert chosen["Least ringing"].startswith(("soft", "black", "no clear winner"))
    assert chosen["Closest to the reference by PSNR"].startswith("soft")
    assert [flag.split(" buys")[0] for flag in result.flags] == ["Ringing: haloed"]


def test_rankings_leave_out_what_failed(result):
    ranked = [each.model for each in result.rankings["psnr"].standings]
    assert set(ranked) == {BASELINE, "soft", "haloed", "black"}
    assert result.rankings["psnr"].winner in (BASELINE, "soft")


def test_without_references_there_are_only_figures_of_the_source():
    source = tensor(picture(64, 64, 1))
    found = run_shootout(CONTESTANTS[:2], [SampleFile("a", lambda: Sample(source, None))], SETTINGS)
    assert set(found.metrics) <= {"lr_psnr", "delta_e", "edge_width", "overshoot", "seconds_per_megapixel"}
    assert REFERENCE not in found.rows
    assert all("no clear winner" in verdict for verdict in found.verdicts)


@pytest.mark.parametrize("size", [(1, 1), (7, 90)])
def test_odd_sizes_finish(size):
    source = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    found = run_shootout(CONTESTANTS[:2], [SampleFile("odd", lambda: Sample(source, None))], SETTINGS)
    assert all("lr_psnr" in each.values for each in found.cells)
    report_html(found)


def test_grey_pictures_and_a_single_model_finish():
    source = tensor(picture(64, 64, 1))[:, :1]
    found = run_shootout(CONTESTANTS[:1], [SampleFile("grey", lambda: Sample(source, None))], SETTINGS)
    assert not [problem for problem in found.all_problems if "grey" in problem and "edges" not in problem]
    assert found.crops


def test_a_request_to_stop_ends_the_run():
    with pytest.raises(Cancelled):
        run_shootout(CONTESTANTS, [sample(0)], SETTINGS, Recorder(0))


def test_progress_announces_as_many_results_as_it_reports():
    count = Recorder()
    run_shootout(CONTESTANTS, [sample(0, 64), unreadable()], SETTINGS, count)
    assert count.done == count.total == 10


@pytest.mark.parametrize("name", [BASELINE, SOURCE, "soft"])
def test_names_must_differ(name):
    with pytest.raises(InputError, match=f"The name {name!r} is used twice"):
        run_shootout([CONTESTANTS[0], ModelEntry(name, Enlarger)], [sample(0)], SETTINGS)
    with pytest.raises(InputError, match="no picture"):
        run_shootout(CONTESTANTS, [], SETTINGS)


def test_crops_show_all_versions_at_one_place(result):
    assert 4 <= len(result.crops) <= MOST_CROPS
    crop = result.crops[0]
    assert list(crop.views) == [SOURCE, BASELINE, "soft", "haloed", "black", REFERENCE]
    height, width = crop.box.height, crop.box.width
    assert crop.views["soft"].shape == (3, height, width)
    assert crop.views[SOURCE].shape == (3, height // SCALE, width // SCALE)
    number = int(crop.picture[1])
    box = crop.box
    expected = picture(256, 256, number)[box.y : box.bottom, box.x : box.right]
    assert np.array_equal(crop.views[REFERENCE].permute(1, 2, 0).numpy(), expected)


def test_csv_has_a_line_for_each_cell(result):
    rows = list(csv.DictReader(io.StringIO(report_csv(result))))
    assert len(rows) == len(result.cells)
    row = next(each for each in rows if (each["model"], each["picture"]) == ("soft", "p1.png"))
    assert float(row["psnr"]) == cell(result, "soft", "p1.png").values["psnr"]
    assert "device-side assert" in next(each for each in rows if each["model"] == "<b>broken</b>")["problems"]


def test_json_is_valid_and_complete(result):
    data = json.loads(json.dumps(report_dict(result), allow_nan=False))
    assert data["means"]["soft"]["psnr"] == pytest.approx(result.mean("soft", "psnr"))
    assert data["metrics"]["psnr"]["convention"].endswith("BT.601 Y (16-235), border of 4 px left out")
    standing = data["rankings"]["psnr"]["standings"][1]
    assert standing["behind_interval"][0] <= standing["behind_the_best"] <= standing["behind_interval"][1]
    assert len(data["results"]) == len(result.cells)


def test_html_needs_nothing_from_outside_and_escapes_names(result):
    page = report_html(result)
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert "<b>broken</b>" not in page
    assert "&lt;b&gt;broken&lt;/b&gt;" in page
    assert page.count("src='data:image/png;base64,") == sum(len(crop.views) for crop in result.crops)
    assert "src=" not in page.replace("src='data:", "")
    for sentence in (*result.advice, *result.verdicts):
        assert sentence.split(",")[0].replace("<", "&lt;").replace(">", "&gt;") in page
    assert "class='warn'" in page
    assert "prefers-color-scheme: dark" in page


def test_html_without_pictures_or_models_is_a_page():
    page = report_html(run_shootout([ModelEntry("absent", absent)], [unreadable()], SETTINGS))
    assert "absent cannot be used" in page
    assert "<script>" not in page


def test_contact_sheet_has_a_row_for_each_picture(result):
    sheet = contact_sheet(result)
    pictures = len({crop.picture for crop in result.crops})
    assert sheet.size == (GAP + 6 * (VIEW + GAP), LINE + pictures * (LINE + VIEW + GAP) + GAP)
    first = max(result.crops, key=lambda crop: crop.spread)
    black = sheet.getpixel((GAP + 4 * (VIEW + GAP) + VIEW // 2, 2 * LINE + VIEW // 2))
    assert black == (0, 0, 0)
    middle = sheet.getpixel((GAP + 5 * (VIEW + GAP) + VIEW // 2, 2 * LINE + VIEW // 2))
    view = first.views[REFERENCE]
    assert middle == tuple(view[:, view.shape[1] // 2, view.shape[2] // 2].tolist())


def test_contact_sheet_of_nothing_says_so():
    sheet = contact_sheet(run_shootout([], [unreadable()], SETTINGS))
    assert sheet.width > 500


def test_the_four_files_are_written_whole(result, tmp_path: Path):
    paths = write_report(result, tmp_path / "new/report")
    assert [path.name for path in paths] == ["report.html", "report.csv", "report.json", "contact_sheet.png"]
    assert sorted(path.name for path in (tmp_path / "new/report").iterdir()) == sorted(path.name for path in paths)
    assert json.loads(paths[2].read_text())["scale"] == SCALE
    with Image.open(paths[3]) as image:
        image.load()


def test_the_text_has_figures_advice_and_problems(result):
    text = result.text()
    assert text.splitlines()[0].split()[:5] == ["PSNR", "dB", "SSIM", "LR-PSNR", "dB"]
    assert [line.split()[0] for line in text.splitlines()[2:8]] == list(result.rows)
    assert "Sharpest edges: haloed" in text
    assert "absent cannot be used" in text
    assert "bootstrap intervals over the pictures" in text


def test_an_infinite_figure_is_survived(write, tmp_path):
    """A flat picture that comes back unchanged: infinite PSNR, no edges, and still four valid files."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "in/flat.png")
    samples, _ = samples_in(tmp_path / "in", None, Degrade.BICUBIC, SCALE)
    found = run_shootout(CONTESTANTS[:1], samples, SETTINGS)
    assert found.mean("soft", "psnr") == math.inf
    assert json.loads(json.dumps(report_dict(found), allow_nan=False))["means"]["soft"]["psnr"] == "Infinity"
    assert any(problem.startswith("flat.png: The source of 8x8 has 0 edges") for problem in found.all_problems)
    write_report(found, tmp_path / "out")
