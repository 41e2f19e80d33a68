"""Figures of results whose truth is known, for every fit; and the estimate of the space they take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from backplate.core.image.canvas import Background, Fill
from backplate.core.image.fit import Anchor, Fit, Target
from backplate.core.jobs.folder.disk_space import estimate_bytes
from backplate.core.jobs.picture import PictureSettings, enlarge, read_source
from backplate.core.jobs.quality import Limits, measure
from backplate.core.media.picture.read import write_picture
from backplate.core.media.picture_folder import Source, plan_tasks
from backplate.core.progress import Progress
from PIL import Image

TARGETS = [
    Target(fit=Fit.COVER, width=64, height=64),
    Target(fit=Fit.COVER, width=50, height=90, anchor=Anchor.BOTTOM_RIGHT),
    Target(fit=Fit.PAD, width=90, height=70),
    Target(fit=Fit.STRETCH, width=90, height=50),
    Target(fit=Fit.CONTAIN, width=64, height=64),
    Target(fit=Fit.FACTOR, factor=0.4),
    Target(fit=Fit.STRETCH, width=100, height=9),
]


@pytest.fixture
def source_file(tmp_path: Path) -> Path:
    y, x = torch.meshgrid(torch.linspace(0, 9, 24), torch.linspace(0, 7, 33), indexing="ij")
    picture = torch.stack([torch.sin(x + y), torch.cos(x), torch.sin(y - x)])[None] * 0.35 + 0.5
    path = tmp_path / "in.png"
    write_picture(path, picture, 0.5 + 0.5 * torch.sin(x + 1)[None, None], bit_depth=16)
    return path


@pytest.mark.parametrize("background", [None, Background(Fill.COLOUR, "200,100,50"), Background(Fill.TRANSPARENT)])
@pytest.mark.parametrize("target", [*TARGETS, None], ids=lambda each: each.fit.value if each else "own scale")
def test_a_faithful_result_is_told_so_and_a_ruined_one_as_well(source_file, upscaler, target, background):
    settings = PictureSettings(target=target, background=background)
    source = read_source(source_file, source_file.with_name("out.png"), settings, upscaler.spec.scale)
    enlarged = enlarge(source, upscaler, settings, Progress())
    good = measure(source, enlarged)
    assert good.lr_psnr > 24
    assert good.suspicion(Limits()) == ""
    brown = torch.tensor([0.3, 0.2, 0.1])[None, :, None, None].expand_as(enlarged.picture)
    alpha = None if enlarged.alpha is None else torch.ones_like(enlarged.alpha)
    bad = measure(source, replace(enlarged, picture=brown, alpha=alpha))
    assert "below 18 dB" in bad.suspicion(Limits())
    assert bad.delta_e > 8


def test_the_shift_of_the_shown_part_is_seen(source_file, upscaler):
    settings = PictureSettings(target=TARGETS[1])
    source = read_source(source_file, source_file.with_name("out.png"), settings, 2)
    enlarged = enlarge(source, upscaler, settings, Progress())
    shifted = replace(enlarged, picture=enlarged.picture.roll(12, dims=3))
    assert measure(source, shifted).lr_psnr < measure(source, enlarged).lr_psnr - 6


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 2)])
def test_the_smallest_pictures_can_be_measured(tmp_path, upscaler, size):
    path = tmp_path / "small.png"
    Image.new("RGB", size, (180, 120, 60)).save(path)
    settings = PictureSettings(target=TARGETS[0])
    source = read_source(path, tmp_path / "out.png", settings, 2)
    assert measure(source, enlarge(source, upscaler, settings, Progress())).lr_psnr > 20


def test_the_estimate_follows_size_format_and_depth(tmp_path):
    for index in range(5):
        Image.new("RGB", (10, 10)).save(tmp_path / f"{index}.bmp")
    sources = [Source(f"{index}.bmp", tmp_path / f"{index}.bmp") for index in range(5)]

    def estimate(suffix: str, **settings: object) -> int:
        tasks = plan_tasks(sources, tmp_path / "out", suffix)
        return estimate_bytes(tasks, PictureSettings(**settings), scale=4)

    assert estimate(".bmp") == 5 * 40 * 40 * 3
    assert estimate(".bmp", target=Target(fit=Fit.PAD, width=100, height=100)) == 5 * 100 * 100 * 3
    assert estimate(".jpg") < estimate(".png") < estimate(".png", bit_depth=16)
    (tmp_path / "0.bmp").write_bytes(b"broken")
    assert estimate(".bmp") == 5 * 40 * 40 * 3
    assert estimate(".bmp", target=Target(fit=Fit.FACTOR, factor=60_000)) == 0
